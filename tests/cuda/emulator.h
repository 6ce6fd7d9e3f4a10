// Runs one kernel of src/kernels on the CPU, thread by thread, so that its arithmetic and its addresses can be tested where there
// is no GPU:
//
//     c++ -std=c++17 -O2 -shared -fPIC -DEMULATED -Werror=undef -include tests/cuda/emulator.h kernel.cpp -o kernel.so
//
// where kernel.cpp is the kernel's text, as `src/kernels/cuda/mod.rs` writes it, and `EMULATE(name)`. What Rust and a kernel do not
// share by name does not compile. Threads of a block are coroutines that take turns at barriers; a thread that reads shared memory
// before a barrier that it needs finds what an earlier thread left there, or poison.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

// No architecture of NVIDIA's.
#define __CUDA_ARCH__ 0

using std::max;
using std::min;

struct Index {
    unsigned x, y, z;
};
struct uint2 {
    unsigned x, y;
};

static Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

constexpr size_t STACK = 64 << 10;

struct Thread {
    ucontext_t context;
    char* stack;
    bool done;
    int barrier;  // 0: none, 1: the block's, 2: the warp's.
};

static std::vector<Thread> threads;
static ucontext_t scheduler;
static unsigned current;
static unsigned char* shared;
static void (*body)();

inline void wait(int barrier) {
    threads[current].barrier = barrier;
    swapcontext(&threads[current].context, &scheduler);
}

// What the lanes of a warp show each other: two sets, because a lane may be one step ahead of another.
struct Lanes {
    unsigned a[2][32][4], b[2][32][2];
    float x[2][32];
    const unsigned short* row[2][32];
    int turn[32];
};
static std::vector<Lanes> warps;

inline void enter() {
    body();
    threads[current].done = true;
    swapcontext(&threads[current].context, &scheduler);
}

inline void resume(unsigned n) {
    current = n;
    threadIdx = {n, 0, 0};
    threads[n].barrier = 0;
    swapcontext(&scheduler, &threads[n].context);
}

inline void block() {
    unsigned n = blockDim.x;
    for (unsigned i = 0; i < n; i++) {
        Thread& thread = threads[i];
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack;
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = nullptr;
        thread.done = false;
        makecontext(&thread.context, enter, 0);
    }
    for (auto& warp : warps) memset(warp.turn, 0, sizeof warp.turn);
    bool alive = true;
    while (alive) {
        alive = false;
        for (unsigned first = 0; first < n; first += 32) {
            unsigned end = min(first + 32, n);
            bool again = true;
            while (again) {
                unsigned at_warp = 0, running = 0;
                for (unsigned i = first; i < end; i++)
                    if (!threads[i].done) resume(i);
                for (unsigned i = first; i < end; i++) {
                    running += !threads[i].done;
                    at_warp += !threads[i].done && threads[i].barrier == 2;
                }
                if (at_warp && at_warp != end - first) {
                    fprintf(stderr, "lanes of a warp diverge at a product\n");
                    abort();
                }
                again = at_warp > 0;
                alive |= running > 0;
            }
        }
    }
}

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    static void** given;
    static void (*function)(A...);
    given = arguments;
    function = kernel;
    body = [] { function(*static_cast<A*>(given[I])...); };
}

// An argument's kind: an address, `int`, `float`, or the size of a struct.
template <class A>
constexpr unsigned kind() {
    return std::is_pointer<A>::value ? 1 : std::is_same<A, int>::value ? 2 : std::is_same<A, float>::value ? 3 : sizeof(A);
}

// Whether a kernel has arguments of these kinds, after which stands a 0.
template <class... A>
bool takes(void (*)(A...), const unsigned* kinds) {
    const unsigned own[] = {kind<std::remove_const_t<A>>()..., 0};
    for (unsigned i = 0; i <= sizeof...(A); i++)
        if (kinds[i] != own[i]) return false;
    return true;
}

template <class... A>
void launch(void (*kernel)(A...), void** arguments, const unsigned* grid, unsigned block_size, unsigned shared_bytes) {
    call(kernel, arguments, std::index_sequence_for<A...>{});
    blockDim = {block_size, 1, 1};
    gridDim = {grid[0], grid[1], grid[2]};
    threads.resize(block_size);
    warps.resize((block_size + 31) / 32);
    for (auto& thread : threads) thread.stack = static_cast<char*>(malloc(STACK));
    shared = static_cast<unsigned char*>(aligned_alloc(64, (shared_bytes + 127) / 64 * 64));
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                memset(shared, 0xff, shared_bytes);
                block();
            }
    for (auto& thread : threads) free(thread.stack);
    free(shared);
}

inline float half(unsigned bits) {
    _Float16 x;
    unsigned short low = bits;
    memcpy(&x, &low, 2);
    return static_cast<float>(x);
}

}  // namespace emulator

#define KERNEL static void
#define BLOCKS(threads, blocks)
#define DEVICE static inline
#define SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::shared)
#define __align__(n) alignas(n)
#define __syncthreads() emulator::wait(1)
// Runs the kernel, unless it has arguments of other kinds.
#define EMULATE(name)                                                                                                              \
    extern "C" bool launch(void** arguments, const unsigned* kinds, const unsigned* grid, unsigned block, unsigned shared) {       \
        if (!emulator::takes(name, kinds)) return false;                                                                           \
        emulator::launch(name, arguments, grid, block, shared);                                                                    \
        return true;                                                                                                               \
    }

DEVICE float from_half(unsigned short x) { return emulator::half(x); }

DEVICE unsigned short to_half(float x) {
    _Float16 y = static_cast<_Float16>(x);
    unsigned short bits;
    memcpy(&bits, &y, 2);
    return bits;
}

DEVICE void unpack(unsigned both, float& first, float& second) {
    first = emulator::half(both & 0xffff);
    second = emulator::half(both >> 16);
}

DEVICE unsigned fused(unsigned a, unsigned b, unsigned c) {
    const auto one = [&](int shift) {
        return to_half(emulator::half(a >> shift) * emulator::half(b >> shift) + emulator::half(c >> shift));
    };
    return one(0) | static_cast<unsigned>(one(16)) << 16;
}

DEVICE unsigned pack_near(float first, float second) { return to_half(first) | static_cast<unsigned>(to_half(second)) << 16; }

DEVICE unsigned bounded(unsigned both) {
    const auto one = [](unsigned half) { return std::fmin(std::fmax(emulator::half(half), -65504.0f), 65504.0f); };
    return pack_near(one(both & 0xffff), one(both >> 16));
}

DEVICE unsigned pack(float first, float second) { return bounded(pack_near(first, second)); }
DEVICE unsigned pack_positive(float first, float second) { return pack(std::fmax(first, 0.0f), std::fmax(second, 0.0f)); }

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

DEVICE float times(float a, float b) { return a * b; }
DEVICE float add(float a, float b) { return a + b; }

DEVICE float from_bits(unsigned x) {
    float y;
    memcpy(&y, &x, 4);
    return y;
}

DEVICE unsigned to_bits(float x) {
    unsigned y;
    memcpy(&y, &x, 4);
    return y;
}

DEVICE float of_other(float x, int bit) {
    const unsigned lane = threadIdx.x % 32;
    emulator::Lanes& warp = emulator::warps[threadIdx.x / 32];
    const int turn = warp.turn[lane]++ % 2;
    warp.x[turn][lane] = x;
    emulator::wait(2);
    return warp.x[turn][lane ^ bit];
}

// ldmatrix.m8n8.x4 by its definition.
DEVICE void load_matrices(unsigned (&a)[4], const unsigned short* row) {
    const unsigned lane = threadIdx.x % 32;
    emulator::Lanes& warp = emulator::warps[threadIdx.x / 32];
    const int turn = warp.turn[lane]++ % 2;
    if (reinterpret_cast<uintptr_t>(row) % 16) {
        fprintf(stderr, "a row of a matrix is not aligned\n");
        abort();
    }
    warp.row[turn][lane] = row;
    emulator::wait(2);
    for (unsigned i = 0; i < 4; i++) memcpy(&a[i], warp.row[turn][8 * i + lane / 4] + lane % 4 * 2, 4);
}

// mma.m16n8k16 by its definition (PTX ISA, "Matrix fragments for mma.m16n8k16").
DEVICE void product(float& sum0, float& sum1, float& sum2, float& sum3, const unsigned (&a)[4], const unsigned (&b)[2]) {
    float* const sum[4] = {&sum0, &sum1, &sum2, &sum3};
    const unsigned lane = threadIdx.x % 32;
    emulator::Lanes& warp = emulator::warps[threadIdx.x / 32];
    const int turn = warp.turn[lane]++ % 2;
    memcpy(warp.a[turn][lane], a, sizeof a);
    memcpy(warp.b[turn][lane], b, sizeof b);
    emulator::wait(2);
    for (int i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (unsigned k = 0; k < 16; k++) {
            const unsigned other = k % 8 / 2, shift = k % 2 * 16;
            const unsigned left = warp.a[turn][row % 8 * 4 + other][k / 8 * 2 + row / 8] >> shift;
            const unsigned right = warp.b[turn][column * 4 + other][k / 8] >> shift;
            *sum[i] += emulator::half(left & 0xffff) * emulator::half(right & 0xffff);
        }
    }
}
