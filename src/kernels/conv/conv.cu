// y = activation(bias + sum over taps and i of w[o, i] x[i]), with any kernel and stride, or after nearest x2 upsampling.
//
// A block computes 8x16 pixels of BLOCK outputs: it holds the window of x that they need in shared memory, CHUNK channels at
// a time. Fast: each of four warps multiplies 2 rows of 16 pixels on the tensor cores; 16 terms of the sum are two groups of 8
// consecutive (tap, channel)s, and `w` lies as the lanes want it: [block][chunk][step][output / 8][lane][4]. Exact: a thread
// has a pixel, and `w` is [block][chunk][tap][channel][output].
//
// INPUTS and OUTPUTS are the maps' channels. ADD: y = y + gain[image][o % COLOURS] (sum), without bias and activation.
#define ROWS 8
#define COLUMNS 16
#define TAPS (SIDE * SIDE)
#if UPSAMPLE
#define WINDOW_ROWS ((ROWS + SIDE - 2) / 2 + 2)
#define WINDOW_COLUMNS ((COLUMNS + SIDE - 2) / 2 + 2)
#else
#define WINDOW_ROWS ((ROWS - 1) * STRIDE + SIDE)
#define WINDOW_COLUMNS ((COLUMNS - 1) * STRIDE + SIDE)
#endif

// Where tap t of output o lies, in pixels of the window that begins at `first`.
DEVICE int under(int o, int t, int before, int first) {
    return (UPSAMPLE ? (o + t - before) >> 1 : o * STRIDE + t - before) - first;
}

KERNEL conv(const Number* x, const Number* w, const float* bias, const float* gain, Number* y, int height, int width,
            int out_height, int out_width, int top, int left) {
    SHARED(Number, window);
    const int tiles = (out_width + COLUMNS - 1) / COLUMNS;
    const int y0 = blockIdx.x / tiles * ROWS, x0 = blockIdx.x % tiles * COLUMNS;
    const int first_row = under(y0, 0, top, 0), first_column = under(x0, 0, left, 0);
    const i64 image = blockIdx.z;
    x += image * height * width * INPUTS;
    y += image * out_height * out_width * OUTPUTS;
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, group = lane / 4, pair = lane % 4;
#if EXACT
    float sums[BLOCK] = {};
    const int row = thread / COLUMNS, column = thread % COLUMNS;
#else
    float sums[2][BLOCK / 8][4] = {};
#endif
    for (int chunk = 0; chunk < INPUTS / CHUNK; chunk++) {
        __syncthreads();
        for (int i = thread; i < WINDOW_ROWS * WINDOW_COLUMNS * (CHUNK / 4); i += 128) {
            const int four = i % (CHUNK / 4), pixel = i / (CHUNK / 4);
            const int from_row = inside(first_row + pixel / WINDOW_COLUMNS, height, BORDER);
            const int from_column = inside(first_column + pixel % WINDOW_COLUMNS, width, BORDER);
            Four numbers = {};
            if (from_row >= 0 && from_column >= 0)
                numbers = *reinterpret_cast<const Four*>(x + (static_cast<i64>(from_row) * width + from_column) * INPUTS +
                                                         chunk * CHUNK + four * 4);
            *reinterpret_cast<Four*>(window + pixel * PITCH + four * 4) = numbers;
        }
        __syncthreads();
#if EXACT
        const float* weights = w + static_cast<i64>(blockIdx.y * (INPUTS / CHUNK) + chunk) * TAPS * CHUNK * BLOCK;
        for (int tap = 0; tap < TAPS; tap++) {
            const int at = under(y0 + row, tap / SIDE, top, first_row) * WINDOW_COLUMNS +
                           under(x0 + column, tap % SIDE, left, first_column);
            for (int channel = 0; channel < CHUNK; channel++) {
                const float number = window[at * PITCH + channel];
                for (int o = 0; o < BLOCK; o++) sums[o] += number * weights[(tap * CHUNK + channel) * BLOCK + o];
            }
        }
#else
        const uint2* weights = reinterpret_cast<const uint2*>(w) +
                               static_cast<i64>(blockIdx.y * (INPUTS / CHUNK) + chunk) * STEPS * (BLOCK / 8) * 32;
        for (int step = 0; step < STEPS; step++) {
            u32 a[2][4];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int eight = 2 * step + half;
                // Beyond the last tap the weights are 0.
                const int tap = min(CHUNK == 4 ? 2 * eight + pair / 2 : eight / (CHUNK / 8), TAPS - 1);
                const int channel = CHUNK == 4 ? pair % 2 * 2 : eight % (CHUNK / 8) * 8 + pair * 2;
                for (int n = 0; n < 2; n++) {
                    const int at = under(y0 + 2 * warp + n, tap / SIDE, top, first_row) * WINDOW_COLUMNS;
                    for (int m = 0; m < 2; m++) {
                        const int column = under(x0 + group + 8 * m, tap % SIDE, left, first_column);
                        a[n][2 * half + m] = *reinterpret_cast<const u32*>(window + (at + column) * PITCH + channel);
                    }
                }
            }
#pragma unroll
            for (int o = 0; o < BLOCK / 8; o++) {
                const uint2 packed = weights[(step * (BLOCK / 8) + o) * 32 + lane];
                const u32 b[2] = {packed.x, packed.y};
                for (int n = 0; n < 2; n++) product(sums[n][o], a[n], b);
            }
        }
#endif
    }
#if EXACT
    if (y0 + row >= out_height || x0 + column >= out_width) return;
    Number* to = y + (static_cast<i64>(y0 + row) * out_width + x0 + column) * OUTPUTS;
    for (int n = 0; n < BLOCK; n++) {
        const int o = blockIdx.y * BLOCK + n;
        if (o >= OUTPUTS) break;
        to[o] = ADD ? to[o] + gain[image * COLOURS + o % COLOURS] * sums[n] : activated(bias[o] + sums[n], ACTIVATION);
    }
#else
#pragma unroll
    for (int n = 0; n < 2; n++) {
#pragma unroll
        for (int m = 0; m < 2; m++) {
            const int row = y0 + 2 * warp + n, column = x0 + group + 8 * m;
            if (row >= out_height || column >= out_width) continue;
            Number* to = y + (static_cast<i64>(row) * out_width + column) * OUTPUTS;
#pragma unroll
            for (int eight = 0; eight < BLOCK / 8; eight++) {
                const int o = blockIdx.y * BLOCK + eight * 8 + pair * 2;
                if (o >= OUTPUTS) continue;
                u32* both = reinterpret_cast<u32*>(to + o);
                u32 packed = ADD ? *both : 0;
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float sum = sums[n][eight][2 * m + i];
                    if (ADD) {
                        sum = from_half(static_cast<u16>(packed >> 16 * i)) + gain[image * COLOURS + (o + i) % COLOURS] * sum;
                    } else {
                        sum = activated(bias[o + i] + sum, ACTIVATION);
                    }
                    packed = (packed & ~(0xffffu << 16 * i)) | static_cast<u32>(to_number(sum)) << 16 * i;
                }
                *both = packed;
            }
        }
    }
#endif
}
