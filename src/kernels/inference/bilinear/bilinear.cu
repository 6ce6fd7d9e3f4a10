// The user's images as maps of three channels and a zero, resized as in `bilinear/mod.rs`, and the moments of the colours.
//
// A block handles 8x16 pixels. `rows` lists the images: map n is computed from image rows[n]. `down` and `across` are windows:
// for each output pixel, the first input, and `taps` weights. DEEP rows of the image are in shared memory at a time. `moments`
// has the layout of a convolution's.
#define KEPT 6

// Loads a value; bytes are scaled at the end.
DEVICE float number_of(const void* images, i64 at) {
    return PIXELS == PIXEL_UINT8 ? static_cast<const u8*>(images)[at] : load_pixel(images, at, PIXELS);
}

// Mixes a row of the image for a column, with the weights in registers and those in memory. STEP 1: pixels are contiguous.
template <int STEP>
DEVICE void mix(const void* images, i64 at, const Strides& strides, const float (&kept)[KEPT], const u32* weights, int taps,
                float (&mixed)[3]) {
    const i64 step = STEP ? STEP : strides.column;
    const i64 colours[3] = {at, at + strides.colour, at + 2 * strides.colour};
#pragma unroll
    for (int j = 0; j < KEPT; j++) {
        if (kept[j] == 0.0f) continue;
        for (int c = 0; c < 3; c++) mixed[c] += kept[j] * number_of(images, colours[c] + j * step);
    }
    for (int j = KEPT; j < taps; j++)
        for (int c = 0; c < 3; c++) mixed[c] += from_bits(weights[j]) * number_of(images, colours[c] + j * step);
}

KERNEL resize(const void* images, Strides strides, const int* rows, const u32* down, const u32* across, Number* y,
              float* moments, int out_height, int out_width, int down_taps, int across_taps) {
    SHARED(float, shared);
    const int tiles = (out_width + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS, y0 = blockIdx.x / tiles * BLOCK_ROWS, x0 = blockIdx.x % tiles * BLOCK_COLUMNS;
    const int own_row = threadIdx.x / BLOCK_COLUMNS, own_column = threadIdx.x % BLOCK_COLUMNS;
    const int row = min(y0 + own_row, out_height - 1), column = min(x0 + own_column, out_width - 1);
    const u32 *top = down + row * (1 + down_taps), *left_most = across + column * (1 + across_taps);
    // The first weights of a column are kept in registers; only images much larger than the map have more.
    float kept[KEPT];
    for (int j = 0; j < KEPT; j++) kept[j] = j < across_taps ? from_bits(left_most[1 + j]) : 0.0f;
    const i64 image = rows[blockIdx.z] * strides.image + static_cast<int>(left_most[0]) * strides.column;
    const int first = top[0], end = down[(min(y0 + BLOCK_ROWS, out_height) - 1) * (1 + down_taps)] + down_taps;
    float sums[1][4] = {};
    for (int begin = down[y0 * (1 + down_taps)]; begin < end; begin += DEEP) {
        // First along all rows that the block's pixels need, then down the column of each pixel.
        __syncthreads();
        for (int r = own_row; r < DEEP && begin + r < end; r += BLOCK_ROWS) {
            float mixed[3] = {};
            const i64 at = image + (begin + r) * strides.row;
            if (strides.column == 1) {
                mix<1>(images, at, strides, kept, left_most + 1, across_taps, mixed);
            } else {
                mix<0>(images, at, strides, kept, left_most + 1, across_taps, mixed);
            }
            for (int c = 0; c < 3; c++) shared[(r * 3 + c) * BLOCK_COLUMNS + own_column] = mixed[c];
        }
        __syncthreads();
        for (int i = max(0, begin - first); i < down_taps && first + i < begin + DEEP; i++) {
            const float by = from_bits(top[1 + i]);
            for (int c = 0; c < 3; c++) sums[0][c] += by * shared[((first + i - begin) * 3 + c) * BLOCK_COLUMNS + own_column];
        }
    }
    const bool valid = row == y0 + own_row && column == x0 + own_column;
    for (int c = 0; c < 3; c++) sums[0][c] *= !valid ? 0.0f : PIXELS == PIXEL_UINT8 ? 1.0f / 255.0f : 1.0f;
    if (valid) store(y + ((static_cast<i64>(blockIdx.z) * out_height + row) * out_width + column) * 4, sums[0]);
    __syncthreads();
    const float count = min(BLOCK_ROWS, out_height - y0) * min(BLOCK_COLUMNS, out_width - x0);
    float* to = moments + (static_cast<i64>(blockIdx.z) * gridDim.x + blockIdx.x) * 2 * 4;
    measure<1, 4, 1>(sums, valid, [](int value) { return value; }, 4, count, shared, to, 4, 4);
}
