// What leaves: solarized, flipped, normalized, in the layout that is wanted; and a turn about the middle.
struct Finish {
    int solarize, horizontally, vertically;
};

struct Numbers {
    float mean[3], std[3];
};

#if defined(OUT)
// A thread has a pixel of the output; `views` is [view][colour][height][width].
KERNEL finish(const u8* views, const Finish* finishes, void* out, Strides strides, const Numbers* numbers, int height,
              int width) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= height * width) return;
    const Finish how = finishes[blockIdx.z];
    const int y = n / width, x = n % width;
    const int row = how.vertically ? height - 1 - y : y, column = how.horizontally ? width - 1 - x : x;
    for (int c = 0; c < 3; c++) {
        int byte = views[((static_cast<i64>(blockIdx.z) * 3 + c) * height + row) * width + column];
        if (how.solarize >= 0 && byte >= how.solarize) byte = 255 - byte;
        const i64 at = blockIdx.z * strides.image + y * strides.row + x * strides.column + c * strides.colour;
        if (OUT == 0) {
            static_cast<u8*>(out)[at] = static_cast<u8>(byte);
        } else {
            store_pixel(out, at, OUT, (static_cast<float>(byte) / 255.0f - numbers->mean[c]) / numbers->std[c]);
        }
    }
}
#else
// In 16.16 bits: where column and row begin, what a row and a column add to them.
struct Turn {
    i64 column, row, column_by_y, row_by_y, column_by_x, row_by_x;
};

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
#endif
