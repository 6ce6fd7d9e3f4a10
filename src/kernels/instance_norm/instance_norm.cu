// Moments of a map's channels, what is made of them, and the affine map that a norm is.
//
// `moments`: a block has an image and GROUP of its channels; sums in float32 of differences from the first pixel, in an order
// that does not change. `affine`: y = relu(scale x + shift), or y = y + scale x + shift.
#if defined(ADD)
// `scale` null: y = y + x.
KERNEL affine(const Number* x, const float* scale, const float* shift, Number* y, int pixels) {
    const i64 n = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x, image = blockIdx.z;
    if (n >= static_cast<i64>(pixels) * (CHANNELS / 4)) return;
    const int c = n % (CHANNELS / 4) * 4;
    const i64 at = image * pixels * CHANNELS + n * 4;
    float numbers[4], before[4];
    load(x + at, numbers);
    if (ADD) load(y + at, before);
    for (int i = 0; i < 4; i++) {
        if (scale) numbers[i] = numbers[i] * scale[image * CHANNELS + c + i] + shift[image * CHANNELS + c + i];
        numbers[i] = ADD ? before[i] + numbers[i] : fmaxf(numbers[i], 0.0f);
    }
    store(y + at, numbers);
}
#else
#define EPSILON 1e-5f

// The mean and the variance of each channel of the block's group, in shared memory: [2][GROUP].
DEVICE float* measured(const Number* x, int pixels) {
    SHARED(float, shared);
    const int quads = GROUP / 4, lanes = blockDim.x / quads;
    const int quad = threadIdx.x % quads, lane = threadIdx.x / quads;
    x += static_cast<i64>(blockIdx.z) * pixels * CHANNELS + blockIdx.y * GROUP + quad * 4;
    float first[4], sum[4] = {}, square[4] = {};
    load(x, first);
#pragma unroll 4
    for (int pixel = lane; pixel < pixels && lane < lanes; pixel += lanes) {
        float numbers[4];
        load(x + static_cast<i64>(pixel) * CHANNELS, numbers);
        for (int i = 0; i < 4; i++) {
            const float off = numbers[i] - first[i];
            sum[i] += off;
            square[i] += off * off;
        }
    }
    // [lane][2][GROUP], halved until one is left.
    float* own = shared + lane * 2 * GROUP + quad * 4;
    for (int i = 0; i < 4 && lane < lanes; i++) own[i] = sum[i], own[GROUP + i] = square[i];
    for (int left = lanes; left > 1; left = (left + 1) / 2) {
        __syncthreads();
        const int half = (left + 1) / 2;
        for (int i = threadIdx.x; i < (left - half) * 2 * GROUP; i += blockDim.x) shared[i] += shared[half * 2 * GROUP + i];
    }
    __syncthreads();
    if (lane == 0) {
        for (int i = 0; i < 4; i++) {
            const float mean = own[i] / pixels;
            own[GROUP + i] = fmaxf(own[GROUP + i] / pixels - mean * mean, 0.0f);
            own[i] = first[i] + mean;
        }
    }
    __syncthreads();
    return shared;
}

#if defined(STYLED)
// The norm with gamma and beta linear in z, as scale and shift, [image][channel]. Channels that are PHASES of each colour are
// one population. `w` is [2][DIM][FILTERS], `b` [2][FILTERS].
KERNEL style_norm(const Number* x, const float* z, const float* w, const float* b, float* scale, float* shift, int pixels) {
    float* moments = measured(x, pixels);
    z += static_cast<i64>(blockIdx.z) * DIM;
    // All threads take a part of the sums over z: [part][2][filter] behind the moments.
    const int own = GROUP / PHASES, parts = blockDim.x / own;
    float* linear = moments + 2 * GROUP;
    const int of = threadIdx.x % own, part = threadIdx.x / own, first = blockIdx.y * GROUP;
    if (part < parts) {
        float gamma = 0.0f, beta = 0.0f;
        for (int i = part; i < DIM && first + of < FILTERS; i += parts) {
            gamma += w[i * FILTERS + first + of] * z[i];
            beta += w[(DIM + i) * FILTERS + first + of] * z[i];
        }
        linear[part * 2 * own + of] = gamma;
        linear[(part * 2 + 1) * own + of] = beta;
    }
    __syncthreads();
    for (int c = threadIdx.x; c < own; c += blockDim.x) {
        const int filter = first + c;
        if (filter >= FILTERS) continue;
        float mean = 0.0f, variance = 0.0f;
        for (int p = 0; p < PHASES; p++) mean += moments[p * FILTERS + c] / PHASES;
        for (int p = 0; p < PHASES; p++) {
            const float off = moments[p * FILTERS + c] - mean;
            variance += (moments[GROUP + p * FILTERS + c] + off * off) / PHASES;
        }
        float gamma = b[filter], beta = b[FILTERS + filter];
        for (int part = 0; part < parts; part++) {
            gamma += linear[part * 2 * own + c];
            beta += linear[(part * 2 + 1) * own + c];
        }
        gamma /= sqrtf(variance + EPSILON);
        const i64 at = static_cast<i64>(blockIdx.z) * FILTERS + filter;
        scale[at] = gamma;
        shift[at] = beta - mean * gamma;
    }
}
#else
// Means into `features`, and deviations after them where there is room: [image][FEATURES], from `at` on.
KERNEL features(const Number* x, float* features, int pixels, int at, int deviations) {
    const float* moments = measured(x, pixels);
    features += static_cast<i64>(blockIdx.z) * FEATURES + at;
    for (int c = threadIdx.x; c < GROUP; c += blockDim.x) {
        const int channel = blockIdx.y * GROUP + c;
        if (channel >= FILTERS) continue;
        features[channel] = moments[c];
        if (deviations) features[FILTERS + channel] = sqrtf(moments[GROUP + c] + EPSILON);
    }
}
#endif
#endif
