// A crop of each image, resized, bit-identical to Pillow; see `resample/mod.rs`. Two passes, along rows and along columns, in
// an order that depends on the sizes; rounded to bytes in between.
//
// CUBIC: Keys' cubic, else a triangle. `crops` is [image]; `Crop` is defined in `cuda.rs`.
#define BITS 22

// Inputs and weights of each output: [image][2 + longest][out_width + out_height], holding first, count, weights. Neighbouring
// threads thus read contiguous values.
DEVICE double at(double x) {
    x = fabs(x);
#if CUBIC
    const double a = -0.5;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
#else
    return fmax(1.0 - x, 0.0);
#endif
}

// Pillow's choice since version 13.
DEVICE bool columns_first(const Crop& crop, int out_height, int out_width) {
    const int fewer_rows = crop.height - out_height, fewer_columns = crop.width - out_width;
    return fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
}

DEVICE u8 byte(int sum) { return static_cast<u8>(min(max(sum >> BITS, 0), 255)); }

KERNEL filters(const Crop* crops, int* filters, int out_height, int out_width, int longest) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x, outputs = out_width + out_height;
    if (n >= outputs) return;
    const Crop crop = crops[blockIdx.z];
    const bool across = n < out_width;
    const int from = across ? crop.width : crop.height, to = across ? out_width : out_height;
    const int i = across ? n : n - out_width;
    int* filter = filters + static_cast<i64>(blockIdx.z) * (2 + longest) * outputs + n;
    const double scale = static_cast<double>(from) / to, widened = fmax(scale, 1.0);
    const double support = widened * (CUBIC ? 2.0 : 1.0), centre = (i + 0.5) * scale;
    const int first = static_cast<int>(fmax(centre - support + 0.5, 0.0));
    const int count = min(static_cast<int>(centre + support + 0.5), from) - first;
    double sum = 0.0;
    for (int k = 0; k < count; k++) sum += at((first + k - centre + 0.5) * (1.0 / widened));
    filter[0] = first;
    filter[outputs] = count;
    for (int k = 0; k < count; k++) {
        const double weight = at((first + k - centre + 0.5) * (1.0 / widened)) / sum;
        filter[(2 + k) * outputs] = static_cast<int>(round(weight * (1 << BITS)));
    }
}

// Bytes of an image, their strides, and how many of a row may be read or written.
template <class T>
struct Place {
    T* bytes;
    Strides strides;
    int width;
};

// Along rows: one column of up to four rows, which share the filter.
DEVICE void across(const Place<const u8>& from, const Place<u8>& to, int row, int column, int height, const int* filter,
                   int outputs) {
    const u8* rows[4];
    int sums[3][4];
    for (int i = 0; i < 4; i++) {
        rows[i] = from.bytes + min(row + i, height - 1) * from.strides.row + filter[0] * from.strides.column;
        for (int c = 0; c < 3; c++) sums[c][i] = 1 << (BITS - 1);
    }
    const int count = filter[outputs];
    for (int k = 0; k < count; k++) {
        const int weight = filter[(2 + k) * outputs];
        for (int i = 0; i < 4; i++) {
            for (int c = 0; c < 3; c++) sums[c][i] += rows[i][c * from.strides.colour] * weight;
            rows[i] += from.strides.column;
        }
    }
    for (int i = 0; i < 4 && row + i < height; i++)
        for (int c = 0; c < 3; c++)
            to.bytes[(row + i) * to.strides.row + column + c * to.strides.colour] = byte(sums[c][i]);
}

// Along columns: up to four columns of a row, which share the filter.
DEVICE void down(const Place<const u8>& from, const Place<u8>& to, int row, int column, const int* filter, int outputs) {
    u8 bytes[3][4];
    int sums[3][4];
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 4; i++) sums[c][i] = 1 << (BITS - 1);
    const int count = filter[outputs];
    i64 at = filter[0] * from.strides.row + column * from.strides.column;
    for (int k = 0; k < count; k++) {
        const int weight = filter[(2 + k) * outputs];
        load_side(from.bytes, at, from.strides, from.width - column, bytes);
        at += from.strides.row;
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < 4; i++) sums[c][i] += bytes[c][i] * weight;
    }
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 4; i++) bytes[c][i] = byte(sums[c][i]);
    store_side(to.bytes, row * to.strides.row + column, to.strides, to.width - column, bytes);
}

// Either pass; the output has `height` rows of `to.width`. A thread loops over many items, so that values that are constant for
// an image are computed less often.
DEVICE void pass(bool columns, const Place<const u8>& from, const Place<u8>& to, int height, const int* filter,
                 int out_height, int out_width) {
    const int outputs = out_width + out_height, step = gridDim.x * blockDim.x;
    const int threads = columns ? (to.width + 3) / 4 : to.width, items = threads * (columns ? height : (height + 3) / 4);
    for (int n = blockIdx.x * blockDim.x + threadIdx.x; n < items; n += step) {
        const int row = n / threads, column = n - row * threads;
        if (columns) {
            down(from, to, row, 4 * column, filter + out_width + row, outputs);
        } else {
            across(from, to, 4 * row, column, height, filter + column, outputs);
        }
    }
}

// `middle` is [image][colour][room], which holds crop.height rows of out_width or, columns first, out_height rows of
// crop.width, with rows padded to multiples of four.
DEVICE int pitch_of(bool columns, const Crop& crop, int out_width) { return ((columns ? crop.width : out_width) + 3) / 4 * 4; }

KERNEL first_pass(const u8* images, const Crop* crops, const int* filters, u8* middle, Strides strides, int out_height,
                  int out_width, int room, int longest) {
    const Crop crop = crops[blockIdx.z];
    const bool columns = columns_first(crop, out_height, out_width);
    const i64 image = blockIdx.z;
    const Strides to = {0, pitch_of(columns, crop, out_width), 1, room};
    strides.row = crop.row;
    pass(columns, {images + crop.begin, strides, crop.width}, {middle + image * 3 * room, to, columns ? crop.width : out_width},
         columns ? out_height : crop.height, filters + image * (2 + longest) * (out_width + out_height), out_height,
         out_width);
}

// `views` is [image][colour][out_height][out_width].
KERNEL second_pass(const u8* middle, const Crop* crops, const int* filters, u8* views, int out_height, int out_width,
                   int room, int longest) {
    const Crop crop = crops[blockIdx.z];
    const bool columns = columns_first(crop, out_height, out_width);
    const i64 image = blockIdx.z, plane = static_cast<i64>(out_height) * out_width;
    const int pitch = pitch_of(columns, crop, out_width);
    pass(!columns, {middle + image * 3 * room, {0, pitch, 1, room}, pitch},
         {views + image * 3 * plane, {0, out_width, 1, plane}, out_width}, out_height,
         filters + image * (2 + longest) * (out_width + out_height), out_height, out_width);
}
