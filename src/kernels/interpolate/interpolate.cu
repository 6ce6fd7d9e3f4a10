// The way out: out = (1 - beta) content + beta sigmoid(scale last + shift), cropped to the content's size; and images that are
// not stylized, as they are.
//
// A thread has a pixel. `last` is [image][row][column][4] at full size, or [row / 2][column / 2][row % 2][column % 2][3].
#if defined(PHASES)
KERNEL interpolate(const Number* last, const float* scale, const float* shift, const float* beta, const int* rows,
                   const void* images, void* out, Strides strides, Strides out_strides, int height, int width,
                   int last_height, int last_width) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= height * width) return;
    const int row = n / width, column = n % width;
    const i64 map = blockIdx.z, image = rows[map];
    const i64 cell = PHASES == 4 ? (map * last_height + row / 2) * last_width + column / 2
                                 : (map * last_height + row) * last_width + column;
    last += PHASES == 4 ? cell * 12 + row % 2 * 6 + column % 2 * 3 : cell * 4;
    const i64 from = image * strides.image + row * strides.row + column * strides.column;
    const i64 to = image * out_strides.image + row * out_strides.row + column * out_strides.column;
    for (int c = 0; c < 3; c++) {
        const float x = from_number(last[c]) * scale[map * 3 + c] + shift[map * 3 + c];
        const float content = load_pixel(images, from + c * strides.colour, PIXELS);
        const float by = beta[map];
        store_pixel(out, to + c * out_strides.colour, OUT, (1.0f - by) * content + by / (1.0f + expf(-x)));
    }
}
#else
KERNEL copy(const int* rows, const void* images, void* out, Strides strides, Strides out_strides, int height, int width) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= height * width) return;
    const i64 image = rows[blockIdx.z];
    const i64 from = image * strides.image + n / width * strides.row + n % width * strides.column;
    const i64 to = image * out_strides.image + n / width * out_strides.row + n % width * out_strides.column;
    for (int c = 0; c < 3; c++)
        store_pixel(out, to + c * out_strides.colour, OUT, load_pixel(images, from + c * strides.colour, PIXELS));
}
#endif
