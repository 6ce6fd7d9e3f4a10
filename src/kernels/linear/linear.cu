// y[o] = b[o] + sum over i of w[i, o] x[i], plus `zoom` times as much with weights of its own; a block has an image and GROUP
// outputs.
//
// `w` is [INPUTS][OUTPUTS]; where ZOOM is 1, a second one follows it, as a second bias follows the first.
KERNEL linear(const float* x, const float* w, const float* b, float* y, float zoom) {
    SHARED(float, shared);
    const int o = blockIdx.y * GROUP + threadIdx.x % GROUP, lane = threadIdx.x / GROUP, lanes = blockDim.x / GROUP;
    const bool works = lane < lanes && o < OUTPUTS;
    x += static_cast<i64>(blockIdx.z) * INPUTS;
    float sum[1] = {};
#pragma unroll 4
    for (int i = lane; i < INPUTS && works; i += lanes) sum[0] += w[i * OUTPUTS + o] * x[i];
    if (ZOOM && zoom != 0.0f) {
#pragma unroll 4
        for (int i = lane; i < INPUTS && works; i += lanes) sum[0] += zoom * w[(INPUTS + i) * OUTPUTS + o] * x[i];
    }
    over_lanes(sum, GROUP, shared);
    if (!lane && works) y[static_cast<i64>(blockIdx.z) * OUTPUTS + o] = sum[0] + b[o] + (ZOOM ? zoom * b[OUTPUTS + o] : 0.0f);
}
