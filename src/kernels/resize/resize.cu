// The user's images as maps of three channels and a zero, resized as `resize/mod.rs` says: antialiased bilinear.
//
// A thread has a pixel. `rows` names the images: map n is made of image rows[n].
#define KEPT 6

struct Window {
    int first, taps;
    double centre, support, total;
};

DEVICE double triangle(const Window& window, int i) {
    return fmax(1.0 - fabs((window.first + i + 0.5 - window.centre) / window.support), 0.0);
}

DEVICE Window window_of(int o, int from, int to) {
    Window window;
    const double scale = static_cast<double>(from) / to;
    window.support = fmax(scale, 1.0);
    window.taps = min(static_cast<int>(ceil(2.0 * window.support)), from);
    window.centre = (o + 0.5) * scale;
    window.first = min(static_cast<int>(fmax(window.centre - window.support + 0.5, 0.0)), from - window.taps);
    window.total = 0.0;
    for (int i = 0; i < window.taps; i++) window.total += triangle(window, i);
    return window;
}

DEVICE float weight_of(const Window& window, int i) { return static_cast<float>(triangle(window, i) / window.total); }

KERNEL resize(const void* images, const int* rows, Number* y, Strides strides, int height, int width, int out_height,
              int out_width) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= out_height * out_width) return;
    const i64 image = rows[blockIdx.z] * strides.image;
    y += (static_cast<i64>(blockIdx.z) * out_height * out_width + n) * 4;
    float sums[4] = {};
    if (height == out_height && width == out_width) {
        const i64 at = image + n / width * strides.row + n % width * strides.column;
        for (int c = 0; c < 3; c++) sums[c] = load_pixel(images, at + c * strides.colour, PIXELS);
        store(y, sums);
        return;
    }
    const Window down = window_of(n / out_width, height, out_height), across = window_of(n % out_width, width, out_width);
    // Those of the first rows are kept; more of them have pictures much larger than the map alone.
    float kept[KEPT];
    for (int i = 0; i < KEPT; i++) kept[i] = i < down.taps ? weight_of(down, i) : 0.0f;
    for (int j = 0; j < across.taps; j++) {
        const float weight = weight_of(across, j);
        if (weight == 0.0f) continue;
        float mixed[3] = {};
        const i64 at = image + (across.first + j) * strides.column + down.first * strides.row;
#pragma unroll
        for (int i = 0; i < KEPT; i++) {
            if (kept[i] == 0.0f) continue;
            for (int c = 0; c < 3; c++)
                mixed[c] += kept[i] * load_pixel(images, at + i * strides.row + c * strides.colour, PIXELS);
        }
        for (int i = KEPT; i < down.taps; i++) {
            const float by = weight_of(down, i);
            for (int c = 0; c < 3; c++) mixed[c] += by * load_pixel(images, at + i * strides.row + c * strides.colour, PIXELS);
        }
        for (int c = 0; c < 3; c++) sums[c] += weight * mixed[c];
    }
    store(y, sums);
}
