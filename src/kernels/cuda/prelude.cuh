// Beginning of every kernel file: number types, pixels of the user's images, and tensor core products. It includes no header,
// so that NVRTC needs no files. `tests/cuda/emulator.h` replaces the compiler where there is no GPU. It follows the text that
// `mod.rs` writes: defines, the names of pixel types, and `Strides`, the strides of the user's images in values.
//
// A map is [image][row][column][channel] of `Number`: float32 if EXACT is 1, else float16, whose range suffices: stored values
// are inputs or outputs of a norm, or features of VGG-19, and values beyond it become the largest float16. Sums are float32.
// Channels of a map are padded with zeros to 4 or to a multiple of 8, so that four of them can be read at once. A block of a
// convolution, and of moments, has BLOCK_ROWS x BLOCK_COLUMNS pixels.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#ifndef EMULATED
#define KERNEL extern "C" __global__ void
#define BLOCKS(threads, blocks) __launch_bounds__(threads, blocks)
#define DEVICE static __device__ __forceinline__
#define SHARED(type, name)                                     \
    extern __shared__ __align__(16) unsigned char shared_[];   \
    type* name = reinterpret_cast<type*>(shared_)

DEVICE float from_half(u16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}

DEVICE u16 to_half(float x) {
    u16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

// Two adjacent float16 values.
DEVICE void unpack(u32 both, float& first, float& second) {
    asm("{.reg .f16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}" : "=f"(first), "=f"(second) : "r"(both));
}

// Rounds two values to float16; infinite beyond its range.
DEVICE u32 pack_near(float first, float second) {
    u32 both;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %2, %1;" : "=r"(both) : "f"(first), "f"(second));
#else
    asm("{.reg .f16 a, b; cvt.rn.f16.f32 a, %1; cvt.rn.f16.f32 b, %2; mov.b32 %0, {a, b};}"
        : "=r"(both)
        : "f"(first), "f"(second));
#endif
    return both;
}

// Clamps two float16 values to the largest finite one.
DEVICE u32 bounded(u32 both) {
#if __CUDA_ARCH__ >= 800
    asm("{min.f16x2 %0, %0, %1; max.f16x2 %0, %0, %2;}" : "+r"(both) : "r"(0x7bff7bff), "r"(0xfbfffbff));
    return both;
#else
    float first, second;
    unpack(both, first, second);
    return pack_near(fminf(fmaxf(first, -65504.0f), 65504.0f), fminf(fmaxf(second, -65504.0f), 65504.0f));
#endif
}

DEVICE u32 pack(float first, float second) { return bounded(pack_near(first, second)); }

// Like `pack`, with negative values set to 0.
DEVICE u32 pack_positive(float first, float second) {
#if __CUDA_ARCH__ >= 800
    u32 both;
    asm("{cvt.rn.relu.f16x2.f32 %0, %2, %1; min.f16x2 %0, %0, %3;}" : "=r"(both) : "f"(first), "f"(second), "r"(0x7bff7bff));
    return both;
#else
    return pack(fmaxf(first, 0.0f), fmaxf(second, 0.0f));
#endif
}

DEVICE float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

// a b + c of two float16 values each.
DEVICE u32 fused(u32 a, u32 b, u32 c) {
    asm("fma.rn.f16x2 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
    return c;
}

// A product and a sum that are not fused into one operation.
DEVICE float times(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add(float a, float b) { return __fadd_rn(a, b); }

DEVICE float from_bits(u32 x) { return __uint_as_float(x); }
DEVICE u32 to_bits(float x) { return __float_as_uint(x); }

// The value of the lane of the warp whose index differs in one bit.
DEVICE float of_other(float x, int bit) { return __shfl_xor_sync(0xffffffff, x, bit); }

// sum += a b of 16x16 by 16x8 values, float16 with float32 sums; each lane of the warp holds its part of them as in PTX's
// mma.m16n8k16. On Turing it takes two half-sized products.
DEVICE void product(float& sum0, float& sum1, float& sum2, float& sum3, const u32 (&a)[4], const u32 (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sum0), "+f"(sum1), "+f"(sum2), "+f"(sum3)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    for (int half = 0; half < 2; half++)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+f"(sum0), "+f"(sum1), "+f"(sum2), "+f"(sum3)
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
#endif
}

// `a` of a product, from shared memory: lanes 0 to 15 point to the first eight values of each row, the others to the second
// eight.
DEVICE void load_matrices(u32 (&a)[4], const u16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
        : "r"(static_cast<u32>(__cvta_generic_to_shared(row)))
        : "memory");
}
#endif

#ifndef EXACT
#define EXACT 0
#endif
#if EXACT
typedef float Number;
#else
typedef u16 Number;
#endif

// Loads floats from an address that is a multiple of 16 bytes.
template <int N>
DEVICE void load_floats(const float* from, float (&to)[N]) {
    struct __align__(16) Floats {
        float x[4];
    };
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        const Floats four = *reinterpret_cast<const Floats*>(from + i);
        for (int k = 0; k < 4; k++) to[i + k] = four.x[k];
    }
}

// N contiguous values, 2, 4 or 8, read and written at once.
template <int N>
struct __align__(N * sizeof(Number) < 16 ? N * sizeof(Number) : 16) Several {
    u32 word[N * sizeof(Number) / 4];
};

template <int N>
DEVICE void load(const Number* from, float (&to)[N]) {
    const Several<N> numbers = *reinterpret_cast<const Several<N>*>(from);
#pragma unroll
    for (int i = 0; i < N; i += 2) {
#if EXACT
        to[i] = from_bits(numbers.word[i]), to[i + 1] = from_bits(numbers.word[i + 1]);
#else
        unpack(numbers.word[i / 2], to[i], to[i + 1]);
#endif
    }
}

// FAR: values may exceed the range of float16.
template <int N, bool FAR = true>
DEVICE void store(Number* to, const float (&from)[N]) {
    Several<N> numbers;
#pragma unroll
    for (int i = 0; i < N; i += 2) {
#if EXACT
        numbers.word[i] = to_bits(from[i]), numbers.word[i + 1] = to_bits(from[i + 1]);
#else
        numbers.word[i / 2] = FAR ? pack(from[i], from[i + 1]) : pack_near(from[i], from[i + 1]);
#endif
    }
    *reinterpret_cast<Several<N>*>(to) = numbers;
}

// Sums over the threads that have the same position in a group of `group`; `shared` has room for N values of each thread.
template <int N>
DEVICE void over_lanes(float (&x)[N], int group, float* shared) {
    __syncthreads();
    for (int n = 0; n < N; n++) {
        shared[n * blockDim.x + threadIdx.x] = x[n];
        x[n] = 0.0f;
    }
    __syncthreads();
    for (int at = threadIdx.x % group, end = blockDim.x / group * group; at < end; at += group)
        for (int n = 0; n < N; n++) x[n] += shared[n * blockDim.x + at];
}

// Sums each of N values over the lanes of a warp that differ in bits from FIRST to BIT. The sums end up spread over those
// lanes: each lane has `spread` of them, starting with sum `at`.
template <int N, int BIT, int FIRST>
DEVICE void spread_sums(float* x, int& at) {
    if constexpr (BIT >= FIRST) {
        constexpr int keeps = N % 2 ? N : N / 2;
        const bool upper = N % 2 == 0 && threadIdx.x & BIT;
        at += upper ? keeps : 0;
#pragma unroll
        for (int i = 0; i < keeps; i++) {
            // With an odd count, both lanes keep the middle value.
            const float own = upper ? x[i + N - keeps] : x[i], given = upper ? x[i] : x[i + N - keeps];
            x[i] = own + of_other(given, BIT);
        }
        spread_sums<keeps, BIT / 2, FIRST>(x, at);
    }
}

DEVICE constexpr int spread(int n, int first) {
    for (int bit = 16; bit >= first; bit /= 2) n = n % 2 ? n : n / 2;
    return n;
}

// Mean and sum of squared deviations of each of `channels` channels over the `count` valid pixels of a block, written to `to`
// and to `to + pitch` for channels below `limit`. A thread has VALUES values of OWN pixels, zeros where they are not valid;
// value v belongs to channel `channel_of(v)`, and lanes that differ below bit FIRST have other channels. `shared` has room for
// two values for each channel of each warp, and one more for each channel. All threads of the block, one for each of its
// pixels, must call this.
//
// Exact: sums of differences from the block's first pixel, because a mean may be large compared to the deviations.
template <int OWN, int VALUES, int FIRST, class Channel>
DEVICE void measure(const float (&x)[OWN][VALUES], bool valid, Channel channel_of, int channels, float count, float* shared,
                    float* to, int pitch, int limit) {
    const int warp = threadIdx.x / 32, warps = BLOCK_ROWS * BLOCK_COLUMNS / 32;
    float* start = shared + 2 * warps * channels;
#if EXACT
    if (threadIdx.x == 0)
        for (int v = 0; v < VALUES; v++) start[v] = x[0][v];
    __syncthreads();
#endif
    float sums[2 * VALUES];
#pragma unroll
    for (int v = 0; v < VALUES; v++) {
        sums[v] = sums[VALUES + v] = 0.0f;
#pragma unroll
        for (int p = 0; p < OWN; p++) {
            const float off = EXACT ? valid ? x[p][v] - start[v] : 0.0f : x[p][v];
            sums[v] += off;
            sums[VALUES + v] += off * off;
        }
    }
    int first = 0;
    spread_sums<2 * VALUES, 16, FIRST>(sums, first);
#pragma unroll
    for (int i = 0; i < spread(2 * VALUES, FIRST); i++) {
        const int which = first + i >= VALUES, value = first + i - which * VALUES;
        shared[(2 * warp + which) * channels + channel_of(value)] = sums[i];
    }
    __syncthreads();
    for (int c = threadIdx.x; c < channels && c < limit; c += blockDim.x) {
        float sum = 0.0f, square = 0.0f;
        for (int w = 0; w < warps; w++) {
            sum += shared[2 * w * channels + c];
            square += shared[(2 * w + 1) * channels + c];
        }
        const float mean = sum / count;
        to[c] = EXACT ? start[c] + mean : mean;
        to[pitch + c] = fmaxf(square - sum * mean, 0.0f);
    }
}

// Pixels of the user's images: 0 to 255 as bytes, 0 to 1 as the other types.
DEVICE float load_pixel(const void* pixels, i64 at, int type) {
    if (type == PIXEL_UINT8) return static_cast<const u8*>(pixels)[at] * (1.0f / 255.0f);
    if (type == PIXEL_FLOAT16) return from_half(static_cast<const u16*>(pixels)[at]);
    if (type == PIXEL_BFLOAT16) return from_bits(static_cast<u32>(static_cast<const u16*>(pixels)[at]) << 16);
    return static_cast<const float*>(pixels)[at];
}

// Rounds to nearest, ties to even.
DEVICE u16 to_bfloat(float x) {
#if __CUDA_ARCH__ >= 800
    u16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
#else
    const u32 bits = to_bits(x);
    // NaN stays NaN.
    return static_cast<u16>((x != x ? 0x7fc00000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#endif
}

// Bytes are rounded as on the CPU: halves up, NaN to 0.
DEVICE void store_pixel(void* pixels, i64 at, int type, float x) {
    if (type == PIXEL_UINT8) {
        static_cast<u8*>(pixels)[at] = static_cast<u8>(fminf(fmaxf(x * 255.0f + 0.5f, 0.0f), 255.0f));
    } else if (type == PIXEL_FLOAT16) {
        static_cast<u16*>(pixels)[at] = to_half(x);
    } else if (type == PIXEL_BFLOAT16) {
        static_cast<u16*>(pixels)[at] = to_bfloat(x);
    } else {
        static_cast<float*>(pixels)[at] = x;
    }
}

// Four pixels of the user's images, accessed at once where they are contiguous.
template <class T>
struct __align__(4 * sizeof(T)) Side {
    T x[4];
};

template <class T>
DEVICE bool are_aligned(const T* at) {
    return reinterpret_cast<u64>(at) % sizeof(Side<T>) == 0;
}

// Whether four pixels are one word of each colour (`are_planar`), and whether they are three words of all colours.
template <class T>
DEVICE bool are_planar(const T* at, const Strides& strides, int count) {
    return count >= 4 && strides.column == 1 && strides.colour % 4 == 0 && are_aligned(at);
}

template <class T>
DEVICE bool are_packed(const T* at, const Strides& strides, int count) {
    return count >= 4 && strides.colour == 1 && strides.column == 3 && are_aligned(at);
}

// Loads up to `count` pixels of a row, starting with value `at`, unconverted, colour by colour.
template <class T>
DEVICE void load_side(const T* pixels, i64 at, const Strides& strides, int count, T (&to)[3][4]) {
    if (are_planar(pixels + at, strides, count)) {
        for (int c = 0; c < 3; c++) {
            const Side<T> side = *reinterpret_cast<const Side<T>*>(pixels + at + c * strides.colour);
            for (int i = 0; i < 4; i++) to[c][i] = side.x[i];
        }
    } else if (are_packed(pixels + at, strides, count)) {
        for (int n = 0; n < 3; n++) {
            const Side<T> side = *reinterpret_cast<const Side<T>*>(pixels + at + 4 * n);
            for (int i = 0; i < 4; i++) to[(4 * n + i) % 3][(4 * n + i) / 3] = side.x[i];
        }
    } else {
        for (int i = 0; i < 4; i++)
            for (int c = 0; c < 3; c++) to[c][i] = i < count ? pixels[at + i * strides.column + c * strides.colour] : T();
    }
}

template <class T>
DEVICE void store_side(T* pixels, i64 at, const Strides& strides, int count, const T (&from)[3][4]) {
    if (are_planar(pixels + at, strides, count)) {
        for (int c = 0; c < 3; c++) {
            Side<T> side;
            for (int i = 0; i < 4; i++) side.x[i] = from[c][i];
            *reinterpret_cast<Side<T>*>(pixels + at + c * strides.colour) = side;
        }
    } else if (are_packed(pixels + at, strides, count)) {
        for (int n = 0; n < 3; n++) {
            Side<T> side;
            for (int i = 0; i < 4; i++) side.x[i] = from[(4 * n + i) % 3][(4 * n + i) / 3];
            *reinterpret_cast<Side<T>*>(pixels + at + 4 * n) = side;
        }
    } else {
        for (int i = 0; i < 4 && i < count; i++)
            for (int c = 0; c < 3; c++) pixels[at + i * strides.column + c * strides.colour] = from[c][i];
    }
}

// The storage type of a pixel type.
template <int TYPE>
struct Kept {
    typedef u16 Type;
};
template <>
struct Kept<PIXEL_UINT8> {
    typedef u8 Type;
};
template <>
struct Kept<PIXEL_FLOAT32> {
    typedef float Type;
};

// Loads up to `count` pixels of a row, converted to [0, 1].
template <int TYPE>
DEVICE void load_four(const void* pixels, i64 at, const Strides& strides, int count, float (&to)[3][4]) {
    typename Kept<TYPE>::Type kept[3][4];
    load_side(static_cast<const typename Kept<TYPE>::Type*>(pixels), at, strides, count, kept);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 4; i++) to[c][i] = load_pixel(kept[c], i, TYPE);
}

template <int TYPE>
DEVICE void store_four(void* pixels, i64 at, const Strides& strides, int count, const float (&from)[3][4]) {
    typename Kept<TYPE>::Type kept[3][4];
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 4; i++) store_pixel(kept[c], i, TYPE, from[c][i]);
    store_side(static_cast<typename Kept<TYPE>::Type*>(pixels), at, strides, count, kept);
}
