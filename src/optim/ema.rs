//! The exponential moving average (EMA) of weights: `theta_target = m theta_target + (1 - m) theta_online`, MoCo's equation 2
//! and BYOL's equation 1.

/// Moves the target weights towards the online weights, in place. `m` is the value of [`super::Momentum::at`]. It is an `f64`:
/// for `m` near 1, `1 - m` would lose digits in an `f32`.
///
/// # Panics
/// If the lengths differ.
pub fn ema(target: &mut [f32], online: &[f32], m: f64) {
    assert_eq!(target.len(), online.len());
    let (kept, new) = (m as f32, (1.0 - m) as f32);
    for (target, online) in target.iter_mut().zip(online) {
        *target = kept * *target + new * online;
    }
}
