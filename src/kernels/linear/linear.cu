// y[o] = b[o] + sum over i of w[i, o] x[i], plus `zoom` times as much with weights of its own; a block has an image.
//
// `w` is [INPUTS][OUTPUTS]; where ZOOM is 1, a second one follows it, as a second bias follows the first.
KERNEL linear(const float* x, const float* w, const float* b, float* y, float zoom) {
    x += static_cast<i64>(blockIdx.z) * INPUTS;
    for (int o = threadIdx.x; o < OUTPUTS; o += blockDim.x) {
        float sum = b[o], second = ZOOM ? b[OUTPUTS + o] : 0.0f;
        for (int i = 0; i < INPUTS; i++) {
            sum += w[i * OUTPUTS + o] * x[i];
            if (ZOOM) second += w[(INPUTS + i) * OUTPUTS + o] * x[i];
        }
        y[static_cast<i64>(blockIdx.z) * OUTPUTS + o] = sum + zoom * second;
    }
}
