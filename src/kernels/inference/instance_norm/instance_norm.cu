// Operations on a map's moments: the affine map of a norm or of AdaIN, and features; and the application of an affine map.
//
// `moments` is [image][block][2][CHANNELS] for blocks of 8x16 pixels: means and squared deviations. Channels are PHASES phases
// of FILTERS filters; the phases of a filter form one population. A block handles GROUP filters of an image; the order of the
// sums is fixed.
#if defined(ADDED)
#define WIDE (CHANNELS % 8 ? 4 : 8)

// y = y + scale x + shift; if `scale` is null, y = y + x.
KERNEL affine_add(const Number* x, const float* scale, const float* shift, Number* y, int pixels) {
    const i64 n = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x, image = blockIdx.z;
    if (n >= static_cast<i64>(pixels) * (CHANNELS / WIDE)) return;
    const i64 c = image * CHANNELS + n % (CHANNELS / WIDE) * WIDE, at = image * pixels * CHANNELS + n * WIDE;
    float terms[WIDE], sums[WIDE];
    load(x + at, terms);
    load(y + at, sums);
#pragma unroll
    for (int i = 0; i < WIDE; i++) sums[i] += scale ? terms[i] * scale[c + i] + shift[c + i] : terms[i];
    store(y + at, sums);
}

// x = activation(scale x + shift).
KERNEL affine(Number* x, const float* scale, const float* shift, int pixels) {
    const i64 n = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x, image = blockIdx.z;
    if (n >= static_cast<i64>(pixels) * (CHANNELS / WIDE)) return;
    const i64 c = image * CHANNELS + n % (CHANNELS / WIDE) * WIDE, at = image * pixels * CHANNELS + n * WIDE;
    float numbers[WIDE];
    load(x + at, numbers);
#pragma unroll
    for (int i = 0; i < WIDE; i++) numbers[i] = activated(numbers[i] * scale[c + i] + shift[c + i], ACTIVATION);
    store(x + at, numbers);
}
#elif defined(RESTYLED)
// The affine map that changes the means and deviations of FILTERS channels to those of a style, both [image][2][FILTERS];
// negative deviations of a style are clamped to 0.
KERNEL restyle(const float* own, const float* style, float* scale, float* shift) {
    const int filter = blockIdx.x * blockDim.x + threadIdx.x;
    const i64 image = blockIdx.z, at = image * FILTERS + filter, mean = image * FILTERS + at, deviation = mean + FILTERS;
    if (filter >= FILTERS) return;
    const float by = fmaxf(style[deviation], 0.0f) / own[deviation];
    scale[at] = by;
    shift[at] = style[mean] - own[mean] * by;
}
#else
// Number of valid pixels of a block.
DEVICE float count_of(int block, int height, int width) {
    const int blocks = (width + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS;
    return min(BLOCK_ROWS, height - block / blocks * BLOCK_ROWS) * min(BLOCK_COLUMNS, width - block % blocks * BLOCK_COLUMNS);
}

// The filter of a thread, and its part of the sums.
struct Part {
    int filter, lane, lanes;
    bool works;
};

DEVICE Part part_of() {
    const int filter = blockIdx.y * GROUP + threadIdx.x % GROUP, lane = threadIdx.x / GROUP, lanes = blockDim.x / GROUP;
    return {filter, lane, lanes, lane < lanes && filter < FILTERS};
}

// Mean and variance of a thread's filter.
DEVICE void gather(const float* moments, int height, int width, int blocks, float& mean, float& variance) {
    SHARED(float, shared);
    const Part part = part_of();
    const float pixels = static_cast<float>(height) * width * PHASES;
    moments += static_cast<i64>(blockIdx.z) * blocks * 2 * CHANNELS + part.filter;
    float sum[1] = {}, square[1] = {};
#pragma unroll 4
    for (int i = part.lane; i < blocks * PHASES && part.works; i += part.lanes)
        sum[0] += count_of(i / PHASES, height, width) * moments[i / PHASES * 2 * CHANNELS + i % PHASES * FILTERS];
    over_lanes(sum, GROUP, shared);
    mean = sum[0] / pixels;
#pragma unroll 4
    for (int i = part.lane; i < blocks * PHASES && part.works; i += part.lanes) {
        const float* own = moments + i / PHASES * 2 * CHANNELS + i % PHASES * FILTERS;
        square[0] += own[CHANNELS] + count_of(i / PHASES, height, width) * (own[0] - mean) * (own[0] - mean);
    }
    over_lanes(square, GROUP, shared);
    variance = square[0] / pixels;
}

#if defined(STYLED)
#define EPSILON 1e-5f

// Writes the norm as scale and shift, [image][filter], with its gammas, followed by its betas, from the image's row of `table`.
KERNEL style_norm(const float* moments, const float* table, float* scale, float* shift, int height, int width, int blocks,
                  int pitch) {
    const Part part = part_of();
    const i64 image = blockIdx.z, at = image * FILTERS + part.filter;
    const bool own = !part.lane && part.works;
    const float gamma = own ? table[image * pitch + part.filter] : 0.0f;
    const float beta = own ? table[image * pitch + FILTERS + part.filter] : 0.0f;
    float mean, variance;
    gather(moments, height, width, blocks, mean, variance);
    if (!own) return;
    const float by = gamma / sqrtf(variance + EPSILON);
    scale[at] = by;
    shift[at] = beta - mean * by;
}
#else
// Writes means into `features`, followed by deviations if requested: [image][FEATURES], starting at `at`. `correction` makes a
// variance unbiased; `within` and `beyond` keep a deviation away from 0.
KERNEL features(const float* moments, float* features, int height, int width, int blocks, int at, int deviations,
                float correction, float within, float beyond) {
    const Part part = part_of();
    float mean, variance;
    gather(moments, height, width, blocks, mean, variance);
    if (part.lane || part.filter >= NAMED) return;
    features += static_cast<i64>(blockIdx.z) * FEATURES + at;
    features[part.filter] = mean;
    if (deviations) features[NAMED + part.filter] = sqrtf(variance * correction + within) + beyond;
}
#endif
#endif
