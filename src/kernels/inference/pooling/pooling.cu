// Pooling over windows, with one thread for WIDE channels of an output pixel; see `pooling/mod.rs`.
//
// x is [image][height][width][CHANNELS]; y points to the first channel that is written, with OUT_PITCH values from one pixel to
// the next.
#define WIDE (CHANNELS % 8 ? 4 : 8)

#if defined(FEATURES)
// The mean of each channel of a map, [image][FEATURES]; a block handles GROUP times WIDE channels, and its threads share the
// pixels.
KERNEL global_mean(const Number* x, float* features, int pixels) {
    SHARED(float, shared);
    const int lane = threadIdx.x / GROUP, channel = (blockIdx.y * GROUP + threadIdx.x % GROUP) * WIDE;
    const i64 image = blockIdx.z;
    float sums[WIDE] = {};
    for (int pixel = lane; pixel < pixels && channel < CHANNELS; pixel += blockDim.x / GROUP) {
        float numbers[WIDE];
        load(x + (image * pixels + pixel) * CHANNELS + channel, numbers);
        for (int i = 0; i < WIDE; i++) sums[i] += numbers[i];
    }
    over_lanes(sums, GROUP, shared);
    for (int i = 0; i < WIDE && !lane && channel + i < FEATURES; i++) features[image * FEATURES + channel + i] = sums[i] / pixels;
}
#else
// Output of a thread: its pixel, and its first channel.
struct Part {
    int row, column, channel;
    bool works;
};

DEVICE Part part_of(int out_height, int out_width) {
    const i64 n = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x, pixel = n / (CHANNELS / WIDE);
    return {static_cast<int>(pixel / out_width), static_cast<int>(pixel % out_width),
            static_cast<int>(n % (CHANNELS / WIDE)) * WIDE, pixel < static_cast<i64>(out_height) * out_width};
}

DEVICE const Number* pixel_of(const Number* x, int row, int column, int height, int width) {
    return x + ((static_cast<i64>(blockIdx.z) * height + row) * width + column) * CHANNELS;
}

DEVICE Number* output_of(Number* y, const Part& part, int out_height, int out_width) {
    return y + ((static_cast<i64>(blockIdx.z) * out_height + part.row) * out_width + part.column) * OUT_PITCH + part.channel;
}

#if defined(SIDE)
// The maximum of SIDE x SIDE windows with stride STRIDE; positions outside are ignored.
KERNEL max_pool(const Number* x, Number* y, int height, int width, int out_height, int out_width) {
    const Part part = part_of(out_height, out_width);
    if (!part.works) return;
    const int row = part.row * STRIDE, column = part.column * STRIDE;
    float most[WIDE];
    load(pixel_of(x, row, column, height, width) + part.channel, most);
    for (int r = row; r < min(row + SIDE, height); r++)
        for (int c = column; c < min(column + SIDE, width); c++) {
            float numbers[WIDE];
            load(pixel_of(x, r, c, height, width) + part.channel, numbers);
            for (int i = 0; i < WIDE; i++) most[i] = fmaxf(most[i], numbers[i]);
        }
    store(output_of(y, part, out_height, out_width), most);
}
#else
// The mean of 3x3 around every pixel, over the pixels inside, or over all nine if zeros count; then bias and activation.
KERNEL average_pool(const Number* x, const float* bias, Number* y, int height, int width) {
    const Part part = part_of(height, width);
    if (!part.works) return;
    const int top = max(part.row - 1, 0), bottom = min(part.row + 2, height);
    const int left = max(part.column - 1, 0), right = min(part.column + 2, width);
    float sums[WIDE] = {}, biases[WIDE];
    for (int r = top; r < bottom; r++)
        for (int c = left; c < right; c++) {
            float numbers[WIDE];
            load(pixel_of(x, r, c, height, width) + part.channel, numbers);
            for (int i = 0; i < WIDE; i++) sums[i] += numbers[i];
        }
    const float weight = 1.0f / (COUNTS_ZEROS ? 9 : (bottom - top) * (right - left));
    load_floats(bias + part.channel, biases);
    for (int i = 0; i < WIDE; i++) sums[i] = activated(sums[i] * weight + biases[i], ACTIVATION);
    store(output_of(y, part, height, width), sums);
}
#endif
#endif
