// Loads the input of a block of a convolution, 8x16 pixels, into shared memory: a window of a map or of the user's images; for
// a depthwise convolution, also the resulting map of the block's pixels. `cuda/arguments.rs` documents the defines.

// The window of a kernel, CHUNK channels at a time, with PITCH values from one pixel to the next.
template <int TAP_ROWS, int TAP_COLUMNS, int STRIDE_, int CHUNK_, int PITCH_>
struct Window {
    static constexpr int tap_rows = TAP_ROWS, tap_columns = TAP_COLUMNS, taps = tap_rows * tap_columns;
    static constexpr int stride = STRIDE_, chunk = CHUNK_, pitch = PITCH_;
    static constexpr int rows = (BLOCK_ROWS - 1) * stride + tap_rows;
    // With four channels, two taps make a group of eight: rows of taps are padded to even lengths with weights of 0.
    static constexpr int more = chunk == 4 && taps > 1 ? tap_columns % 2 : 0;
    static constexpr int columns = (BLOCK_COLUMNS - 1) * stride + tap_columns + more;
    // Number of steps of 16 terms.
    static constexpr int steps = (tap_rows * (chunk == 4 ? tap_columns + tap_columns % 2 : tap_columns) * chunk + 15) / 16;

    // Position of a tap relative to its pixel.
    DEVICE constexpr int place(int tap) { return tap / tap_columns * columns + tap % tap_columns; }
};

// The window of a kernel after nearest upsampling, in which pixels share inputs.
template <int SIDE, int CHUNK_>
struct SharedWindow {
    static constexpr int side = SIDE, pitch = CHUNK_;
    static constexpr int rows = (BLOCK_ROWS + side - 2) / 2 + 2, columns = (BLOCK_COLUMNS + side - 2) / 2 + 2;
};

// The window that is loaded, and the window that is multiplied, whose pitch avoids bank conflicts. A window that is not
// multiplied, and that neighbouring lanes read contiguously, is not padded.
#if UPSAMPLE
typedef SharedWindow<KERNEL_ROWS, CHUNK> Outer;
typedef Window<1, 1, 1, CHUNK, PITCH> Inner;
#elif DEPTHWISE
typedef Window<KERNEL_ROWS, KERNEL_COLUMNS, STRIDE, CHUNK, CHUNK> Outer;
typedef Window<1, 1, 1, CHUNK, PITCH> Inner;
#else
typedef Window<KERNEL_ROWS, KERNEL_COLUMNS, STRIDE, CHUNK, PITCH> Outer;
typedef Outer Inner;
#endif

// Position of a window in its input: its first pixel, and the number of rows that the block needs.
struct Place {
    int row, column, rows;
};

// The input pixel under tap t of output o.
DEVICE int under(int o, int t, int stride, int before) { return UPSAMPLE ? (o + t - before) >> 1 : o * stride + t - before; }

// The window of the block whose pixels start at y0, x0; its last row is limited by the last row of the map.
DEVICE Place place_of(int y0, int x0, int out_height, int tap_rows, int stride, int top, int left) {
    const int first = under(y0, 0, stride, top), last = under(min(y0 + BLOCK_ROWS, out_height) - 1, tap_rows - 1, stride, top);
    return {first, under(x0, 0, stride, left), last - first + 1};
}

#if FROM_IMAGES || SKIP
// Loads four pixels of a row of the user's images at a time, aligned so that they can be read at once.
template <class W>
DEVICE void fill_images(const ConvolutionArgs& args, Place place, int border, Number* window) {
    typedef typename Kept<PIXELS>::Type Pixel;
    const int groups = (W::columns + 6) / 4;
    const Strides& strides = args.strides;
    const i64 image = args.rows[blockIdx.z] * strides.image;
    const Pixel* pixels = static_cast<const Pixel*>(args.images);
    for (int item = threadIdx.x; item < place.rows * groups; item += THREADS) {
        const int row = inside(place.row + item / groups, args.image_height, border);
        const int column = (place.column & ~3) + item % groups * 4;
        if (column - place.column >= W::columns) continue;
        Pixel side[3][4] = {};
        const i64 at = image + row * strides.row;
        if (row >= 0 && column >= 0 && column + 4 <= args.image_width) {
            load_side(pixels, at + column * strides.column, strides, 4, side);
        } else if (row >= 0) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int from = inside(column + i, args.image_width, border);
                for (int c = 0; c < 3 && from >= 0; c++)
                    side[c][i] = pixels[at + from * strides.column + c * strides.colour];
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int to = column + i - place.column;
            float numbers[4] = {};
            for (int c = 0; c < 3; c++) numbers[c] = load_pixel(side[c], i, PIXELS);
            if (to >= 0 && to < W::columns)
                store<4, false>(window + (item / groups * W::columns + to) * W::pitch, numbers);
        }
    }
}
#endif

#if !FROM_IMAGES
// A thread loads the same channels of pixels far apart, with BATCH loads in flight at a time.
#define VECTOR (CHUNK == 4 ? 4 : 8)
#define VECTORS (CHUNK / VECTOR)
#define LANES (THREADS / VECTORS)
#define SLOTS ((Outer::rows * Outer::columns + LANES - 1) / LANES)
#define BATCHES ((SLOTS + 5) / 6)
#define BATCH ((SLOTS + BATCHES - 1) / BATCHES)

// `x` is the image's map, `scales` and `shifts` are the image's.
DEVICE void fill_map(const Number* x, const float* scales, const float* shifts, int chunk, int height, int width, Place place,
                     Number* window) {
    const unsigned vector = threadIdx.x % VECTORS, lane = threadIdx.x / VECTORS;
    const unsigned pixels = lane < LANES ? place.rows * Outer::columns : 0;
    const int channel = chunk * CHUNK + vector * VECTOR;
    x += channel;
    window += vector * VECTOR;
#if NORMED
    float scale[VECTOR], shift[VECTOR];
    load_floats(scales + channel, scale);
    load_floats(shifts + channel, shift);
#endif
    for (unsigned first = lane; first < pixels; first += BATCH * LANES) {
        Several<VECTOR> numbers[BATCH];
#pragma unroll
        for (int n = 0; n < BATCH; n++) {
            // Beyond the last pixel it repeats the last one, to avoid branches.
            const unsigned pixel = min(first + n * LANES, pixels - 1);
            const int row = inside(place.row + pixel / Outer::columns, height, BORDER);
            const int column = inside(place.column + pixel % Outer::columns, width, BORDER);
#if PHASED
            const int at = (row / 2 * (width / 2) + column / 2) * 4 + row % 2 * 2 + column % 2;
#else
            const int at = row * width + column;
#endif
            if (BORDER == BORDER_ZERO && (row < 0 || column < 0)) {
                numbers[n] = {};
            } else {
                numbers[n] = *reinterpret_cast<const Several<VECTOR>*>(x + static_cast<i64>(at) * INPUTS);
            }
#if NORMED
#if BORDER == BORDER_ZERO
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
            *reinterpret_cast<Several<VECTOR>*>(window + min(first + n * LANES, pixels - 1) * Outer::pitch) = numbers[n];
    }
}
#endif

#if DEPTHWISE
// A thread computes four channels of RUN vertically adjacent pixels, which share rows of the window.
#define QUADS (CHUNK / 4)

// Four values as stored in memory. Fast: sums are float16, like inputs and outputs.
typedef Several<4> Quad;

DEVICE void add_product(Quad& sum, const Quad& a, const Quad& b) {
#if EXACT
    for (int i = 0; i < 4; i++) sum.word[i] = to_bits(from_bits(sum.word[i]) + from_bits(a.word[i]) * from_bits(b.word[i]));
#else
    for (int i = 0; i < 2; i++) sum.word[i] = fused(a.word[i], b.word[i], sum.word[i]);
#endif
}

DEVICE void finish(Quad& quad) {
#if DEPTHWISE_ACTIVATION != ACTIVATION_NONE
    float numbers[4];
    load(reinterpret_cast<const Number*>(&quad), numbers);
    for (int i = 0; i < 4; i++) numbers[i] = activated(numbers[i], DEPTHWISE_ACTIVATION);
    store(reinterpret_cast<Number*>(&quad), numbers);
#elif !EXACT
    for (int i = 0; i < 2; i++) quad.word[i] = bounded(quad.word[i]);
#endif
}

#define RUN (QUADS <= 2 ? 2 : QUADS <= 4 ? 4 : 8)
// `w` and `bias` are those of the chunk; the block's pixels start at y0, x0.
DEVICE void deepen(const Number* w, const float* bias, int y0, int x0, int top, int left, const Number* window, Number* middle) {
    const int quad = threadIdx.x % QUADS, lane = threadIdx.x / QUADS, lanes = THREADS / QUADS;
    w += quad * 4;
    bias += quad * 4;
    window += quad * 4;
    middle += quad * 4;
    for (int item = lane; item < BLOCK_COLUMNS * BLOCK_ROWS / RUN && lane < lanes; item += lanes) {
        const int column = item % BLOCK_COLUMNS, first = item / BLOCK_COLUMNS * RUN;
#if KERNEL_ROWS == 3 && !UPSAMPLE
        const Number* from = window + (first * STRIDE * Outer::columns + column * STRIDE) * Outer::pitch;
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
            for (int s = 0; s < 3; s++) numbers[s] = *reinterpret_cast<const Quad*>(from + (row * Outer::columns + s) * Outer::pitch);
#pragma unroll
            for (int r = 0; r < RUN; r++) {
                const int tap = row - r * STRIDE;
                if (tap < 0 || tap > 2) continue;
                if (tap == 0) sums[r] = start;
                for (int s = 0; s < 3; s++) add_product(sums[r], weights[tap * 3 + s], numbers[s]);
                if (tap < 2) continue;
                finish(sums[r]);
                *reinterpret_cast<Quad*>(middle + ((first + r) * Inner::columns + column) * Inner::pitch) = sums[r];
            }
        }
#else
        for (int r = first; r < first + RUN; r++) {
            float sums[4];
            for (int i = 0; i < 4; i++) sums[i] = bias[i];
            for (int tap = 0; tap < KERNEL_ROWS * KERNEL_COLUMNS; tap++) {
                const int row = under(y0 + r, tap / KERNEL_COLUMNS, STRIDE, top) - under(y0, 0, STRIDE, top);
                const int at = under(x0 + column, tap % KERNEL_COLUMNS, STRIDE, left) - under(x0, 0, STRIDE, left);
                float numbers[4], weights[4];
                load(window + (row * Outer::columns + at) * Outer::pitch, numbers);
                load(w + tap * INPUTS, weights);
                for (int i = 0; i < 4; i++) sums[i] += weights[i] * numbers[i];
            }
            for (int i = 0; i < 4; i++) sums[i] = activated(sums[i], DEPTHWISE_ACTIVATION);
            store(middle + (r * Inner::columns + column) * Inner::pitch, sums);
        }
#endif
    }
}
#endif
