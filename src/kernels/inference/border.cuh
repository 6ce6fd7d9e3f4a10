// The pixel of 0..n that stands at i, which may lie outside; -1 is a zero. Reflected, once: where a map is narrower than its
// padding, the far edge stands for what lies beyond.
DEVICE int inside(int i, int n, int border) {
    if (border == BORDER_ZERO) return i < n ? max(i, -1) : -1;
    if (border == BORDER_EDGE) return min(max(i, 0), n - 1);
    return max(min(abs(i), i < 0 ? n - 1 : 2 * (n - 1) - i), 0);
}
