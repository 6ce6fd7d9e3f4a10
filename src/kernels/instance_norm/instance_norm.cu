// What is made of a map's moments: the affine map that a norm is, or features; and a map added to another.
//
// `moments` is [image][block][2][CHANNELS], as blocks of 8x16 pixels leave them: means, and squared deviations. Channels are
// PHASES of each of FILTERS, which are one population. A block has an image and GROUP of its filters; the order of the sums does
// not change.
#if defined(ADDED)
#define WIDE (CHANNELS % 8 ? 4 : 8)

// y = y + scale x + shift; `scale` null: y = y + x.
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
#else
#define EPSILON 1e-5f
#define BLOCK_ROWS 8
#define BLOCK_COLUMNS 16

// Pixels of a block.
DEVICE float count_of(int block, int height, int width) {
    const int blocks = (width + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS;
    return min(BLOCK_ROWS, height - block / blocks * BLOCK_ROWS) * min(BLOCK_COLUMNS, width - block % blocks * BLOCK_COLUMNS);
}

// Mean and variance of a thread's filter.
DEVICE void gather(const float* moments, int height, int width, int blocks, float* shared, float& mean, float& variance) {
    const int filter = blockIdx.y * GROUP + threadIdx.x % GROUP, lane = threadIdx.x / GROUP, lanes = blockDim.x / GROUP;
    const bool works = lane < lanes && filter < FILTERS;
    const float pixels = static_cast<float>(height) * width * PHASES;
    moments += static_cast<i64>(blockIdx.z) * blocks * 2 * CHANNELS + filter;
    float sum = 0.0f;
    for (int part = lane; part < blocks * PHASES && works; part += lanes)
        sum += count_of(part / PHASES, height, width) * moments[part / PHASES * 2 * CHANNELS + part % PHASES * FILTERS];
    mean = over_lanes(sum, GROUP, shared) / pixels;
    sum = 0.0f;
    for (int part = lane; part < blocks * PHASES && works; part += lanes) {
        const float* own = moments + part / PHASES * 2 * CHANNELS + part % PHASES * FILTERS;
        sum += own[CHANNELS] + count_of(part / PHASES, height, width) * (own[0] - mean) * (own[0] - mean);
    }
    variance = over_lanes(sum, GROUP, shared) / pixels;
}

#if defined(DIM)
// The norm with gamma and beta linear in z, as scale and shift, [image][filter]. `w` is [2][DIM][FILTERS], `b` [2][FILTERS].
KERNEL style_norm(const float* moments, const float* z, const float* w, const float* b, float* scale, float* shift, int height,
                  int width, int blocks) {
    SHARED(float, shared);
    float mean, variance, gamma = 0.0f, beta = 0.0f;
    gather(moments, height, width, blocks, shared, mean, variance);
    const int filter = blockIdx.y * GROUP + threadIdx.x % GROUP, lane = threadIdx.x / GROUP, lanes = blockDim.x / GROUP;
    z += static_cast<i64>(blockIdx.z) * DIM;
    for (int i = lane; i < DIM && lane < lanes && filter < FILTERS; i += lanes) {
        gamma += w[i * FILTERS + filter] * z[i];
        beta += w[(DIM + i) * FILTERS + filter] * z[i];
    }
    gamma = over_lanes(gamma, GROUP, shared);
    beta = over_lanes(beta, GROUP, shared);
    if (lane || filter >= FILTERS) return;
    gamma = (gamma + b[filter]) / sqrtf(variance + EPSILON);
    const i64 at = static_cast<i64>(blockIdx.z) * FILTERS + filter;
    scale[at] = gamma;
    shift[at] = beta + b[FILTERS + filter] - mean * gamma;
}
#else
// Means into `features`, and deviations after them if asked for: [image][FEATURES], from `at` on.
KERNEL features(const float* moments, float* features, int height, int width, int blocks, int at, int deviations) {
    SHARED(float, shared);
    float mean, variance;
    gather(moments, height, width, blocks, shared, mean, variance);
    const int filter = blockIdx.y * GROUP + threadIdx.x % GROUP;
    if (static_cast<int>(threadIdx.x) >= GROUP || filter >= NAMED) return;
    features += static_cast<i64>(blockIdx.z) * FEATURES + at;
    features[filter] = mean;
    if (deviations) features[NAMED + filter] = sqrtf(variance + EPSILON);
}
#endif
#endif
