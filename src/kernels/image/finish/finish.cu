// The last steps of a view: solarized, flipped, normalized, in the output layout. `Finish` and `Normalization` are defined in
// `cuda.rs`.

DEVICE int solarized(int byte, const Finish& how) { return how.solarize >= 0 && byte >= how.solarize ? 255 - byte : byte; }

// Reverses four bytes; if only `count` of them are valid, those come first.
DEVICE void reverse(u8 (&x)[4], int count) {
    const u8 last[4] = {x[3], x[2], x[1], x[0]};
    for (int i = 0; i < 4; i++) x[i] = last[i];
    for (; count < 4; count++)
        for (int i = 0; i < 3; i++) x[i] = x[i + 1];
}

// A thread handles four neighbours of an output row at a time; `views` and `blurred` are [view][colour][height][width]. Each
// block computes a table of the output for every byte of every colour.
KERNEL finish(const u8* views, const u8* blurred, const Finish* finishes, void* out, Strides strides,
              const Normalization* by, int height, int width) {
    SHARED(float, levels);
    const Finish how = finishes[blockIdx.z];
    for (int n = threadIdx.x; n < 3 * 256 && OUT != PIXEL_UINT8; n += blockDim.x) {
        const float level = static_cast<float>(solarized(n % 256, how)) / 255.0f;
        levels[n] = (level - by->mean[n / 256]) / by->std[n / 256];
    }
    __syncthreads();
    const i64 plane = static_cast<i64>(height) * width;
    const u8* view = how.blurred >= 0 ? blurred + how.blurred * 3 * plane : views + blockIdx.z * 3 * plane;
    const int fours = (width + 3) / 4, step = gridDim.x * blockDim.x;
    for (int n = blockIdx.x * blockDim.x + threadIdx.x; n < height * fours; n += step) {
        const int y = n / fours, x = n % fours * 4, count = min(width - x, 4);
        const int row = how.vertically ? height - 1 - y : y, column = how.horizontally ? width - x - count : x;
        u8 bytes[3][4];
        load_side(view, static_cast<i64>(row) * width + column, {0, 0, 1, plane}, count, bytes);
        if (how.horizontally)
            for (int c = 0; c < 3; c++) reverse(bytes[c], count);
        const i64 at = blockIdx.z * strides.image + y * strides.row + x * strides.column;
#if OUT == PIXEL_UINT8
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < 4; i++) bytes[c][i] = static_cast<u8>(solarized(bytes[c][i], how));
        store_side(static_cast<u8*>(out), at, strides, count, bytes);
#else
        float made[3][4];
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < 4; i++) made[c][i] = levels[c * 256 + bytes[c][i]];
        store_four<OUT>(out, at, strides, count, made);
#endif
    }
}
