// y = activation(bias + sum over taps and i of w[o, i] x[i]), with any kernel and stride, and fused operations around it.
//
// A block computes 8x16 pixels of BLOCK outputs, CHUNK input channels at a time:
//   1. It loads the window of x that its pixels need into shared memory (`window.cuh`). x is a map, of which relu(scale x +
//      shift) is taken if NORMED; or, if FROM_IMAGES, the user's images of type PIXELS, those listed in `rows`.
//   2. If DEPTHWISE, it applies a depthwise convolution to the window, after upsampling if UPSAMPLE, which gives a map of the
//      block's pixels; the convolution is then pointwise.
//   3. `multiply`. Fast: each of four warps computes 2 rows of 16 pixels on the tensor cores; 16 terms of the sum are two
//      groups of 8 consecutive (tap, channel) pairs. Exact: a thread computes one pixel. `cuda/layout.rs` defines the order of
//      the weights, and tests that it is the order in which they are read here.
//   4. If SKIP, the side of a kernel, is not 0, another convolution, of the images, is added: gain[image][o % 3] times its sum.
//   5. It writes the sums; and, if MEASURED, the mean and the squared deviations of each output over the block's pixels to
//      `moments` [image][block][2][OUTPUTS].
//
// `cuda/arguments.rs` has `ConvolutionArgs` and the table of the defines. PHASED: x is the output of a convolution that
// upsamples, [row / 2][column / 2][row % 2][column % 2][INPUTS]. OUTPUTS of such a convolution are four phases of PHASE
// channels, and each phase needs only some of its taps, which are cells of the small map; FOLDED is the kernel that was folded
// into them.
#if EXACT
// A thread computes one pixel.
#define OWN 1
#define VALUES BLOCK
DEVICE int channel_of(int value) { return value; }
DEVICE int row_of(int) { return threadIdx.x / BLOCK_COLUMNS; }
DEVICE int column_of(int) { return threadIdx.x % BLOCK_COLUMNS; }

template <class W>
DEVICE void multiply(const Number* w, const Number* window, float (&sums)[OWN][VALUES]) {
    w += blockIdx.y * BLOCK;
    for (int tap = 0; tap < W::taps; tap++) {
        const int at = (row_of(0) * W::columns + column_of(0)) * W::stride + W::place(tap);
        for (int channel = 0; channel < W::chunk; channel++) {
            const float number = window[at * W::pitch + channel];
            for (int o = 0; o < BLOCK; o++) sums[0][o] += number * w[(tap * W::chunk + channel) * PACKED + o];
        }
    }
}
#else
// A lane has two outputs of each eight, for four pixels: columns `lane / 4` and 8 further, in its warp's two rows.
#define OWN 4
#define VALUES (BLOCK / 4)
DEVICE int channel_of(int value) { return value / 2 * 8 + threadIdx.x % 4 * 2 + value % 2; }
DEVICE int row_of(int p) { return threadIdx.x / 32 * 2 + p / 2; }
DEVICE int column_of(int p) { return threadIdx.x % 32 / 4 + p % 2 * 8; }

// Whether the phase of the eight outputs starting at 8 n needs a tap.
DEVICE bool needed(int tap, int n) {
    if (!PHASE || BLOCK != OUTPUTS) return true;
    const int phase = n * 8 / max(PHASE, 1), row = phase / 2, column = phase % 2, reach = KERNEL_ROWS / 2;
    const int first = -(FOLDED / 2), last = first + FOLDED - 1;
    const int y = tap / KERNEL_ROWS - reach, x = tap % KERNEL_ROWS - reach;
    return y >= (row + first) >> 1 && y <= (row + last) >> 1 && x >= (column + first) >> 1 && x <= (column + last) >> 1;
}

// Loads the pixel values of a step, for the warp's first row and its second.
template <class W>
DEVICE void gather(const Number* window, int step, u32 (&a)[2][4]) {
    const int lane = threadIdx.x % 32, pair = lane % 4, row = row_of(0) * W::stride * W::columns;
    if (W::chunk == 4) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            // A row of taps is made of groups of two; the last group stands in for groups beyond it, whose weights are 0.
            const int pairs = (W::tap_columns + 1) / 2, group = min(2 * step + half, W::tap_rows * pairs - 1);
            const int tap = W::taps == 1 ? 0 : group / pairs * W::columns + group % pairs * 2 + pair / 2;
            for (int n = 0; n < 2; n++)
                for (int m = 0; m < 2; m++) {
                    const int at = row + tap + (lane / 4 + n * W::columns + 8 * m) * W::stride;
                    a[n][2 * half + m] = *reinterpret_cast<const u32*>(window + at * W::pitch + pair % 2 * 2);
                }
        }
    } else {
        // Each lane points to eight channels of a pixel: of the first eight of the terms, or of the second. Beyond the last tap
        // the weights are 0.
        const int eights = W::chunk / 8, half = lane / 16, first = 2 * step, second = first + 1;
        const bool apart = eights % 2 && half;
        const int tap = apart ? W::place(min(second / eights, W::taps - 1)) : W::place(first / eights);
        const int channel = apart ? second % eights * 8 : first % eights * 8 + (1 - eights % 2) * half * 8;
        for (int n = 0; n < 2; n++) {
            const int at = row + tap + (lane % 16 + n * W::columns) * W::stride;
            load_matrices(a[n], window + at * W::pitch + channel);
        }
    }
}

template <class W>
DEVICE void multiply(const Number* weights, const Number* window, float (&sums)[OWN][VALUES]) {
    const uint2* w = reinterpret_cast<const uint2*>(weights) + blockIdx.y * (BLOCK / 8) * 32 + threadIdx.x % 32;
#pragma unroll UNROLL
    for (int step = 0; step < W::steps; step++) {
        u32 a[2][4];
        gather<W>(window, step, a);
        const int eights = max(W::chunk / 8, 1), first = 2 * step / eights, second = min((2 * step + 1) / eights, W::taps - 1);
#pragma unroll
        for (int o = 0; o < BLOCK / 8; o++) {
            if (W::chunk > 4 && !needed(first, o) && !needed(second, o)) continue;
            const uint2 packed = w[(step * (PACKED / 8) + o) * 32];
            const u32 b[2] = {packed.x, packed.y};
            for (int n = 0; n < 2; n++) {
                float(&left)[VALUES] = sums[2 * n], (&right)[VALUES] = sums[2 * n + 1];
                product(left[2 * o], left[2 * o + 1], right[2 * o], right[2 * o + 1], a[n], b);
            }
        }
    }
}
#endif

// The pixels and outputs of a block.
struct Part {
    int y0, x0, height, width, first;
    i64 image;
};

// Whether a thread's pixel is inside the map.
DEVICE bool has(const Part& part, int p) { return part.y0 + row_of(p) < part.height && part.x0 + column_of(p) < part.width; }

DEVICE void add_chunks(const ConvolutionArgs& args, const Part& part, Number* window, float (&sums)[OWN][VALUES]) {
    const Place place = place_of(part.y0, part.x0, part.height, KERNEL_ROWS, STRIDE, args.top, args.left);
#pragma unroll 1
    for (int chunk = 0; chunk < INPUTS / CHUNK; chunk++) {
        if (chunk) __syncthreads();
#if FROM_IMAGES
        fill_images<Outer>(args, place, BORDER, window);
#else
        fill_map(args.x + part.image * args.height * args.width * INPUTS, args.scale + part.image * INPUTS,
                 args.shift + part.image * INPUTS, chunk, args.height, args.width, place, window);
#endif
        __syncthreads();
        const Number* inner = window;
#if DEPTHWISE
        Number* middle = window + Outer::rows * Outer::columns * Outer::pitch;
        deepen(args.depthwise + chunk * CHUNK, args.depthwise_bias + chunk * CHUNK, part.y0, part.x0, args.top, args.left, window,
               middle);
        __syncthreads();
        inner = middle;
#endif
        // Number of terms of a chunk and an output.
        const int terms = EXACT ? Inner::taps * CHUNK : Inner::steps * 16;
        multiply<Inner>(args.weight + static_cast<i64>(chunk) * terms * PACKED, inner, sums);
    }
}

#if SKIP
// Adds gain times another convolution, of the images.
DEVICE void add_skip(const ConvolutionArgs& args, const Part& part, Number* window, float (&sums)[OWN][VALUES]) {
    typedef Window<SKIP, SKIP, SKIP_STRIDE, 4, 4> Skip;
    float skipped[OWN][VALUES] = {}, gains[3];
    __syncthreads();
    const Place behind = place_of(part.y0, part.x0, part.height, SKIP, SKIP_STRIDE, args.skip_before, args.skip_before);
    fill_images<Skip>(args, behind, BORDER_REFLECT, window);
    __syncthreads();
    multiply<Skip>(args.skip, window, skipped);
    // Starting with the thread's first output.
    for (int k = 0; k < 3; k++) gains[k] = args.gain[part.image * args.gain_pitch + (part.first + channel_of(0) + k) % 3];
#pragma unroll
    for (int p = 0; p < OWN; p++)
#pragma unroll
        for (int v = 0; v < VALUES; v++) sums[p][v] += gains[(channel_of(v) - channel_of(0)) % 3] * skipped[p][v];
}
#endif

// Applies bias and activation, and sets pixels beyond the map's edge to zero.
DEVICE void finish(const ConvolutionArgs& args, const Part& part, float (&sums)[OWN][VALUES]) {
    const bool whole = part.y0 + BLOCK_ROWS <= part.height && part.x0 + BLOCK_COLUMNS <= part.width;
#pragma unroll
    for (int p = 0; p < OWN; p++) {
#pragma unroll
        for (int v = 0; v < VALUES; v++)
            sums[p][v] = activated(BIASED ? args.bias[part.first + channel_of(v)] + sums[p][v] : sums[p][v], ACTIVATION);
        // Uniform over all threads of an interior block, which skips the rest.
        if (whole || has(part, p)) continue;
#pragma unroll
        for (int v = 0; v < VALUES; v++) sums[p][v] = 0.0f;
    }
}

DEVICE void leave(const Part& part, Number* window, const float (&sums)[OWN][VALUES], Number* y) {
#if EXACT
    if (!has(part, 0)) return;
    const i64 pixel = (part.y0 + row_of(0)) * part.width + part.x0 + column_of(0);
    Number* to = y + pixel * OUT_PITCH + part.first;
    for (int o = 0; o < BLOCK && part.first + o < OUTPUTS; o++) to[o] = sums[0][o];
#else
    // Through shared memory, so that neighbouring threads write neighbouring values.
    const int thread = threadIdx.x, pitch = BLOCK + 8;
#pragma unroll
    for (int p = 0; p < OWN; p++) {
        Number* to = window + (row_of(p) * BLOCK_COLUMNS + column_of(p)) * pitch + thread % 4 * 2;
#pragma unroll
        for (int v = 0; v < VALUES; v += 2) *reinterpret_cast<u32*>(to + v * 4) = pack(sums[p][v], sums[p][v + 1]);
    }
    __syncthreads();
    // A thread writes the same outputs for pixels far apart.
    const int some = OUTPUTS % 8 ? 4 : 8, parts = BLOCK / some, lanes = THREADS / parts, o = thread % parts * some;
    if (thread / parts >= lanes || part.first + o >= OUTPUTS) return;
#pragma unroll
    for (int k = 0; k < (BLOCK_ROWS * BLOCK_COLUMNS + lanes - 1) / lanes; k++) {
        const unsigned pixel = thread / parts + k * lanes;
        const int row = part.y0 + pixel / BLOCK_COLUMNS, column = part.x0 + pixel % BLOCK_COLUMNS;
        if (pixel >= BLOCK_ROWS * BLOCK_COLUMNS || row >= part.height || column >= part.width) continue;
        *reinterpret_cast<Several<some>*>(y + static_cast<i64>(row * part.width + column) * OUT_PITCH + part.first + o) =
            *reinterpret_cast<const Several<some>*>(window + pixel * pitch + o);
    }
#endif
}

KERNEL BLOCKS(THREADS, MOST)
conv(const ConvolutionArgs args) {
    SHARED(Number, window);
    const int tiles = (args.out_width + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS, tile = blockIdx.x;
    const Part part = {tile / tiles * BLOCK_ROWS,  tile % tiles * BLOCK_COLUMNS, args.out_height, args.out_width,
                       static_cast<int>(blockIdx.y) * BLOCK, blockIdx.z};
    float sums[OWN][VALUES] = {};
    add_chunks(args, part, window, sums);
#if SKIP
    add_skip(args, part, window, sums);
#endif
    finish(args, part, sums);
    // Waits until shared memory has been read.
    __syncthreads();
    if (MEASURED) {
        const float count = min(BLOCK_ROWS, part.height - part.y0) * min(BLOCK_COLUMNS, part.width - part.x0);
        float* to = args.moments + (part.image * gridDim.x + blockIdx.x) * 2 * OUTPUTS + part.first;
        measure<OWN, VALUES, EXACT ? 1 : 4>(sums, has(part, 0), channel_of, BLOCK, count, reinterpret_cast<float*>(window), to,
                                            OUTPUTS, OUTPUTS - part.first);
        if (!EXACT) __syncthreads();
    }
    leave(part, window, sums, args.out + part.image * part.height * part.width * OUT_PITCH);
}
