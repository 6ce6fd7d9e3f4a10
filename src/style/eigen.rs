//! Eigenvalues and eigenvectors of a symmetric matrix `A` (Wilkinson and Reinsch 1971, tred2 and tql2). Householder reflections
//! reduce `A` to a tridiagonal matrix, `A = Q T Q^T`. QL steps with implicit shifts then diagonalize `T`, `T = Z D Z^T`.
//!
//! The rotations of the QL steps are stored. For each requested eigenvector, the rotations and the reflections are applied in
//! reverse order to a standard basis vector. A few eigenvectors therefore cost little more than the eigenvalues alone, which
//! take `4/3 n^3` operations. All values are computed in float64.
use crate::error::Result;
use crate::interrupt::poll;
use crate::memory;

/// Returns the `most` largest eigenvalues, largest first, and their unit eigenvectors as rows in the same order.
///
/// # Errors
/// There is not enough memory.
///
/// # Panics
/// If `a` is not `n` by `n`, `most` is not in `1..=n`, or a value is not finite.
pub(super) fn symmetric(mut a: Vec<f64>, n: usize, most: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    assert!(a.len() == n * n && (1..=n).contains(&most));
    let (mut diagonal, beside) = tridiagonal(&mut a, n)?;
    let sweeps = diagonalize(&mut diagonal, beside)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| diagonal[j].total_cmp(&diagonal[i]));
    order.truncate(most);

    // `Q Z` applied to the unit vectors, which are columns here: rotations and reflections mix rows.
    let mut columns = memory::zeros("dim", n * most)?;
    order.iter().enumerate().for_each(|(k, &i)| columns[i * most + k] = 1.0);
    for Sweep { end, rotations } in sweeps.iter().rev() {
        poll();
        for (i, &(c, s)) in (*end - rotations.len()..).zip(rotations.iter().rev()) {
            let (upper, lower) = columns[i * most..][..2 * most].split_at_mut(most);
            for (x, y) in upper.iter_mut().zip(lower) {
                (*x, *y) = (c * *x + s * *y, c * *y - s * *x);
            }
        }
    }
    let mut sums = vec![0.0; most];
    for k in (0..n.saturating_sub(2)).rev() {
        let (v, rows) = (&a[k * n + k + 1..][..n - k - 1], &mut columns[(k + 1) * most..]);
        sums.fill(0.0);
        for (v, row) in v.iter().zip(rows.chunks_exact(most)) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += v * x);
        }
        for (v, row) in v.iter().zip(rows.chunks_exact_mut(most)) {
            row.iter_mut().zip(&sums).for_each(|(x, sum)| *x -= v * sum);
        }
    }
    let vectors = (0..most).flat_map(|k| columns.iter().skip(k).step_by(most).copied());
    Ok((order.iter().map(|&i| diagonal[i]).collect(), vectors.collect()))
}

/// Tridiagonalizes `a` with Householder reflections `1 - v v^T`, and returns the diagonal and the off-diagonal. The vector `v`
/// of step k is stored in row k of `a`, to the right of the diagonal.
fn tridiagonal(a: &mut [f64], n: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut diagonal, mut beside) = (memory::zeros("dim", n)?, memory::zeros("dim", n)?);
    let mut product = memory::zeros("dim", n)?;
    for k in 0..n {
        poll();
        let (done, rest) = a.split_at_mut((k + 1) * n);
        let row = &mut done[k * n..];
        diagonal[k] = row[k];
        let v = &mut row[k + 1..];
        if v.len() < 2 {
            beside[k] = v.first().copied().unwrap_or_default();
            continue;
        }
        let length = v.iter().map(|x| x * x).sum::<f64>().sqrt().copysign(v[0]);
        beside[k] = -length;
        if length == 0.0 {
            continue;
        }
        // |v|^2 = 2.
        let scale = (length * (length + v[0])).sqrt().recip();
        v[0] += length;
        v.iter_mut().for_each(|x| *x *= scale);

        // (1 - v v^T) A (1 - v v^T) = A - v w^T - w v^T with w = A v - (v^T A v / 2) v.
        let w = &mut product[..v.len()];
        w.fill(0.0);
        for (v, row) in v.iter().zip(rest.chunks_exact(n)) {
            w.iter_mut().zip(&row[k + 1..]).for_each(|(w, x)| *w += v * x);
        }
        let half = v.iter().zip(&*w).map(|(v, w)| v * w).sum::<f64>() / 2.0;
        w.iter_mut().zip(&*v).for_each(|(w, v)| *w -= half * v);
        for ((vi, wi), row) in v.iter().zip(&*w).zip(rest.chunks_exact_mut(n)) {
            row[k + 1..].iter_mut().zip(v.iter().zip(&*w)).for_each(|(x, (v, w))| *x -= vi * w + wi * v);
        }
    }
    Ok((diagonal, beside))
}

/// The rotations of one QL step, as (cosine, sine). The first rotation acts on the rows `end - 1` and `end`, the next one on
/// `end - 2` and `end - 1`, and so on.
struct Sweep {
    end: usize,
    rotations: Vec<(f64, f64)>,
}

/// Runs QL steps until the off-diagonal `e` vanishes, and returns the steps. The diagonal `d` then holds the eigenvalues.
fn diagonalize(d: &mut [f64], mut e: Vec<f64>) -> Result<Vec<Sweep>> {
    let n = d.len();
    let mut sweeps = vec![];
    for low in 0..n {
        loop {
            poll();
            let small = |&i: &usize| e[i].abs() <= f64::EPSILON * (d[i].abs() + d[i + 1].abs());
            let end = (low..n - 1).find(small).unwrap_or(n - 1);
            if end == low {
                break;
            }
            // Wilkinson's shift, an eigenvalue of the first two rows.
            let mut g = (d[low + 1] - d[low]) / (2.0 * e[low]);
            g = d[end] - d[low] + e[low] / (g + g.hypot(1.0).copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut rotations = memory::room("dim", end - low)?;
            for i in (low..end).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                (s, c) = if r == 0.0 { (0.0, 1.0) } else { (f / r, g / r) };
                g = d[i + 1] - p;
                let t = (d[i] - g) * s + 2.0 * c * b;
                p = s * t;
                d[i + 1] = g + p;
                g = c * t - b;
                rotations.push((c, s));
            }
            d[low] -= p;
            e[low] = g;
            e[end] = 0.0;
            sweeps.push(Sweep { end, rotations });
            assert!(sweeps.len() <= 30 * n, "QL steps did not converge: the matrix is not finite");
        }
    }
    Ok(sweeps)
}

#[cfg(test)]
mod tests {
    use super::symmetric;

    #[test]
    fn rebuilds_the_matrix() {
        let n = 7;
        let a: Vec<f64> = (0..n * n)
            .map(|i| ((i / n) as f64 - 2.0) * ((i % n) as f64 - 2.0) + f64::from(i / n == i % n) * (i / n) as f64)
            .collect();
        let (values, vectors) = symmetric(a.clone(), n, n).unwrap();
        assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
        for i in 0..n {
            for j in 0..n {
                let rebuilt: f64 = (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                assert!((rebuilt - a[i * n + j]).abs() < 1e-9, "({i}, {j})");
                let product: f64 = (0..n).map(|k| vectors[i * n + k] * vectors[j * n + k]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12, "({i}, {j})");
            }
        }
    }

    #[test]
    fn a_few_are_the_first_of_all() {
        let n = 40;
        let wave = |i: usize, j: usize| ((i * j) as f64 * 0.7).sin();
        let a: Vec<f64> = (0..n * n).map(|at| wave(at / n, at % n) + wave(at % n, at / n)).collect();
        let (values, vectors) = symmetric(a.clone(), n, n).unwrap();
        let (few, first) = symmetric(a, n, 3).unwrap();
        assert_eq!(few, values[..3]);
        assert!(first.iter().zip(&vectors).all(|(x, y)| (x - y).abs() < 1e-12));
    }

    #[test]
    fn equal_values_have_vectors_at_right_angles() {
        for (n, diagonal, rest) in
            [(1, 2.0, 0.0), (2, 0.0, 3.0), (9, 0.0, 0.0), (9, 1.0, 0.0), (9, 5.0, 2.0), (9, 1e-90, 1e-91)]
        {
            let a: Vec<f64> = (0..n * n).map(|at| if at / n == at % n { diagonal } else { rest }).collect();
            let (values, vectors) = symmetric(a, n, n).unwrap();
            let largest = diagonal + (n - 1) as f64 * rest;
            assert!((values[0] - largest).abs() <= 1e-14 * largest, "{values:?}");
            assert!(values[1..].iter().all(|x| (x - (diagonal - rest)).abs() <= 1e-14 * largest), "{values:?}");
            for (i, j) in (0..n * n).map(|at| (at / n, at % n)) {
                let product: f64 = (0..n).map(|k| vectors[i * n + k] * vectors[j * n + k]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12, "{n}: ({i}, {j})");
            }
        }
    }
}
