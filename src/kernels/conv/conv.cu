// y = activation(bias + sum over taps and i of w[o, i] x[i]), with any kernel and stride; with what comes before and after it.
//
// A block computes 8x16 pixels of BLOCK outputs, CHUNK input channels at a time:
//   1. `fill`: the window of x that its pixels need, into shared memory. x is a map, of which relu(scale x + shift) is taken where
//      NORMED; or, where PIXELS is a pixel type, the user's images, those that `rows` names.
//   2. `deepen`, where DEPTHWISE: a depthwise convolution of the window, which may upsample, to a map of the block's pixels; the
//      convolution is then pointwise.
//   3. `multiply`. Fast: each of four warps has 2 rows of 16 pixels on the tensor cores; 16 terms of the sum are two groups of 8
//      consecutive (tap, channel)s, and `w` lies as the lanes want it: [chunk][step][output / 8][lane][4]. Exact: a thread has a
//      pixel, and `w` is [chunk][tap][channel][output].
//   4. The sums leave: ADD: y = y + gain[image][o % COLOURS] (sum), without bias and activation. Where `moments` is not null, the
//      mean and the squared deviations of each output over the block's pixels, [image][block][2][OUTPUTS].
//
// INPUTS and OUTPUTS are channels as they lie in memory. PHASED: x is [row / 2][column / 2][row % 2][column % 2][INPUTS], as a
// convolution that upsamples leaves it: OUTPUTS are then four phases of PHASE channels, and of its taps, which are cells of the
// small map, each phase needs some only; UPSAMPLED is the kernel that was folded into them. (PHASE 0: no such thing is known.)
#define ROWS 8
#define COLUMNS 16
#define UPSAMPLE (DEPTHWISE == 2)
#if UPSAMPLE
#define WINDOW_ROWS ((ROWS + SIDE - 2) / 2 + 2)
#define WINDOW_COLUMNS ((COLUMNS + SIDE - 2) / 2 + 2)
#else
#define WINDOW_ROWS ((ROWS - 1) * STRIDE + SIDE)
// Of four channels two taps are a group of eight: a row of taps is even, and has a weight of 0 in the end if need be.
#define WINDOW_COLUMNS ((COLUMNS - 1) * STRIDE + SIDE + (CHUNK == 4 && !DEPTHWISE ? SIDE % 2 : 0))
#endif
// What is multiplied: the window, or the block's pixels after the depthwise convolution.
#define TAPS (DEPTHWISE ? 1 : SIDE * SIDE)
#define STEP (DEPTHWISE ? 1 : STRIDE)
#define WIDTH (DEPTHWISE ? COLUMNS : WINDOW_COLUMNS)
#define VECTOR (CHUNK == 4 ? 4 : 8)
// Numbers from a pixel to the next: PITCH of what is multiplied, so that lanes do not meet in a bank; a window that is not, and
// that neighbouring lanes read side by side, lies close.
#define WINDOW_PITCH (DEPTHWISE ? CHUNK : PITCH)

struct Arguments {
    const void* x;
    Strides strides;
    const int* rows;
    const float *scale, *shift;
    const Number* depthwise;
    const float* depthwise_bias;
    const Number* w;
    const float *bias, *gain;
    Number* y;
    float* moments;
    int height, width, out_height, out_width, top, left;
};

// Where tap t of output o lies, in pixels of x.
DEVICE int under(int o, int t, int before) { return UPSAMPLE ? (o + t - before) >> 1 : o * STRIDE + t - before; }

// Where a tap lies in the window, from its pixel on.
DEVICE int place_of(int tap) { return DEPTHWISE ? 0 : tap / SIDE * WINDOW_COLUMNS + tap % SIDE; }

// Rows of the window that pixels of y need.
DEVICE int rows_needed(const Arguments& of, int y0) {
    return under(min(y0 + ROWS, of.out_height) - 1, SIDE - 1, of.top) - under(y0, 0, of.top) + 1;
}

#if PIXELS < 4
// Four pixels of a row at a time, which begin where they can be read at once.
DEVICE void fill(const Arguments& of, int, int y0, int x0, Number* window) {
    typedef typename Kept<PIXELS>::Type Pixel;
    const int groups = (WINDOW_COLUMNS + 6) / 4, rows = rows_needed(of, y0);
    const int first_row = under(y0, 0, of.top), first_column = under(x0, 0, of.left);
    const i64 begin = of.rows[blockIdx.z] * of.strides.image;
    const Pixel* pixels = static_cast<const Pixel*>(of.x);
    for (int item = threadIdx.x; item < rows * groups; item += 128) {
        const int row = inside(first_row + item / groups, of.height, BORDER);
        const int column = (first_column & ~3) + item % groups * 4;
        if (column - first_column >= WINDOW_COLUMNS) continue;
        Pixel side[3][4] = {};
        const i64 at = begin + row * of.strides.row;
        if (row >= 0 && column >= 0 && column + 4 <= of.width) {
            load_side(pixels, at + column * of.strides.column, of.strides, 4, side);
        } else if (row >= 0) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int from = inside(column + i, of.width, BORDER);
                for (int c = 0; c < 3 && from >= 0; c++)
                    side[c][i] = pixels[at + from * of.strides.column + c * of.strides.colour];
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int to = column + i - first_column;
            float numbers[4] = {};
            for (int c = 0; c < 3; c++) numbers[c] = load_pixel(side[c], i, PIXELS);
            if (to >= 0 && to < WINDOW_COLUMNS)
                store<4, false>(window + (item / groups * WINDOW_COLUMNS + to) * WINDOW_PITCH, numbers);
        }
    }
}
#else
// A thread has the same channels of pixels far apart; BATCH of them are on their way at a time.
#define VECTORS (CHUNK / VECTOR)
#define LANES (128 / VECTORS)
#define SLOTS ((WINDOW_ROWS * WINDOW_COLUMNS + LANES - 1) / LANES)
#define BATCHES ((SLOTS + 5) / 6)
#define BATCH ((SLOTS + BATCHES - 1) / BATCHES)

DEVICE void fill(const Arguments& of, int chunk, int y0, int x0, Number* window) {
    const unsigned vector = threadIdx.x % VECTORS, lane = threadIdx.x / VECTORS;
    const int first_row = under(y0, 0, of.top), first_column = under(x0, 0, of.left);
    const unsigned pixels = lane < LANES ? rows_needed(of, y0) * WINDOW_COLUMNS : 0;
    const i64 image = blockIdx.z;
    const int channel = chunk * CHUNK + vector * VECTOR;
    const Number* x = static_cast<const Number*>(of.x) + image * of.height * of.width * INPUTS + channel;
    window += vector * VECTOR;
#if NORMED
    float scale[VECTOR], shift[VECTOR];
    load_floats(of.scale + image * INPUTS + channel, scale);
    load_floats(of.shift + image * INPUTS + channel, shift);
#endif
    for (unsigned first = lane; first < pixels; first += BATCH * LANES) {
        Several<VECTOR> numbers[BATCH];
#pragma unroll
        for (int n = 0; n < BATCH; n++) {
            // Beyond the last one it is the last one again: nothing branches.
            const unsigned pixel = min(first + n * LANES, pixels - 1);
            const int row = inside(first_row + pixel / WINDOW_COLUMNS, of.height, BORDER);
            const int column = inside(first_column + pixel % WINDOW_COLUMNS, of.width, BORDER);
#if PHASED
            const int place = (row / 2 * (of.width / 2) + column / 2) * 4 + row % 2 * 2 + column % 2;
#else
            const int place = row * of.width + column;
#endif
            if (BORDER == 0 && (row < 0 || column < 0)) {
                numbers[n] = {};
            } else {
                numbers[n] = *reinterpret_cast<const Several<VECTOR>*>(x + static_cast<i64>(place) * INPUTS);
            }
#if NORMED
#if BORDER == 0
#error "what is outside is not normed"
#endif
#if EXACT
#pragma unroll
            for (int i = 0; i < VECTOR; i++)
                numbers[n].word[i] = to_bits(fmaxf(from_bits(numbers[n].word[i]) * scale[i] + shift[i], 0.0f));
#else
#pragma unroll
            for (int i = 0; i < VECTOR; i += 2) {
                float a, b;
                unpack(numbers[n].word[i / 2], a, b);
                numbers[n].word[i / 2] = pack_positive(a * scale[i] + shift[i], b * scale[i + 1] + shift[i + 1]);
            }
#endif
#endif
        }
#pragma unroll
        for (int n = 0; n < BATCH; n++)
            *reinterpret_cast<Several<VECTOR>*>(window + min(first + n * LANES, pixels - 1) * WINDOW_PITCH) = numbers[n];
    }
}
#endif

#if DEPTHWISE
// A thread has four channels of RUN pixels, one below the other, which share rows of the window.
#define QUADS (CHUNK / 4)

// Four numbers, as they lie in memory. Fast: sums are float16, as what they are of and what becomes of them.
typedef Several<4> Quad;

DEVICE void add_product(Quad& sum, const Quad& a, const Quad& b) {
#if EXACT
    for (int i = 0; i < 4; i++) sum.word[i] = to_bits(from_bits(sum.word[i]) + from_bits(a.word[i]) * from_bits(b.word[i]));
#else
    for (int i = 0; i < 2; i++) sum.word[i] = fused(a.word[i], b.word[i], sum.word[i]);
#endif
}

DEVICE void activate(Quad& quad) {
    if (!DEPTHWISE_ACTIVATION) return;
    float numbers[4];
    load(reinterpret_cast<const Number*>(&quad), numbers);
    for (int i = 0; i < 4; i++) numbers[i] = activated(numbers[i], DEPTHWISE_ACTIVATION);
    store<4, false>(reinterpret_cast<Number*>(&quad), numbers);
}

#define RUN (QUADS <= 2 ? 2 : QUADS <= 4 ? 4 : 8)
DEVICE void deepen(const Arguments& of, int chunk, int y0, int x0, const Number* window, Number* middle) {
    const int quad = threadIdx.x % QUADS, lane = threadIdx.x / QUADS, lanes = 128 / QUADS;
    const Number* w = of.depthwise + chunk * CHUNK + quad * 4;
    const float* bias = of.depthwise_bias + chunk * CHUNK + quad * 4;
    window += quad * 4;
    middle += quad * 4;
    for (int item = lane; item < COLUMNS * ROWS / RUN && lane < lanes; item += lanes) {
        const int column = item % COLUMNS, first = item / COLUMNS * RUN;
#if SIDE == 3 && !UPSAMPLE
        const Number* from = window + (first * STRIDE * WINDOW_COLUMNS + column * STRIDE) * WINDOW_PITCH;
        Quad weights[9], sums[RUN];
#pragma unroll
        for (int tap = 0; tap < 9; tap++) weights[tap] = *reinterpret_cast<const Quad*>(w + tap * INPUTS);
        float biases[4];
        load_floats(bias, biases);
        Quad start;
        store(reinterpret_cast<Number*>(&start), biases);
#pragma unroll
        for (int row = 0; row < (RUN - 1) * STRIDE + 3; row++) {
            Quad numbers[3];
#pragma unroll
            for (int s = 0; s < 3; s++) numbers[s] = *reinterpret_cast<const Quad*>(from + (row * WINDOW_COLUMNS + s) * WINDOW_PITCH);
#pragma unroll
            for (int r = 0; r < RUN; r++) {
                const int tap = row - r * STRIDE;
                if (tap < 0 || tap > 2) continue;
                if (tap == 0) sums[r] = start;
                for (int s = 0; s < 3; s++) add_product(sums[r], weights[tap * 3 + s], numbers[s]);
                if (tap < 2) continue;
                activate(sums[r]);
                *reinterpret_cast<Quad*>(middle + ((first + r) * COLUMNS + column) * PITCH) = sums[r];
            }
        }
#else
        for (int r = first; r < first + RUN; r++) {
            float sums[4];
            for (int i = 0; i < 4; i++) sums[i] = bias[i];
            for (int tap = 0; tap < SIDE * SIDE; tap++) {
                const int row = under(y0 + r, tap / SIDE, of.top) - under(y0, 0, of.top);
                const int at = under(x0 + column, tap % SIDE, of.left) - under(x0, 0, of.left);
                float numbers[4], weights[4];
                load(window + (row * WINDOW_COLUMNS + at) * WINDOW_PITCH, numbers);
                load(w + tap * INPUTS, weights);
                for (int i = 0; i < 4; i++) sums[i] += weights[i] * numbers[i];
            }
            for (int i = 0; i < 4; i++) sums[i] = activated(sums[i], DEPTHWISE_ACTIVATION);
            store(middle + (r * COLUMNS + column) * PITCH, sums);
        }
#endif
    }
}
#endif

#if EXACT
// A thread has a pixel.
#define OWN 1
#define VALUES BLOCK
DEVICE int channel_of(int value) { return value; }

DEVICE void multiply(const Arguments& of, int chunk, const Number* window, float (&sums)[OWN][VALUES]) {
    const int row = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
    const float* w = of.w + static_cast<i64>(chunk) * TAPS * CHUNK * PACKED + blockIdx.y * BLOCK;
    for (int tap = 0; tap < TAPS; tap++) {
        const int at = row * STEP * WIDTH + column * STEP + place_of(tap);
        for (int channel = 0; channel < CHUNK; channel++) {
            const float number = window[at * PITCH + channel];
            for (int o = 0; o < BLOCK; o++) sums[0][o] += number * w[(tap * CHUNK + channel) * PACKED + o];
        }
    }
}
#else
// A lane has two outputs of each eight, in four pixels: columns `group` and `group` + 8 of its warp's two rows.
#define OWN 4
#define VALUES (BLOCK / 4)
DEVICE int channel_of(int value) { return value / 2 * 8 + threadIdx.x % 4 * 2 + value % 2; }

// Whether a phase of the eight outputs from 8 n on needs a tap.
DEVICE bool needed(int tap, int n) {
    if (!PHASE || BLOCK != OUTPUTS) return true;
    const int phase = n * 8 / max(PHASE, 1), row = phase / 2, column = phase % 2, reach = SIDE / 2;
    const int first = -(UPSAMPLED / 2), last = first + UPSAMPLED - 1;
    const int y = tap / SIDE - reach, x = tap % SIDE - reach;
    return y >= (row + first) >> 1 && y <= (row + last) >> 1 && x >= (column + first) >> 1 && x <= (column + last) >> 1;
}

DEVICE void multiply(const Arguments& of, int chunk, const Number* window, float (&sums)[OWN][VALUES]) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, pair = lane % 4;
    const uint2* w = reinterpret_cast<const uint2*>(of.w) + static_cast<i64>(chunk) * STEPS * (PACKED / 8) * 32 +
                     blockIdx.y * (BLOCK / 8) * 32 + lane;
    const int row = 2 * warp * STEP * WIDTH;
#pragma unroll UNROLL
    for (int step = 0; step < STEPS; step++) {
        u32 a[2][4];
#if CHUNK == 4
#pragma unroll
        for (int half = 0; half < 2; half++) {
            // A row of taps is so many groups of two; the last group stands for those beyond it, whose weights are 0.
            const int pairs = (SIDE + 1) / 2, group = min(2 * step + half, SIDE * pairs - 1);
            const int at = row + lane / 4 * STEP +
                           (DEPTHWISE ? 0 : group / pairs * WINDOW_COLUMNS + group % pairs * 2 + pair / 2);
            for (int n = 0; n < 2; n++)
                for (int m = 0; m < 2; m++)
                    a[n][2 * half + m] = *reinterpret_cast<const u32*>(
                        window + (at + n * STEP * WIDTH + 8 * m * STEP) * PITCH + pair % 2 * 2);
        }
        const int taps[2] = {};
#else
        // Each lane tells where eight channels of a pixel begin: of the first eight of the terms, or of the second. Beyond the
        // last tap the weights are 0.
        const int eights = CHUNK / 8, taps[2] = {2 * step / eights, min((2 * step + 1) / eights, TAPS - 1)};
        int at, channel;
        if (eights % 2 == 0) {
            at = place_of(taps[0]);
            channel = 2 * step % eights * 8 + lane / 16 * 8;
        } else {
            at = lane / 16 ? place_of(taps[1]) : place_of(taps[0]);
            channel = lane / 16 ? (2 * step + 1) % eights * 8 : 2 * step % eights * 8;
        }
        at += row + lane % 16 * STEP;
        for (int n = 0; n < 2; n++) load_matrices(a[n], window + (at + n * STEP * WIDTH) * PITCH + channel);
#endif
#pragma unroll
        for (int o = 0; o < BLOCK / 8; o++) {
            if (!needed(taps[0], o) && !needed(taps[1], o)) continue;
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

// What a thread's pixels and numbers are to the kernel: see `channel_of`.
DEVICE int row_of(int p) { return EXACT ? threadIdx.x / COLUMNS : threadIdx.x / 32 * 2 + p / 2; }
DEVICE int column_of(int p) { return EXACT ? threadIdx.x % COLUMNS : threadIdx.x % 32 / 4 + p % 2 * 8; }

KERNEL BLOCKS(128, MOST)
conv(const void* x, Strides strides, const int* rows, const float* scale, const float* shift, const Number* depthwise,
     const float* depthwise_bias, const Number* w, const float* bias, const float* gain, Number* out, float* moments, int height,
     int width, int out_height, int out_width, int top, int left) {
    SHARED(Number, window);
    const Arguments of = {x,    strides, rows, scale,   shift,  depthwise, depthwise_bias, w,   bias,
                          gain, out,     moments, height, width, out_height, out_width,    top, left};
    const int tiles = (out_width + COLUMNS - 1) / COLUMNS, thread = threadIdx.x;
    const int y0 = blockIdx.x / tiles * ROWS, x0 = blockIdx.x % tiles * COLUMNS;
    const i64 image = blockIdx.z;
    float sums[OWN][VALUES] = {};
#pragma unroll 1
    for (int chunk = 0; chunk < INPUTS / CHUNK; chunk++) {
        if (chunk) __syncthreads();
        fill(of, chunk, y0, x0, window);
        __syncthreads();
#if DEPTHWISE
        Number* middle = window + WINDOW_ROWS * WINDOW_COLUMNS * WINDOW_PITCH;
        deepen(of, chunk, y0, x0, window, middle);
        __syncthreads();
        multiply(of, chunk, middle, sums);
#else
        multiply(of, chunk, window, sums);
#endif
    }
    Number* y = out + image * out_height * out_width * OUTPUTS;
    const int first = blockIdx.y * BLOCK;
    const bool whole = y0 + ROWS <= out_height && x0 + COLUMNS <= out_width;
#if ADD
    // From a thread's first output on.
    float gains[COLOURS];
    for (int k = 0; k < COLOURS; k++) gains[k] = gain[image * COLOURS + (first + channel_of(0) + k) % COLOURS];
#endif
#pragma unroll
    for (int p = 0; p < OWN; p++) {
        const bool valid = y0 + row_of(p) < out_height && x0 + column_of(p) < out_width;
        const Number* before = y + static_cast<i64>((y0 + row_of(p)) * out_width + x0 + column_of(p)) * OUTPUTS + first;
#pragma unroll
        for (int v = 0; v < VALUES; v += 2) {
            const int o = channel_of(v);
#if ADD
            float were[2] = {};
            if (valid && first + o < OUTPUTS) load(before + o, were);
#pragma unroll
            for (int i = 0; i < 2; i++)
                sums[p][v + i] = were[i] + gains[(channel_of(v + i) - channel_of(0)) % COLOURS] * sums[p][v + i];
#else
#pragma unroll
            for (int i = 0; i < 2; i++)
                sums[p][v + i] = activated(BIASED ? bias[first + o + i] + sums[p][v + i] : sums[p][v + i], ACTIVATION);
#endif
        }
        // The same for all threads where the block lies inside, and then no work.
        if (whole || valid) continue;
#pragma unroll
        for (int v = 0; v < VALUES; v++) sums[p][v] = 0.0f;
    }
    // What lies in shared memory has been read.
    __syncthreads();
    if (MEASURED) {
        const float count = min(ROWS, out_height - y0) * min(COLUMNS, out_width - x0);
        float* to = moments + (image * gridDim.x + blockIdx.x) * 2 * OUTPUTS + first;
        measure<OWN, VALUES, EXACT ? 1 : 4>(sums, channel_of, BLOCK, count, reinterpret_cast<float*>(window), to, OUTPUTS,
                                            OUTPUTS - first);
        if (!EXACT) __syncthreads();
    }
#if EXACT
    if (y0 + row_of(0) >= out_height || x0 + column_of(0) >= out_width) return;
    Number* to = y + static_cast<i64>((y0 + row_of(0)) * out_width + x0 + column_of(0)) * OUTPUTS + first;
    for (int o = 0; o < BLOCK && first + o < OUTPUTS; o++) to[o] = sums[0][o];
#else
    // By way of shared memory, so that neighbours write neighbouring numbers.
    const int pitch = BLOCK + 8;
#pragma unroll
    for (int p = 0; p < OWN; p++) {
        Number* to = window + (row_of(p) * COLUMNS + column_of(p)) * pitch + thread % 4 * 2;
#pragma unroll
        for (int v = 0; v < VALUES; v += 2) *reinterpret_cast<u32*>(to + v * 4) = pack(sums[p][v], sums[p][v + 1]);
    }
    __syncthreads();
    // A thread has the same outputs of pixels far apart.
    const int some = OUTPUTS % 8 ? 4 : 8, parts = BLOCK / some, lanes = 128 / parts, o = thread % parts * some;
    if (thread / parts >= lanes || first + o >= OUTPUTS) return;
#pragma unroll
    for (int k = 0; k < (ROWS * COLUMNS + lanes - 1) / lanes; k++) {
        const unsigned pixel = thread / parts + k * lanes;
        const int row = y0 + pixel / COLUMNS, column = x0 + pixel % COLUMNS;
        if (pixel >= ROWS * COLUMNS || row >= out_height || column >= out_width) continue;
        *reinterpret_cast<Several<some>*>(y + static_cast<i64>(row * out_width + column) * OUTPUTS + first + o) =
            *reinterpret_cast<const Several<some>*>(window + pixel * pitch + o);
    }
#endif
}
