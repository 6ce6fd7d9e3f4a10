// Colour jitter and grayscale of each view, bit-identical to Pillow; see `color/mod.rs` and `color/hue.rs`.
//
// A block handles a part of a view, [colour][pixels], and a thread four neighbouring pixels at a time. If a chain has a
// contrast, the first kernel applies the factors before it and sums up the values for its mean; the second applies the rest, or
// the whole of a chain without contrast. Sums are of integers, so that their order does not matter.
//
// Colours are integers of 0 to 255 kept as floats, in which all of the arithmetic below is exact or rounded as on the CPU.
// `Chain` and `Factor` are defined in `cuda.rs`.

// 2^23: a sum with it has no fractional bits, and its lowest byte is that of the other operand.
#define WHOLE 8388608.0f

// The integer part of a value of 0 to 2^22; additions are many times as fast as conversions.
DEVICE float floored(float x) {
#ifdef EMULATED
    return floorf(x);
#else
    return __fadd_rz(x, WHOLE) - WHOLE;
#endif
}

// Converts an integer of 0 to 255.
DEVICE u8 byte(float x) { return static_cast<u8>(to_bits(x + WHOLE)); }

// All intermediate values are below 2^24.
DEVICE float luma(const float (&x)[3]) {
    return floored(times(19595.0f * x[0] + 38470.0f * x[1] + 7471.0f * x[2] + 32768.0f, 1.0f / 65536.0f));
}

// Clamps to 0 and 255 and truncates; NaN becomes 0.
DEVICE float truncated(float x) { return floored(fminf(fmaxf(x, 0.0f), 255.0f)); }

// Each operation is rounded separately, as on the CPU, and not fused.
DEVICE float blended(float from, float factor, float x) { return truncated(add(from, times(factor, x - from))); }

// The integer part of an exact product that is not negative.
DEVICE float whole(float a, float b) {
    const float near = floored(times(a, b));
    return fmaf(a, b, -near) < 0.0f ? near - 1.0f : near;
}

// 1 / x, up to a unit in the last place.
DEVICE float reciprocal(float x) {
#ifdef EMULATED
    return from_bits(to_bits(1.0f / x) + 1);
#else
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

// x / by, correctly rounded, given an approximation of 1 / by: valid for integers of 0 to 255 and for the divisors of the hue,
// as verified exhaustively.
DEVICE float divided(float x, float by, float inverse) {
    const float near = times(x, inverse);
    return fmaf(fmaf(-near, by, x), inverse, near);
}

DEVICE float divided(float x, float by) { return divided(x, by, reciprocal(by)); }

// Rotates the hue by `steps` of 256. The CPU's values are in double precision; that these floats give the same bytes is
// verified exhaustively (`every_colour_turns_as_on_the_cpu`).
DEVICE void turn_hue(float (&x)[3], float steps) {
    const float most = fmaxf(x[0], fmaxf(x[1], x[2])), least = fminf(x[0], fminf(x[1], x[2])), range = most - least;
    const bool red = x[0] == most, green = x[1] == most;
    // Difference of the two colours after the largest one, and the distance of the middle one from the largest, where the
    // smallest is at distance 1.
    const float ahead = (red ? x[1] : green ? x[2] : x[0]) - (red ? x[2] : green ? x[0] : x[1]);
    const float away = divided(range - fabsf(ahead), fmaxf(range, 1.0f)), sign = ahead > 0.0f ? -1.0f : 1.0f;
    float turn = divided(fmaf(sign, away, (red ? 0.0f : green ? 2.0f : 4.0f) - sign), 6.0f, 1.0f / 6.0f);
    turn = turn < 0.0f ? turn + 1.0f : turn;
    float hue = (range == 0.0f ? 0.0f : whole(turn, 255.0f)) + steps;
    hue = hue >= 256.0f ? hue - 256.0f : hue;
    const float part = floored(fmaf(hue, 2.0f / 85.0f, 0.01f)), rest = divided(2.0f * hue - 85.0f * part, 85.0f, 1.0f / 85.0f);
    const float s = divided(whole(divided(range, fmaxf(most, 1.0f)), 255.0f), 255.0f, 1.0f / 255.0f), v = most + 0.5f;
    // Pillow's p and, in odd sectors, q, in even ones t. The sixth sector is the first one again.
    const bool odd = part == 1.0f || part == 3.0f || part == 5.0f, first = part == 0.0f || part == 6.0f;
    const float p = floored(fmaf(-most, s, v)), other = floored(fmaf(-most, times(s, odd ? rest : 1.0f - rest), v));
    x[0] = first || part == 5.0f ? most : part == 1.0f || part == 4.0f ? other : p;
    x[1] = part == 1.0f || part == 2.0f ? most : first || part == 3.0f ? other : p;
    x[2] = part == 3.0f || part == 4.0f ? most : part == 2.0f || part == 5.0f ? other : p;
}

// `means` holds the references of contrasts: the mean luma, or the mean of each colour.
DEVICE void change(float (&pixels)[4][3], const Factor& factor, const float* means) {
    const float by = factor.by;
    if (factor.kind == FACTOR_BRIGHTNESS) {
        for (auto& x : pixels)
            for (int c = 0; c < 3; c++) x[c] = truncated(times(by, x[c]));
    } else if (factor.kind == FACTOR_CONTRAST) {
        for (auto& x : pixels)
            for (int c = 0; c < 3; c++) x[c] = blended(means[0], by, x[c]);
    } else if (factor.kind == FACTOR_SATURATION) {
        for (auto& x : pixels) {
            const float gray = luma(x);
            for (int c = 0; c < 3; c++) x[c] = blended(gray, by, x[c]);
        }
    } else if (factor.kind == FACTOR_HUE) {
        for (auto& x : pixels) turn_hue(x, by);
    } else if (factor.kind == FACTOR_SHIFT) {
        const float plus = add(times(by, 255.0f), 0.5f);
        for (auto& x : pixels)
            for (int c = 0; c < 3; c++) x[c] = truncated(add(x[c], plus));
    } else if (factor.kind == FACTOR_COLOR_CONTRAST) {
        for (int c = 0; c < 3; c++) {
            const float plus = add(times(1.0f - by, means[c]), 0.5f);
            for (auto& x : pixels) x[c] = truncated(add(times(by, x[c]), plus));
        }
    } else if (factor.kind == FACTOR_HSV_SATURATION) {
        for (auto& x : pixels) {
            const float most = fmaxf(x[0], fmaxf(x[1], x[2])), least = fminf(x[0], fminf(x[1], x[2]));
            const float up_to = fminf(by, divided(most, fmaxf(most - least, 1.0f)));
            for (int c = 0; c < 3; c++) x[c] = truncated(add(most - times(most - x[c], up_to), 0.5f));
        }
    } else if (factor.kind == FACTOR_POSTERIZE) {
        for (auto& x : pixels)
            for (int c = 0; c < 3; c++) x[c] = static_cast<int>(x[c]) & static_cast<int>(by);
    } else if (factor.kind == FACTOR_SOLARIZE) {
        for (auto& x : pixels)
            for (int c = 0; c < 3; c++) x[c] = x[c] >= by ? 255.0f - x[c] : x[c];
    }
}

// Index of the factor that needs a mean, or 4.
DEVICE int contrast_of(const Chain& chain) {
    int k = 0;
    while (k < 4 && chain.factors[k].kind != FACTOR_CONTRAST && chain.factors[k].kind != FACTOR_COLOR_CONTRAST) k++;
    return k;
}

// Up to four pixels of a view, starting with pixel `at`.
struct Pixels {
    u8* view;
    int at, pixels;
    float x[4][3];
};

DEVICE void load(Pixels& of) {
    u8 bytes[3][4];
    load_side(of.view, of.at, {0, 0, 1, of.pixels}, of.pixels - of.at, bytes);
    for (int n = 0; n < 4; n++)
        for (int c = 0; c < 3; c++) of.x[n][c] = bytes[c][n];
}

DEVICE void store(const Pixels& of) {
    u8 bytes[3][4];
    for (int n = 0; n < 4; n++)
        for (int c = 0; c < 3; c++) bytes[c][n] = byte(of.x[n][c]);
    store_side(of.view, of.at, {0, 0, 1, of.pixels}, of.pixels - of.at, bytes);
}

DEVICE void change(Pixels& of, const Chain& chain, int from, int to, const float* means) {
#pragma unroll 1
    for (int k = from; k < to; k++) change(of.x, chain.factors[k], means);
}

// Applies the factors before the contrast, and sums lumas, or each colour, over each part of `part` pixels: [chain][part][3].
KERNEL before_contrast(u8* views, const int* rows, const Chain* chains, u32* sums, int pixels, int part) {
    SHARED(u32, own);
    const Chain& chain = chains[blockIdx.z];
    const int contrast = contrast_of(chain), begin = blockIdx.x * part, end = min(begin + part, pixels);
    const bool of_colours = chain.factors[contrast].kind == FACTOR_COLOR_CONTRAST;
    Pixels four = {views + static_cast<i64>(rows[blockIdx.z]) * 3 * pixels, 0, pixels};
    u32 sum[3] = {};
    for (int i = begin + 4 * threadIdx.x; i < end; i += 4 * blockDim.x) {
        four.at = i;
        load(four);
        change(four, chain, 0, contrast, nullptr);
        if (contrast > 0) store(four);
        for (int n = 0; n < 4 && i + n < end; n++) {
            if (of_colours) {
                for (int c = 0; c < 3; c++) sum[c] += byte(four.x[n][c]);
            } else {
                sum[0] += byte(luma(four.x[n]));
            }
        }
    }
    for (int c = 0; c < 3; c++) own[c * blockDim.x + threadIdx.x] = sum[c];
    for (int left = blockDim.x / 2; left > 0; left /= 2) {
        __syncthreads();
        if (threadIdx.x < left)
            for (int c = 0; c < 3; c++) own[c * blockDim.x + threadIdx.x] += own[c * blockDim.x + threadIdx.x + left];
    }
    if (threadIdx.x == 0)
        for (int c = 0; c < 3; c++) sums[(blockIdx.z * gridDim.x + blockIdx.x) * 3 + c] = own[c * blockDim.x];
}

// Applies the rest of a chain, or the whole of one without contrast.
KERNEL jitter(u8* views, const int* rows, const Chain* chains, const u32* sums, int pixels, int part) {
    SHARED(float, means);
    const Chain& chain = chains[blockIdx.z];
    const int contrast = contrast_of(chain), begin = blockIdx.x * part, end = min(begin + part, pixels);
    if (contrast < 4 && threadIdx.x < 3) {
        u64 sum = 0;
        for (int k = 0; k < gridDim.x; k++) sum += sums[(blockIdx.z * gridDim.x + k) * 3 + threadIdx.x];
        const double mean = static_cast<double>(sum) / pixels;
        const bool of_colours = chain.factors[contrast].kind == FACTOR_COLOR_CONTRAST;
        means[threadIdx.x] = of_colours ? static_cast<float>(mean) : static_cast<float>(static_cast<int>(mean + 0.5));
    }
    __syncthreads();
    const int first = contrast < 4 ? contrast : 0;
    Pixels four = {views + static_cast<i64>(rows[blockIdx.z]) * 3 * pixels, 0, pixels};
    for (int i = begin + 4 * threadIdx.x; i < end; i += 4 * blockDim.x) {
        four.at = i;
        load(four);
        change(four, chain, first, 4, means);
        if (chain.gray)
            for (auto& x : four.x) x[0] = x[1] = x[2] = luma(x);
        store(four);
    }
}
