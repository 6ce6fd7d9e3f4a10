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
#define WINDOW_COLUMNS ((COLUMNS - 1) * STRIDE + SIDE)
#endif
// What is multiplied: the window, or the block's pixels after the depthwise convolution.
#define TAPS (DEPTHWISE ? 1 : SIDE * SIDE)
#define STEP (DEPTHWISE ? 1 : STRIDE)
#define WIDTH (DEPTHWISE ? COLUMNS : WINDOW_COLUMNS)
#define VECTOR (CHUNK == 4 ? 4 : 8)

struct __align__(VECTOR * sizeof(Number) < 16 ? 8 : 16) Vector {
    Number x[VECTOR];
};

struct Arguments {
    const void* x;
    Strides strides;
    const int* rows;
    const float *scale, *shift, *depthwise, *depthwise_bias;
    const Number* w;
    const float *bias, *gain;
    Number* y;
    float* moments;
    int height, width, out_height, out_width, top, left;
};

// Where tap t of output o lies, in pixels of x.
DEVICE int under(int o, int t, int before) { return UPSAMPLE ? (o + t - before) >> 1 : o * STRIDE + t - before; }

DEVICE int tap_of(int eight) {
    // Beyond the last tap the weights are 0.
    return min(eight / (CHUNK / 8), TAPS - 1);
}

DEVICE int place_of(int tap) { return DEPTHWISE ? 0 : tap / SIDE * WINDOW_COLUMNS + tap % SIDE; }

DEVICE i64 place_of(int row, int column, int width) {
#if PHASED
    return ((static_cast<i64>(row / 2) * (width / 2) + column / 2) * 4 + row % 2 * 2 + column % 2) * INPUTS;
#else
    return (static_cast<i64>(row) * width + column) * INPUTS;
#endif
}

DEVICE void fill(const Arguments& of, int chunk, int y0, int x0, Number* window) {
    const int vector = threadIdx.x % (CHUNK / VECTOR), lane = threadIdx.x / (CHUNK / VECTOR), lanes = 128 / (CHUNK / VECTOR);
    if (lane >= lanes) return;
    const int first_row = under(y0, 0, of.top), first_column = under(x0, 0, of.left);
    const int rows = min(under(min(y0 + ROWS, of.out_height) - 1, SIDE - 1, of.top) - first_row + 1, WINDOW_ROWS);
    const i64 image = blockIdx.z;
    const int channel = chunk * CHUNK + vector * VECTOR;
#if NORMED
    float scale[VECTOR], shift[VECTOR];
    for (int i = 0; i < VECTOR; i++) {
        scale[i] = of.scale[image * INPUTS + channel + i];
        shift[i] = of.shift[image * INPUTS + channel + i];
    }
#endif
#if PIXELS < 4
    const i64 begin = of.rows[image] * of.strides.image;
#else
    const Number* x = static_cast<const Number*>(of.x) + image * of.height * of.width * INPUTS + channel;
#endif
    // Four at a time are on their way.
    for (int first = lane; first < rows * WINDOW_COLUMNS; first += 4 * lanes) {
        Vector numbers[4] = {};
        bool there[4];
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const int pixel = first + n * lanes;
            const int row = inside(first_row + pixel / WINDOW_COLUMNS, of.height, BORDER);
            const int column = inside(first_column + pixel % WINDOW_COLUMNS, of.width, BORDER);
            there[n] = pixel < rows * WINDOW_COLUMNS && row >= 0 && column >= 0;
            if (!there[n]) continue;
#if PIXELS < 4
            const i64 at = begin + row * of.strides.row + column * of.strides.column;
            for (int c = 0; c < 3; c++) numbers[n].x[c] = to_number(load_pixel(of.x, at + c * of.strides.colour, PIXELS));
#else
            numbers[n] = *reinterpret_cast<const Vector*>(x + place_of(row, column, of.width));
#endif
        }
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const int pixel = first + n * lanes;
            if (pixel >= rows * WINDOW_COLUMNS) break;
#if NORMED
            if (there[n])
                for (int i = 0; i < VECTOR; i++)
                    numbers[n].x[i] = to_number(fmaxf(from_number(numbers[n].x[i]) * scale[i] + shift[i], 0.0f));
#endif
            *reinterpret_cast<Vector*>(window + pixel * PITCH + vector * VECTOR) = numbers[n];
        }
    }
}

#if DEPTHWISE
// A thread has four channels of RUN pixels, one below the other, which share rows of the window.
#define RUN 4
DEVICE void deepen(const Arguments& of, int chunk, int y0, int x0, const Number* window, Number* middle) {
    const int quad = threadIdx.x % (CHUNK / 4), lane = threadIdx.x / (CHUNK / 4), lanes = 128 / (CHUNK / 4);
    const float* w = of.depthwise + chunk * CHUNK + quad * 4;
    window += quad * 4;
    for (int item = lane; item < COLUMNS * ROWS / RUN && lane < lanes; item += lanes) {
        const int column = item % COLUMNS, first = item / COLUMNS * RUN;
        float sums[RUN][4];
        for (int r = 0; r < RUN; r++)
            for (int i = 0; i < 4; i++) sums[r][i] = of.depthwise_bias[chunk * CHUNK + quad * 4 + i];
#if SIDE == 3 && !UPSAMPLE
        float weights[9][4];
        for (int tap = 0; tap < 9; tap++)
            for (int i = 0; i < 4; i++) weights[tap][i] = w[tap * INPUTS + i];
#pragma unroll
        for (int row = 0; row < (RUN - 1) * STRIDE + 3; row++) {
#pragma unroll
            for (int s = 0; s < 3; s++) {
                float numbers[4];
                load(window + ((first * STRIDE + row) * WINDOW_COLUMNS + column * STRIDE + s) * PITCH, numbers);
#pragma unroll
                for (int r = 0; r < RUN; r++) {
                    const int tap = row - r * STRIDE;
                    if (tap < 0 || tap > 2) continue;
                    for (int i = 0; i < 4; i++) sums[r][i] += weights[tap * 3 + s][i] * numbers[i];
                }
            }
        }
#else
        for (int tap = 0; tap < SIDE * SIDE; tap++) {
            float weights[4];
            for (int i = 0; i < 4; i++) weights[i] = w[tap * INPUTS + i];
            const int at = under(x0 + column, tap % SIDE, of.left) - under(x0, 0, of.left);
            for (int r = 0; r < RUN; r++) {
                const int row = under(y0 + first + r, tap / SIDE, of.top) - under(y0, 0, of.top);
                float numbers[4];
                load(window + (row * WINDOW_COLUMNS + at) * PITCH, numbers);
                for (int i = 0; i < 4; i++) sums[r][i] += weights[i] * numbers[i];
            }
        }
#endif
        for (int r = 0; r < RUN; r++) {
            for (int i = 0; i < 4; i++) sums[r][i] = activated(sums[r][i], DEPTHWISE_ACTIVATION);
            store(middle + ((first + r) * COLUMNS + column) * PITCH + quad * 4, sums[r]);
        }
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
        // Two taps of four channels are a group of eight.
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int at = place_of(min(4 * step + 2 * half + pair / 2, TAPS - 1)) + row + lane / 4 * STEP;
            for (int n = 0; n < 2; n++)
                for (int m = 0; m < 2; m++)
                    a[n][2 * half + m] = *reinterpret_cast<const u32*>(
                        window + (at + n * STEP * WIDTH + 8 * m * STEP) * PITCH + pair % 2 * 2);
        }
        const int taps[2] = {};
#else
        // Each lane tells where eight channels of a pixel begin: of the first eight of the terms, or of the second.
        const int taps[2] = {tap_of(2 * step), tap_of(2 * step + 1)};
        int at, channel;
        if (CHUNK % 16 == 0) {
            at = place_of(taps[0]);
            channel = step % max(CHUNK / 16, 1) * 16 + lane / 16 * 8;
        } else {
            at = lane / 16 ? place_of(taps[1]) : place_of(taps[0]);
            channel = (2 * step + lane / 16) % (CHUNK / 8) * 8;
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

KERNEL BLOCKS(128, BLOCK > 64 ? 2 : 4)
conv(const void* x, Strides strides, const int* rows, const float* scale, const float* shift, const float* depthwise,
     const float* depthwise_bias, const Number* w, const float* bias, const float* gain, Number* out, float* moments, int height,
     int width, int out_height, int out_width, int top, int left) {
    SHARED(Number, window);
    const Arguments of = {x,    strides, rows, scale,   shift,  depthwise, depthwise_bias, w,   bias,
                          gain, out,     moments, height, width, out_height, out_width,    top, left};
    const int tiles = (of.out_width + COLUMNS - 1) / COLUMNS, thread = threadIdx.x;
    const int y0 = blockIdx.x / tiles * ROWS, x0 = blockIdx.x % tiles * COLUMNS;
    const i64 image = blockIdx.z;
    float sums[OWN][VALUES] = {};
    for (int chunk = 0; chunk < INPUTS / CHUNK; chunk++) {
        if (chunk) __syncthreads();
        fill(of, chunk, y0, x0, window);
        __syncthreads();
#if DEPTHWISE
        Number* middle = window + WINDOW_ROWS * WINDOW_COLUMNS * PITCH;
        deepen(of, chunk, y0, x0, window, middle);
        __syncthreads();
        multiply(of, chunk, middle, sums);
#else
        multiply(of, chunk, window, sums);
#endif
    }
    Number* y = of.y + image * of.out_height * of.out_width * OUTPUTS;
    const int first = blockIdx.y * BLOCK;
    bool valid[OWN];
    i64 places[OWN];
#pragma unroll
    for (int p = 0; p < OWN; p++) {
#if EXACT
        const int row = y0 + thread / COLUMNS, column = x0 + thread % COLUMNS;
#else
        const int row = y0 + thread / 32 * 2 + p / 2, column = x0 + thread % 32 / 4 + p % 2 * 8;
#endif
        valid[p] = row < of.out_height && column < of.out_width;
        places[p] = (static_cast<i64>(row) * of.out_width + column) * OUTPUTS + first;
#pragma unroll
        for (int v = 0; v < VALUES; v++) {
            const int o = channel_of(v);
            if (!ADD) {
                sums[p][v] = activated(of.bias[first + o] + sums[p][v], ACTIVATION);
            } else if (valid[p] && first + o < OUTPUTS) {
                sums[p][v] = from_number(y[places[p] + o]) + of.gain[image * COLOURS + (first + o) % COLOURS] * sums[p][v];
            }
        }
    }
    if (of.moments) {
        // What lies in shared memory has been read.
        __syncthreads();
        const float count = min(ROWS, of.out_height - y0) * min(COLUMNS, of.out_width - x0);
        float* to = of.moments + (image * gridDim.x + blockIdx.x) * 2 * OUTPUTS + first;
        measure<OWN, VALUES, EXACT ? 1 : 4>(sums, valid, channel_of, BLOCK, count, reinterpret_cast<float*>(window), to, OUTPUTS,
                                            OUTPUTS - first);
    }
#if EXACT
    for (int o = 0; o < BLOCK && first + o < OUTPUTS && valid[0]; o++) y[places[0] + o] = sums[0][o];
#else
    // By way of shared memory, so that neighbours write neighbouring numbers.
    __syncthreads();
    const int pitch = BLOCK + 8;
#pragma unroll
    for (int p = 0; p < OWN; p++) {
        const int pixel = (thread / 32 * 2 + p / 2) * COLUMNS + thread % 32 / 4 + p % 2 * 8;
#pragma unroll
        for (int v = 0; v < VALUES; v += 2) {
            const u32 low = to_number(sums[p][v]), high = to_number(sums[p][v + 1]);
            *reinterpret_cast<u32*>(window + pixel * pitch + channel_of(v)) = low | high << 16;
        }
    }
    __syncthreads();
    const int some = OUTPUTS % 8 ? 4 : 8;
    for (int i = thread; i < ROWS * COLUMNS * (BLOCK / some); i += 128) {
        const int pixel = i / (BLOCK / some), o = i % (BLOCK / some) * some;
        const int row = y0 + pixel / COLUMNS, column = x0 + pixel % COLUMNS;
        if (row >= of.out_height || column >= of.out_width || first + o >= OUTPUTS) continue;
        Number* to = y + (static_cast<i64>(row) * of.out_width + column) * OUTPUTS + first + o;
        if (some == 8) {
            *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(window + pixel * pitch + o);
        } else {
            *reinterpret_cast<uint2*>(to) = *reinterpret_cast<const uint2*>(window + pixel * pitch + o);
        }
    }
#endif
}
