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

// What a block has of the image: a thread's filter, and which part of the sums it takes.
struct Part {
    int filter, lane, lanes;
    bool works;
};

DEVICE Part part_of() {
    const int filter = blockIdx.y * GROUP + threadIdx.x % GROUP, lane = threadIdx.x / GROUP, lanes = blockDim.x / GROUP;
    return {filter, lane, lanes, lane < lanes && filter < FILTERS};
}

// Mean and variance of a thread's filter. The sums in `more` are added up over the lanes on the way.
template <int MORE>
DEVICE void gather(const float* moments, int height, int width, int blocks, float (&more)[MORE], float& mean, float& variance) {
    SHARED(float, shared);
    const Part part = part_of();
    const float pixels = static_cast<float>(height) * width * PHASES;
    moments += static_cast<i64>(blockIdx.z) * blocks * 2 * CHANNELS + part.filter;
#pragma unroll 4
    for (int i = part.lane; i < blocks * PHASES && part.works; i += part.lanes)
        more[0] += count_of(i / PHASES, height, width) * moments[i / PHASES * 2 * CHANNELS + i % PHASES * FILTERS];
    over_lanes(more, GROUP, shared);
    mean = more[0] / pixels;
    float square[1] = {};
#pragma unroll 4
    for (int i = part.lane; i < blocks * PHASES && part.works; i += part.lanes) {
        const float* own = moments + i / PHASES * 2 * CHANNELS + i % PHASES * FILTERS;
        square[0] += own[CHANNELS] + count_of(i / PHASES, height, width) * (own[0] - mean) * (own[0] - mean);
    }
    over_lanes(square, GROUP, shared);
    variance = square[0] / pixels;
}

#if defined(DIM)
// The norm with gamma and beta linear in z, as scale and shift, [image][filter]. `w` is [2][DIM][FILTERS], `b` [2][FILTERS].
KERNEL style_norm(const float* moments, const float* z, const float* w, const float* b, float* scale, float* shift, int height,
                  int width, int blocks) {
    const Part part = part_of();
    // Of the moments, of gamma, of beta.
    float sums[3] = {}, mean, variance;
    z += static_cast<i64>(blockIdx.z) * DIM;
#pragma unroll 4
    for (int i = part.lane; i < DIM && part.works; i += part.lanes) {
        sums[1] += w[i * FILTERS + part.filter] * z[i];
        sums[2] += w[(DIM + i) * FILTERS + part.filter] * z[i];
    }
    gather(moments, height, width, blocks, sums, mean, variance);
    if (part.lane || !part.works) return;
    const float gamma = (sums[1] + b[part.filter]) / sqrtf(variance + EPSILON), beta = sums[2] + b[FILTERS + part.filter];
    const i64 at = static_cast<i64>(blockIdx.z) * FILTERS + part.filter;
    scale[at] = gamma;
    shift[at] = beta - mean * gamma;
}
#else
// Means into `features`, and deviations after them if asked for: [image][FEATURES], from `at` on.
KERNEL features(const float* moments, float* features, int height, int width, int blocks, int at, int deviations) {
    const Part part = part_of();
    float sums[1] = {}, mean, variance;
    gather(moments, height, width, blocks, sums, mean, variance);
    if (part.lane || part.filter >= NAMED) return;
    features += static_cast<i64>(blockIdx.z) * FEATURES + at;
    features[part.filter] = mean;
    if (deviations) features[NAMED + part.filter] = sqrtf(variance + EPSILON);
}
#endif
#endif
