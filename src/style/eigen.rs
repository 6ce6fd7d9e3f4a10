//! Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations: exact to float64, and quick for the hundred
//! dimensions of a style.
use crate::error::Result;
use crate::interrupt::poll;
use crate::memory;

/// Eigenvalues, largest first, and the unit eigenvectors as rows in the same order.
///
/// # Errors
/// The system has not the memory.
///
/// # Panics
/// If the matrix is not `n` by `n`.
pub(super) fn symmetric(mut a: Vec<f64>, n: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    assert_eq!(a.len(), n * n);
    let mut vectors = memory::zeros("dim", n * n)?;
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let scale: f64 = a.iter().map(|x| x * x).sum();
    // Jacobi converges quadratically: a dozen sweeps reach the last bit of any matrix of this size.
    for _ in 0..50 {
        let off: f64 = (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))).map(|(p, q)| a[p * n + q].powi(2)).sum();
        if off <= 1e-28 * scale {
            break;
        }
        for (p, q) in (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))) {
            poll();
            let apq = a[p * n + q];
            if apq == 0.0 {
                continue;
            }
            let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
            let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let (c, s) = (1.0 / (t * t + 1.0).sqrt(), t / (t * t + 1.0).sqrt());
            let rotate = |m: &mut [f64], i: usize, j: usize| (m[i], m[j]) = (c * m[i] - s * m[j], s * m[i] + c * m[j]);
            for k in 0..n {
                rotate(&mut a, k * n + p, k * n + q);
            }
            for k in 0..n {
                rotate(&mut a, p * n + k, q * n + k);
                rotate(&mut vectors, p * n + k, q * n + k);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    let values = order.iter().map(|&i| a[i * n + i]).collect();
    Ok((values, order.iter().flat_map(|&i| vectors[i * n..(i + 1) * n].to_vec()).collect()))
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
        let (values, vectors) = symmetric(a.clone(), n).unwrap();
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
}
