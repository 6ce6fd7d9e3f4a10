// The user's images as maps of three channels and a zero, resized as `resize/mod.rs` says, and the moments of the colours.
//
// A block has 8x16 pixels. `rows` names the images: map n is made of image rows[n]. `down` and `across` are windows, of each
// output pixel: the first input, and `taps` weights. `moments` is as a convolution's.
#define ROWS 8
#define COLUMNS 16
#define KEPT 6

KERNEL resize(const void* images, Strides strides, const int* rows, const u32* down, const u32* across, Number* y,
              float* moments, int out_height, int out_width, int down_taps, int across_taps) {
    SHARED(float, shared);
    const int tiles = (out_width + COLUMNS - 1) / COLUMNS, y0 = blockIdx.x / tiles * ROWS, x0 = blockIdx.x % tiles * COLUMNS;
    const int row = y0 + threadIdx.x / COLUMNS, column = x0 + threadIdx.x % COLUMNS;
    const bool valid[1] = {row < out_height && column < out_width};
    float sums[1][4] = {};
    if (valid[0]) {
        down += row * (1 + down_taps);
        across += column * (1 + across_taps);
        const i64 begin = rows[blockIdx.z] * strides.image + static_cast<int>(down[0]) * strides.row +
                          static_cast<int>(across[0]) * strides.column;
        // Those of the first rows are kept; more of them have pictures much larger than the map alone.
        float kept[KEPT];
        for (int i = 0; i < KEPT; i++) kept[i] = i < down_taps ? from_bits(down[1 + i]) : 0.0f;
        for (int j = 0; j < across_taps; j++) {
            const float weight = from_bits(across[1 + j]);
            if (weight == 0.0f) continue;
            float mixed[3] = {};
            const i64 at = begin + j * strides.column;
#pragma unroll
            for (int i = 0; i < KEPT; i++) {
                if (kept[i] == 0.0f) continue;
                for (int c = 0; c < 3; c++)
                    mixed[c] += kept[i] * load_pixel(images, at + i * strides.row + c * strides.colour, PIXELS);
            }
            for (int i = KEPT; i < down_taps; i++) {
                const float by = from_bits(down[1 + i]);
                for (int c = 0; c < 3; c++)
                    mixed[c] += by * load_pixel(images, at + i * strides.row + c * strides.colour, PIXELS);
            }
            for (int c = 0; c < 3; c++) sums[0][c] += weight * mixed[c];
        }
        store(y + ((static_cast<i64>(blockIdx.z) * out_height + row) * out_width + column) * 4, sums[0]);
    }
    const float count = min(ROWS, out_height - y0) * min(COLUMNS, out_width - x0);
    float* to = moments + (static_cast<i64>(blockIdx.z) * gridDim.x + blockIdx.x) * 2 * 4;
    measure<1, 4, 1>(sums, valid, [](int value) { return value; }, 4, count, shared, to, 4, 4);
}
