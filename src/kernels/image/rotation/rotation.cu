// An affine transform into a temporary buffer, and a copy back. `Turn` is defined in `cuda.rs`.

KERNEL turn(u8* views, u8* room, const int* rows, const Turn* turns, int height, int width, int back) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x, pixels = height * width;
    if (n >= pixels) return;
    u8* view = views + static_cast<i64>(rows[blockIdx.z]) * 3 * pixels;
    u8* other = room + static_cast<i64>(blockIdx.z) * 3 * pixels;
    const Turn turn = turns[blockIdx.z];
    const int y = n / width, x = n % width;
    const i64 column = (turn.column + y * turn.column_by_y + x * turn.column_by_x) >> 16;
    const i64 row = (turn.row + y * turn.row_by_y + x * turn.row_by_x) >> 16;
    const bool there = row >= 0 && row < height && column >= 0 && column < width;
    for (int c = 0; c < 3; c++) {
        if (back) {
            view[c * pixels + n] = other[c * pixels + n];
        } else {
            other[c * pixels + n] = there ? view[c * pixels + row * width + column] : 0;
        }
    }
}
