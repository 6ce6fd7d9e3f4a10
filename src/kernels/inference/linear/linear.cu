// y[o] = b[o] + sum over i of w[i, o] x[i], plus `zoom` times a second map with its own weights; a block handles TOGETHER
// images, which share the weights that it reads, and GROUP outputs.
//
// `w` is [INPUTS][OUTPUTS]; if ZOOM is 1, the second map's weights follow, and likewise its bias.
DEVICE void add_up(const float* x, const float* w, float by, int images, float (&sums)[TOGETHER]) {
    const int lane = threadIdx.x / GROUP, lanes = blockDim.x / GROUP, first = blockIdx.z * TOGETHER;
#pragma unroll 4
    for (int i = lane; i < INPUTS && lane < lanes; i += lanes) {
        const float weight = by * w[static_cast<i64>(i) * OUTPUTS];
        for (int n = 0; n < TOGETHER; n++)
            sums[n] += weight * x[static_cast<i64>(min(first + n, images - 1)) * INPUTS + i];
    }
}

KERNEL linear(const float* x, const float* w, const float* b, float* y, int images, float zoom) {
    SHARED(float, shared);
    // Threads beyond the last output compute a sum that is not used.
    const int o = blockIdx.y * GROUP + threadIdx.x % GROUP, read = min(o, OUTPUTS - 1), first = blockIdx.z * TOGETHER;
    float sums[TOGETHER] = {};
    add_up(x, w + read, 1.0f, images, sums);
    if (ZOOM && zoom != 0.0f) add_up(x, w + static_cast<i64>(INPUTS) * OUTPUTS + read, zoom, images, sums);
    over_lanes(sums, GROUP, shared);
    if (threadIdx.x >= GROUP || o >= OUTPUTS) return;
    const float bias = b[o] + (ZOOM ? zoom * b[OUTPUTS + o] : 0.0f);
    for (int n = 0; n < TOGETHER && first + n < images; n++) y[static_cast<i64>(first + n) * OUTPUTS + o] = sums[n] + bias;
}
