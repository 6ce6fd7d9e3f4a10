// Colour jitter and gray of each view, in Pillow's arithmetic to the bit: `color/mod.rs` and `color/hue.rs` say how.
//
// A block has a view, [colour][pixels]: it adds up what a contrast moves away from, as the pixels are when their turn comes, and
// then applies the whole chain to each pixel once. Sums are of integers, so that their order does not matter.
struct Factor {
    int kind;  // 0: none, then as `image/color_jitter.rs` lists them.
    float by;
};

// Up to four factors in their order, and whether the view is gray in the end.
struct Chain {
    Factor factors[4];
    int gray;
};

enum { NONE, BRIGHTNESS, CONTRAST, SATURATION, HUE, SHIFT, COLOR_CONTRAST, HSV_SATURATION };

DEVICE int luma(const int (&x)[3]) { return (19595 * x[0] + 38470 * x[1] + 7471 * x[2] + 0x8000) >> 16; }

// Cut off at 0 and 255; NaN is 0.
DEVICE int truncated(float x) { return static_cast<int>(fminf(fmaxf(x, 0.0f), 255.0f)); }

// Each step rounded by itself, as on the CPU, and not fused.
DEVICE int blended(int from, float factor, int x) {
    const float base = static_cast<float>(from);
    return truncated(add(base, times(factor, static_cast<float>(x) - base)));
}

DEVICE void turn_hue(int (&x)[3], float factor) {
    const int steps = static_cast<int>(static_cast<double>(factor) * 255.0) & 255;
    const int most = max(x[0], max(x[1], x[2])), least = min(x[0], min(x[1], x[2]));
    const float range = fmaxf(static_cast<float>(most - least), 1.0f);
    const float saturation = static_cast<float>(most - least) / fmaxf(static_cast<float>(most), 1.0f);
    float away[3];
    for (int c = 0; c < 3; c++) away[c] = static_cast<float>(most - x[c]) / range;
    float sixths = x[1] == most ? static_cast<float>(2.0 + away[0] - away[2]) : static_cast<float>(4.0 + away[1] - away[0]);
    if (x[0] == most) sixths = away[2] - away[1];
    const double whole = sixths / 6.0 + 1.0;
    const float turn = static_cast<float>(whole >= 1.0 ? whole - 1.0 : whole);
    const int hue = most == least ? 0 : static_cast<int>(turn * 255.0) & 255;
    const float s = static_cast<float>(static_cast<int>(saturation * 255.0)) / 255.0f;
    const double place = static_cast<double>((hue + steps) & 255) * 6.0 / 255.0;
    const int part = static_cast<int>(floor(place)) % 6;
    const float rest = static_cast<float>(place - floor(place));
    const double v = most;
    const int p = static_cast<int>(v * (1.0 - s) + 0.5);
    const int q = static_cast<int>(v * (1.0 - static_cast<double>(times(s, rest))) + 0.5);
    const int t = static_cast<int>(v * (1.0 - static_cast<double>(s) * (1.0 - static_cast<double>(rest))) + 0.5);
    const int of_part[6][3] = {{most, t, p}, {q, most, p}, {p, most, t}, {p, q, most}, {t, p, most}, {most, p, q}};
    for (int c = 0; c < 3; c++) x[c] = of_part[part][c];
}

// `means` is what contrasts move away from: the mean luma, or the mean of each colour.
DEVICE void change(int (&x)[3], const Factor& factor, const float (&means)[3]) {
    if (factor.kind == BRIGHTNESS) {
        for (int c = 0; c < 3; c++) x[c] = blended(0, factor.by, x[c]);
    } else if (factor.kind == CONTRAST) {
        for (int c = 0; c < 3; c++) x[c] = blended(static_cast<int>(means[0]), factor.by, x[c]);
    } else if (factor.kind == SATURATION) {
        const int gray = luma(x);
        for (int c = 0; c < 3; c++) x[c] = blended(gray, factor.by, x[c]);
    } else if (factor.kind == HUE) {
        turn_hue(x, factor.by);
    } else if (factor.kind == SHIFT) {
        const float plus = add(times(factor.by, 255.0f), 0.5f);
        for (int c = 0; c < 3; c++) x[c] = truncated(add(static_cast<float>(x[c]), plus));
    } else if (factor.kind == COLOR_CONTRAST) {
        for (int c = 0; c < 3; c++) {
            const float plus = add(times(1.0f - factor.by, means[c]), 0.5f);
            x[c] = truncated(add(times(factor.by, static_cast<float>(x[c])), plus));
        }
    } else if (factor.kind == HSV_SATURATION) {
        const float most = max(x[0], max(x[1], x[2])), least = min(x[0], min(x[1], x[2]));
        const float by = fminf(factor.by, most / fmaxf(most - least, 1.0f));
        for (int c = 0; c < 3; c++) x[c] = truncated(add(most - times(most - static_cast<float>(x[c]), by), 0.5f));
    }
}

// Two blocks at a time.
KERNEL BLOCKS(512, 2) jitter(u8* views, const int* rows, const Chain* chains, int pixels) {
    SHARED(u64, sums);
    const Chain chain = chains[blockIdx.z];
    views += static_cast<i64>(rows[blockIdx.z]) * 3 * pixels;
    int contrast = 0;
    while (contrast < 4 && chain.factors[contrast].kind != CONTRAST && chain.factors[contrast].kind != COLOR_CONTRAST)
        contrast++;
    float means[3] = {};
    if (contrast < 4) {
        const bool of_colours = chain.factors[contrast].kind == COLOR_CONTRAST;
        u64 own[3] = {};
        for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
            int x[3] = {views[i], views[pixels + i], views[2 * pixels + i]};
            for (int k = 0; k < contrast; k++) change(x, chain.factors[k], means);
            if (of_colours) {
                for (int c = 0; c < 3; c++) own[c] += x[c];
            } else {
                own[0] += luma(x);
            }
        }
        for (int c = 0; c < 3; c++) sums[c * blockDim.x + threadIdx.x] = own[c];
        for (int left = blockDim.x / 2; left > 0; left /= 2) {
            __syncthreads();
            if (threadIdx.x < left)
                for (int c = 0; c < 3; c++) sums[c * blockDim.x + threadIdx.x] += sums[c * blockDim.x + threadIdx.x + left];
        }
        __syncthreads();
        for (int c = 0; c < 3; c++) {
            const double mean = static_cast<double>(sums[c * blockDim.x]) / pixels;
            means[c] = of_colours ? static_cast<float>(mean) : static_cast<float>(static_cast<int>(mean + 0.5));
        }
    }
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
        int x[3] = {views[i], views[pixels + i], views[2 * pixels + i]};
        for (int k = 0; k < 4; k++) change(x, chain.factors[k], means);
        if (chain.gray) x[0] = x[1] = x[2] = luma(x);
        for (int c = 0; c < 3; c++) views[c * pixels + i] = static_cast<u8>(x[c]);
    }
}
