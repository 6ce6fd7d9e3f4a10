//! Feature blending: `z = (1 - alpha) z_c + alpha z_s` (Algorithm 1, line 4).

/// Blends the style's vector into the content's vector, in place.
///
/// # Panics
/// If the vectors differ in length.
pub fn blend(z_content: &mut [f32], z_style: &[f32], alpha: f32) {
    assert_eq!(z_content.len(), z_style.len());
    for (z, z_s) in z_content.iter_mut().zip(z_style) {
        *z = (1.0 - alpha) * *z + alpha * z_s;
    }
}
