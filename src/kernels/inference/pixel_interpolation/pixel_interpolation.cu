// The output: out = (1 - beta) content + beta end(scale last + shift), cropped to the content's size; and copies of images that
// are not stylized. Also the norm for images of a single colour.
//
// A thread handles four pixels of a row. `last` is [image][row][column][4] at full size or, if PHASED, [row / 2][column /
// 2][row % 2][column % 2][3], and a thread handles two rows.
#if defined(PHASED)
#define DEEP (PHASED ? 2 : 1)

// The function that maps any value to [0, 1].
DEVICE float end(float x) { return SQUASH == SQUASH_SIGMOID ? sigmoid(x) : fminf(fmaxf(x, 0.0f), 1.0f); }

// Without a norm, `scale` and `shift` are null.
KERNEL interpolate(const Number* last, const float* scale, const float* shift, const float* beta, const int* rows,
                   const void* images, void* out, Strides strides, Strides out_strides, int height, int width,
                   int last_height, int last_width) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x, fours = (width + 3) / 4;
    const int row = n / fours * DEEP, column = n % fours * 4, count = min(4, width - column);
    if (row >= height) return;
    const i64 map = blockIdx.z, image = rows[map];
    // [row][colour][column], before the norm.
    float numbers[DEEP][3][4] = {};
#if PHASED
#pragma unroll
    for (int cell = 0; cell < 2; cell++) {
        if (2 * cell >= count) break;
        const Number* from = last + ((map * last_height + row) / 2 * (last_width / 2) + column / 2 + cell) * 12;
        float both[3][4];
        for (int k = 0; k < 3; k++) load(from + 4 * k, both[k]);
#pragma unroll
        for (int k = 0; k < 12; k++) numbers[k / 6][k % 3][2 * cell + k / 3 % 2] = both[k / 4][k % 4];
    }
#else
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (i >= count) break;
        float pixel[4];
        load(last + ((map * last_height + row) * last_width + column + i) * 4, pixel);
        for (int c = 0; c < 3; c++) numbers[0][c][i] = pixel[c];
    }
#endif
    const float by = beta[map];
    float affine[3][2];
    for (int c = 0; c < 3; c++) affine[c][0] = scale ? scale[map * 3 + c] : 1.0f, affine[c][1] = scale ? shift[map * 3 + c] : 0.0f;
#pragma unroll
    for (int r = 0; r < DEEP; r++) {
        if (row + r >= height) break;
        float content[3][4];
        load_four<PIXELS>(images, image * strides.image + (row + r) * strides.row + column * strides.column, strides, count,
                          content);
        for (int c = 0; c < 3; c++) {
            for (int i = 0; i < 4; i++) {
                const float x = numbers[r][c][i] * affine[c][0] + affine[c][1];
                content[c][i] = (1.0f - by) * content[c][i] + by * end(x);
            }
        }
        const i64 to = image * out_strides.image + (row + r) * out_strides.row + column * out_strides.column;
        store_four<OUT>(out, to, out_strides, count, content);
    }
}
#elif defined(FLAT)
// The maps of an image of one colour are constant, so that the last norm yields its beta. A block handles one image.
KERNEL flat(const float* betas, float* scale, float* shift, const int* rows, const void* images, Strides strides, int height,
            int width, int pitch) {
    SHARED(float, shared);
    const i64 map = blockIdx.z, image = rows[map];
    const int fours = (width + 3) / 4, n = height * fours;
    float colour[3][4];
    load_four<PIXELS>(images, image * strides.image, strides, 1, colour);
    // The first pixels of each thread are enough to distinguish most images from flat ones.
    for (int start = 0, end = min(n, static_cast<int>(blockDim.x)); start < n; start = end, end = n) {
        float others[1] = {};
        for (int i = start + threadIdx.x; i < end; i += blockDim.x) {
            const int row = i / fours, column = i % fours * 4, count = min(4, width - column);
            float pixels[3][4];
            load_four<PIXELS>(images, image * strides.image + row * strides.row + column * strides.column, strides, count, pixels);
            for (int c = 0; c < 3; c++)
                for (int k = 0; k < count; k++) others[0] += pixels[c][k] != colour[c][0];
        }
        over_lanes(others, 1, shared);
        if (others[0] > 0.0f) return;
    }
    if (threadIdx.x < 3) scale[map * 3 + threadIdx.x] = 0.0f, shift[map * 3 + threadIdx.x] = betas[map * pitch + threadIdx.x];
}
#else
KERNEL copy(const int* rows, const void* images, void* out, Strides strides, Strides out_strides, int height, int width) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x, fours = (width + 3) / 4;
    const int row = n / fours, column = n % fours * 4, count = min(4, width - column);
    if (row >= height) return;
    const i64 image = rows[blockIdx.z];
    float pixels[3][4];
    const i64 from = image * strides.image + row * strides.row + column * strides.column;
    load_four<PIXELS>(images, from, strides, count, pixels);
    const i64 to = image * out_strides.image + row * out_strides.row + column * out_strides.column;
    store_four<OUT>(out, to, out_strides, count, pixels);
}
#endif
