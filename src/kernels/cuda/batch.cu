// Values of a batch that the launch itself carries, so that nothing is copied from host memory and a CUDA graph can hold them;
// and line 4 of Algorithm 1. `Words` is defined in `batch.rs`.
KERNEL put(u32* to, Words words, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) to[i] = words.word[i];
}

// z[n] = (1 - alpha[n]) contents[content[n]] + alpha[n] styles[style[n]].
KERNEL blend(const float* contents, const int* content, const float* styles, const int* style, const float* alpha, float* z,
             int dim) {
    const i64 n = blockIdx.z;
    const float* z_c = contents + static_cast<i64>(content[n]) * dim;
    const float* z_s = styles + static_cast<i64>(style[n]) * dim;
    for (int i = threadIdx.x; i < dim; i += blockDim.x) z[n * dim + i] = (1.0f - alpha[n]) * z_c[i] + alpha[n] * z_s[i];
}
