// Gaussian taps along rows and then along columns, with reflected edges; and Pillow's boxes with repeated edges, bit-identical.
// `rows` lists the indices of the views to blur, [view][colour][height][width].
DEVICE int reflected(int i, int n) {
    i = abs(i);
    return i < n ? i : 2 * (n - 1) - i;
}

// Loads up to four neighbours, the first as the lowest byte.
DEVICE u32 load_bytes(const u8* from, int count) {
    if (count >= 4 && are_aligned(from)) return *reinterpret_cast<const u32*>(from);
    u32 bytes = 0;
    for (int i = 0; i < 4 && i < count; i++) bytes |= static_cast<u32>(from[i]) << 8 * i;
    return bytes;
}

DEVICE void store_bytes(u8* to, int count, u32 bytes) {
    if (count >= 4 && are_aligned(to)) {
        *reinterpret_cast<u32*>(to) = bytes;
    } else {
        for (int i = 0; i < 4 && i < count; i++) to[i] = static_cast<u8>(bytes >> 8 * i);
    }
}

#if defined(PUT_BACK)
// Copies blurred views, [blurred][numbers], back to their place.
KERNEL put_back(u8* views, const u8* blurred, const int* rows, int numbers) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= numbers) return;
    const i64 all = numbers;
    views[rows[blockIdx.z] * all + n] = blurred[blockIdx.z * all + n];
}
#elif defined(WIDE)
// A block handles a tile of TALL x WIDE bytes, multiples of eight, of one colour: the tile with the margin that the taps reach,
// and its rows after the first pass, are in shared memory. A thread computes eight neighbours at a time, with two loads for
// each tap. `halves` is [blurred][HALF], the middle tap first; `blurred` is [blurred][colour][height][width].
#define REACH (HALF - 1)
#define BEFORE ((REACH + 3) / 4 * 4)
#define WORDS ((WIDE + 2 * BEFORE) / 4)
#define ROWS (TALL + 2 * REACH)
// Odd numbers of words, so that threads of neighbouring rows have no bank conflicts.
#define PITCH (4 * (WORDS | 1))
#define FLOATS (WIDE | 1)

// Convolves eight values, STEP apart, starting at `from`.
template <int STEP, class T>
DEVICE void convolve(const T* from, const float* half, float (&sums)[8]) {
    float before[8], after[8];
    for (int i = 0; i < 8; i++) {
        before[i] = after[i] = from[i * STEP];
        sums[i] = half[0] * before[i];
    }
#pragma unroll
    for (int k = 1; k < HALF; k++) {
        for (int i = 7; i > 0; i--) before[i] = before[i - 1];
        for (int i = 0; i < 7; i++) after[i] = after[i + 1];
        before[0] = from[-k * STEP];
        after[7] = from[(7 + k) * STEP];
        for (int i = 0; i < 8; i++) sums[i] = fmaf(half[k], before[i] + after[i], sums[i]);
    }
}

KERNEL tile(const u8* views, u8* blurred, const int* rows, const float* halves, int height, int width) {
    SHARED(u8, bytes);
    float* middle = reinterpret_cast<float*>(bytes + ROWS * PITCH);
    const i64 pixels = static_cast<i64>(height) * width, colour = blockIdx.y, number = blockIdx.z;
    const u8* view = views + (rows[number] * 3 + colour) * pixels;
    const float* half = halves + number * HALF;
    const int across = (width + WIDE - 1) / WIDE, top = blockIdx.x / across * TALL, left = blockIdx.x % across * WIDE;
    const int needed = min(TALL, height - top) + 2 * REACH;
    for (int n = threadIdx.x; n < needed * WORDS; n += blockDim.x) {
        const int y = n / WORDS, x = n % WORDS * 4, column = left - BEFORE + x;
        const u8* row = view + static_cast<i64>(reflected(top - REACH + y, height)) * width;
        u32 word;
        if (column >= 0 && column + 4 <= width) {
            word = load_bytes(row + column, 4);
        } else {
            // Values beyond the reach of the taps are arbitrary.
            word = 0;
            for (int i = 0; i < 4; i++) {
                const int at = min(max(reflected(column + i, width), 0), width - 1);
                word |= static_cast<u32>(row[at]) << 8 * i;
            }
        }
        *reinterpret_cast<u32*>(bytes + y * PITCH + x) = word;
    }
    __syncthreads();
    for (int n = threadIdx.x; n < ROWS * (WIDE / 8); n += blockDim.x) {
        const int y = n % ROWS, x = n / ROWS * 8;
        if (y >= needed) continue;
        float sums[8];
        convolve<1>(bytes + y * PITCH + BEFORE + x, half, sums);
        for (int i = 0; i < 8; i++) middle[y * FLOATS + x + i] = sums[i];
    }
    __syncthreads();
    u8* to = blurred + (number * 3 + colour) * pixels;
    for (int n = threadIdx.x; n < WIDE * (TALL / 8); n += blockDim.x) {
        const int x = n % WIDE, y = n / WIDE * 8;
        if (left + x >= width || top + y >= height) continue;
        float sums[8];
        convolve<FLOATS>(middle + (REACH + y) * FLOATS + x, half, sums);
        for (int i = 0; i < 8 && top + y + i < height; i++)
            to[static_cast<i64>(top + y + i) * width + left + x] = static_cast<u8>(sums[i] + 0.5f);
    }
}
#elif defined(ROW)
// Any number of taps: a thread handles one pixel, blockIdx.y is a row of a colour. Along rows, ROW 1: bytes to floats in
// `room`, [blurred][colour][height][width]; along columns, ROW 0: floats to bytes in `blurred`.
KERNEL taps(const u8* views, float* room, u8* blurred, const int* rows, const float* halves, int height, int width) {
    const i64 pixels = static_cast<i64>(height) * width;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, colour = blockIdx.y / height, y = blockIdx.y - colour * height;
    if (x >= width) return;
    const u8* row = views + (rows[blockIdx.z] * 3 + colour) * pixels + static_cast<i64>(y) * width;
    const i64 plane = (blockIdx.z * static_cast<i64>(3) + colour) * pixels;
    const float* middle = room + plane + x;
    const float* half = halves + static_cast<i64>(blockIdx.z) * HALF;
    const i64 i = static_cast<i64>(y) * width + x;
    float sum = half[0] * (ROW ? row[x] : middle[i - x]);
    for (int k = 1; k < HALF; k++) {
        const i64 before = ROW ? reflected(x - k, width) : reflected(y - k, height);
        const i64 after = ROW ? reflected(x + k, width) : reflected(y + k, height);
        const float pair = ROW ? static_cast<float>(row[before]) + row[after] : middle[before * width] + middle[after * width];
        sum = fmaf(half[k], pair, sum);
    }
    if (ROW) {
        room[plane + i] = sum;
    } else {
        blurred[plane + i] = static_cast<u8>(sum + 0.5f);
    }
}
#else
// Three boxes along rows or, with COLUMNS 1, along columns, in place. A block handles 4 LANES lines of a colour: a word holds
// the bytes of four lines at one position, [place][LANES], and a thread slides along a run of words. The words are in shared
// memory or, where lines are too long for it (OUTSIDE 1), in `room`, twice. `Box` is defined in `cuda.rs`.
DEVICE u32 byte_of(u32 word, int n) { return word >> 8 * n & 255; }

// One box: a running sum of the whole bytes follows the window.
DEVICE void slide(const u32* words, u32* to, int places, const Box& box) {
    const Side<u8>* from = reinterpret_cast<const Side<u8>*>(words) + threadIdx.x % LANES;
    // Odd, so that runs are in different banks.
    const int runs = blockDim.x / LANES, run = (places + runs - 1) / runs | 1;
    const int first = threadIdx.x / LANES * run, end = min(first + run, places);
    const auto four = [&](int place) { return from[min(max(place, 0), places - 1) * LANES]; };
    if (first >= end) return;
    u32 sums[4] = {};
    for (int k = -box.radius; k <= box.radius; k++) {
        const Side<u8> more = four(first + k);
        for (int n = 0; n < 4; n++) sums[n] += more.x[n];
    }
    Side<u8> before = four(first - box.radius - 1);
    for (int i = first; i < end; i++) {
        const Side<u8> after = four(i + box.radius + 1), leaving = four(i - box.radius);
        Side<u8> made;
        for (int n = 0; n < 4; n++) {
            const u32 outer = static_cast<u32>(before.x[n]) + after.x[n];
            made.x[n] = static_cast<u8>((sums[n] * box.whole + outer * box.part + (1 << 23)) >> 24);
            sums[n] += after.x[n];
            sums[n] -= leaving.x[n];
        }
        reinterpret_cast<Side<u8>*>(to)[i * LANES + threadIdx.x % LANES] = made;
        before = leaving;
    }
}

KERNEL box(u8* views, u32* room, const int* rows, const Box* boxes, int height, int width) {
    SHARED(u32, shared);
    const int places = COLUMNS ? height : width, lines = COLUMNS ? width : height;
    const i64 pixels = static_cast<i64>(height) * width, colour = blockIdx.y;
    u8* view = views + (rows[blockIdx.z] * 3 + colour) * pixels;
    const i64 block = (blockIdx.z * static_cast<i64>(3) + colour) * gridDim.x + blockIdx.x;
    u32* one = OUTSIDE ? room + block * 2 * places * LANES : shared;
    u32* other = one + static_cast<i64>(places) * LANES;
    const Box box = boxes[blockIdx.z];
    const int first = blockIdx.x * 4 * LANES;
    // Along columns an item is a word; along rows it is four of them, from four rows, and each thread starts with a different
    // one so that neighbours access different banks.
    const int items = (COLUMNS ? places : (places + 3) / 4) * LANES;
    for (int n = threadIdx.x; n < items; n += blockDim.x) {
        const int lane = n % LANES, line = first + 4 * lane, place = n / LANES * (COLUMNS ? 1 : 4);
#if COLUMNS
        one[n] = load_bytes(view + static_cast<i64>(place) * width + line, lines - line);
#else
        u32 four[4] = {};
        for (int i = 0; i < 4 && line + i < lines; i++)
            four[i] = load_bytes(view + static_cast<i64>(line + i) * width + place, width - place);
        for (int j = 0; j < 4; j++) {
            const int at = (j + n / LANES) % 4;
            u32 word = 0;
            for (int i = 0; i < 4; i++) word |= byte_of(four[i], at) << 8 * i;
            if (place + at < places) one[(place + at) * LANES + lane] = word;
        }
#endif
    }
    __syncthreads();
    slide(one, other, places, box);
    __syncthreads();
    slide(other, one, places, box);
    __syncthreads();
    slide(one, other, places, box);
    __syncthreads();
    for (int n = threadIdx.x; n < items; n += blockDim.x) {
        const int lane = n % LANES, line = first + 4 * lane, place = n / LANES * (COLUMNS ? 1 : 4);
#if COLUMNS
        store_bytes(view + static_cast<i64>(place) * width + line, lines - line, other[n]);
#else
        u32 four[4] = {};
        for (int j = 0; j < 4; j++) {
            const int at = (j + n / LANES) % 4;
            const u32 word = place + at < places ? other[(place + at) * LANES + lane] : 0;
            for (int i = 0; i < 4; i++) four[i] |= byte_of(word, i) << 8 * at;
        }
        for (int i = 0; i < 4 && line + i < lines; i++)
            store_bytes(view + static_cast<i64>(line + i) * width + place, width - place, four[i]);
#endif
    }
}
#endif
