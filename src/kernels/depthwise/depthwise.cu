// y[c] = activation(bias[c] + sum over taps of w[tap, c] x[c]), with any kernel and stride, or after nearest x2 upsampling.
//
// A thread has four channels of a pixel; the taps overlap in the cache. `w` is [tap][channel].
KERNEL depthwise(const Number* x, const float* w, const float* bias, Number* y, int height, int width, int out_height,
                 int out_width, int top, int left) {
    const i64 n = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int c = n % (CHANNELS / 4) * 4;
    const i64 pixel = n / (CHANNELS / 4);
    if (pixel >= static_cast<i64>(out_height) * out_width) return;
    const int row = pixel / out_width, column = pixel % out_width;
    x += static_cast<i64>(blockIdx.z) * height * width * CHANNELS;
    y += static_cast<i64>(blockIdx.z) * out_height * out_width * CHANNELS;
    float sums[4];
    for (int i = 0; i < 4; i++) sums[i] = bias[c + i];
    for (int tap = 0; tap < SIDE * SIDE; tap++) {
        int from_row = row * STRIDE + tap / SIDE - top, from_column = column * STRIDE + tap % SIDE - left;
        if (UPSAMPLE) from_row >>= 1, from_column >>= 1;
        from_row = inside(from_row, height, BORDER);
        from_column = inside(from_column, width, BORDER);
        if (from_row < 0 || from_column < 0) continue;
        float numbers[4];
        load(x + (static_cast<i64>(from_row) * width + from_column) * CHANNELS + c, numbers);
        for (int i = 0; i < 4; i++) sums[i] += w[tap * CHANNELS + c + i] * numbers[i];
    }
    for (int i = 0; i < 4; i++) sums[i] = activated(sums[i], ACTIVATION);
    store(y + pixel * CHANNELS + c, sums);
}
