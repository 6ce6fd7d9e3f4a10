// The user's images as maps of three channels and a zero, with a frame of one pixel.
//
// A thread handles one pixel of a map, [image][map_height][map_width][4]; map n is computed from image rows[n]. Inside the
// frame the image is extended by reflection to the map's size. The frame has the given colour if BORDER is that of zeros, else
// it is filled as BORDER states.
KERNEL framed(const void* images, Strides strides, const int* rows, Number* y, int height, int width, int map_height,
              int map_width, float red, float green, float blue) {
    const i64 n = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x, pixels = static_cast<i64>(map_height) * map_width;
    if (n >= pixels) return;
    // Position in the extended image; -1 stands for the colour.
    const int row = inside(static_cast<int>(n / map_width) - 1, map_height - 2, BORDER);
    const int column = inside(static_cast<int>(n % map_width) - 1, map_width - 2, BORDER);
    float pixel[4] = {red, green, blue, 0.0f};
    if (row >= 0 && column >= 0) {
        const i64 at = rows[blockIdx.z] * strides.image + inside(row, height, BORDER_REFLECT) * strides.row +
                       inside(column, width, BORDER_REFLECT) * strides.column;
        for (int c = 0; c < 3; c++) pixel[c] = load_pixel(images, at + c * strides.colour, PIXELS);
    }
    store<4, false>(y + (blockIdx.z * pixels + n) * 4, pixel);
}
