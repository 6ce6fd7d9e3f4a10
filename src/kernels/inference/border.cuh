// The pixel in 0..n for position i, which may be outside; -1 stands for zero. Reflects once: where a map is narrower than its
// padding, positions beyond the reflection take the far edge.
DEVICE int inside(int i, int n, int border) {
    if (border == BORDER_ZERO) return i < n ? max(i, -1) : -1;
    if (border == BORDER_EDGE) return min(max(i, 0), n - 1);
    return max(min(abs(i), i < 0 ? n - 1 : 2 * (n - 1) - i), 0);
}
