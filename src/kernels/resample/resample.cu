// A part of each image, resized, in Pillow's arithmetic to the bit: `resample/mod.rs` says how. Two passes, along rows and along
// columns, of which the sizes decide which is the first; rounded to bytes in between.
//
// CUBIC: Keys' cubic, else a triangle. `crops` is [image][top, left, height, width].
#define BITS 22

// Which inputs make an output, and with which weights: [image][out_width + out_height][2 + longest], first, count, weights.
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

struct Crop {
    int top, left, height, width;
};

// Pillow's choice, from its version 13 on.
DEVICE bool columns_first(const Crop& crop, int out_height, int out_width) {
    const int fewer_rows = crop.height - out_height, fewer_columns = crop.width - out_width;
    return fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
}

DEVICE const int* filter_of(const int* filters, i64 image, int output, int outputs, int longest) {
    return filters + (image * outputs + output) * (2 + longest);
}

DEVICE u8 byte(int sum) { return static_cast<u8>(min(max(sum >> BITS, 0), 255)); }

KERNEL filters(const Crop* crops, int* filters, int out_height, int out_width, int longest) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x, outputs = out_width + out_height;
    if (n >= outputs) return;
    const Crop crop = crops[blockIdx.z];
    const bool across = n < out_width;
    const int from = across ? crop.width : crop.height, to = across ? out_width : out_height;
    const int i = across ? n : n - out_width;
    int* filter = filters + (static_cast<i64>(blockIdx.z) * outputs + n) * (2 + longest);
    const double scale = static_cast<double>(from) / to, widened = fmax(scale, 1.0);
    const double support = widened * (CUBIC ? 2.0 : 1.0), centre = (i + 0.5) * scale;
    const int first = static_cast<int>(fmax(centre - support + 0.5, 0.0));
    const int count = min(static_cast<int>(centre + support + 0.5), from) - first;
    double sum = 0.0;
    for (int k = 0; k < count; k++) sum += at((first + k - centre + 0.5) * (1.0 / widened));
    filter[0] = first;
    filter[1] = count;
    for (int k = 0; k < count; k++)
        filter[2 + k] = static_cast<int>(round(at((first + k - centre + 0.5) * (1.0 / widened)) / sum * (1 << BITS)));
}

// `middle` is [image][colour][ROOM], of it [crop.height][out_width] or, columns first, [out_height][crop.width].
KERNEL first_pass(const u8* images, const int* rows, const Crop* crops, const int* filters, u8* middle, Strides strides,
                  int out_height, int out_width, int room, int longest) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    const Crop crop = crops[blockIdx.z];
    const bool columns = columns_first(crop, out_height, out_width);
    const int width = columns ? crop.width : out_width, height = columns ? out_height : crop.height;
    if (n >= width * height) return;
    const int row = n / width, column = n % width;
    const int* filter = filter_of(filters, blockIdx.z, columns ? out_width + row : column, out_width + out_height, longest);
    i64 from = rows[blockIdx.z] * strides.image + crop.top * strides.row + crop.left * strides.column;
    from += columns ? filter[0] * strides.row + column * strides.column : row * strides.row + filter[0] * strides.column;
    const i64 step = columns ? strides.row : strides.column;
    for (int c = 0; c < 3; c++) {
        int sum = 1 << (BITS - 1);
        for (int k = 0; k < filter[1]; k++) sum += images[from + c * strides.colour + k * step] * filter[2 + k];
        middle[(static_cast<i64>(blockIdx.z) * 3 + c) * room + n] = byte(sum);
    }
}

// `views` is [image][colour][out_height][out_width].
KERNEL second_pass(const u8* middle, const Crop* crops, const int* filters, u8* views, int out_height, int out_width,
                   int room, int longest) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= out_height * out_width) return;
    const Crop crop = crops[blockIdx.z];
    const bool columns = columns_first(crop, out_height, out_width);
    const int row = n / out_width, column = n % out_width;
    const int* filter = filter_of(filters, blockIdx.z, columns ? column : out_width + row, out_width + out_height, longest);
    const int from = columns ? row * crop.width + filter[0] : filter[0] * out_width + column;
    const int step = columns ? 1 : out_width;
    for (int c = 0; c < 3; c++) {
        const i64 plane = static_cast<i64>(blockIdx.z) * 3 + c;
        int sum = 1 << (BITS - 1);
        for (int k = 0; k < filter[1]; k++) sum += middle[plane * room + from + k * step] * filter[2 + k];
        views[plane * out_height * out_width + n] = byte(sum);
    }
}
