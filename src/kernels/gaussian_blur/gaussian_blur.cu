// A Gaussian's taps along rows and then along columns, with reflected edges; and Pillow's boxes, edges repeated, to the bit.
//
// A thread has a pixel; blockIdx.y is a row of a colour. `rows` names the views that are blurred, [view][colour][height][width].
DEVICE int reflected(int i, int n) {
    i = abs(i);
    return i < n ? i : 2 * (n - 1) - i;
}

#if defined(ROW)
// Along rows, ROW 1: bytes to floats in `room`, [blurred][colour][height][width]; along columns, ROW 0: back to bytes.
// `halves` is [blurred][HALF], the middle first.
KERNEL taps(u8* views, float* room, const int* rows, const float* halves, int height, int width) {
    const i64 pixels = static_cast<i64>(height) * width;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, colour = blockIdx.y / height, y = blockIdx.y - colour * height;
    if (x >= width) return;
    u8* view = views + (rows[blockIdx.z] * 3 + colour) * pixels;
    float* blurred = room + (blockIdx.z * static_cast<i64>(3) + colour) * pixels;
    const float* half = halves + static_cast<i64>(blockIdx.z) * HALF;
    const int i = y * width + x;
    if (ROW) {
        float sum = half[0] * view[i];
        for (int k = 1; k < HALF; k++) {
            const u8 *row = view + y * width, before = row[reflected(x - k, width)], after = row[reflected(x + k, width)];
            const float pair = static_cast<float>(before) + after;
            sum = fmaf(half[k], pair, sum);
        }
        blurred[i] = sum;
    } else {
        float sum = half[0] * blurred[i];
        for (int k = 1; k < HALF; k++) {
            const float pair = blurred[reflected(y - k, height) * width + x] + blurred[reflected(y + k, height) * width + x];
            sum = fmaf(half[k], pair, sum);
        }
        view[i] = static_cast<u8>(sum + 0.5f);
    }
}
#else
struct Box {
    int radius;
    u32 whole, part;
};

// One box along rows, or along columns; `back`: from `room` to the views.
KERNEL box(u8* views, u8* room, const int* rows, const Box* boxes, int height, int width, int columns, int back) {
    const i64 pixels = static_cast<i64>(height) * width;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, colour = blockIdx.y / height, y = blockIdx.y - colour * height;
    if (x >= width) return;
    u8* view = views + (rows[blockIdx.z] * 3 + colour) * pixels;
    u8* other = room + (blockIdx.z * static_cast<i64>(3) + colour) * pixels;
    const u8* from = back ? other : view;
    u8* to = back ? view : other;
    const Box box = boxes[blockIdx.z];
    const int i = y * width + x, at = columns ? y : x, most = (columns ? height : width) - 1;
    const int step = columns ? width : 1, start = columns ? x : y * width;
    if (box.radius < 0) {
        to[i] = from[i];
        return;
    }
    u32 inner = 0;
    for (int k = -box.radius; k <= box.radius; k++) inner += from[start + min(max(at + k, 0), most) * step];
    const u32 outer = from[start + max(at - box.radius - 1, 0) * step] + from[start + min(at + box.radius + 1, most) * step];
    to[i] = static_cast<u8>((inner * box.whole + outer * box.part + (1 << 23)) >> 24);
}
#endif
