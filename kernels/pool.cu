// Global average pooling of [images, pixels, channels] to [images, channels], and its gradient. The large side moves once.
#include "rocl.cuh"

// y = the mean of x over pixels.
KERNEL(average_pool)(const T* x, T* y, int64_t images, int32_t pixels, int32_t channels) {
    for_each_item_channels(images, channels, [=](int64_t image, auto at) {
        auto position = at + image * pixels * channels;
        Lanes<at.lanes> sum = {};
#pragma unroll 4
        for (int32_t pixel = 0; pixel < pixels; ++pixel) sum = sum + load(x, position + (int64_t)pixel * channels);
        store(y, at + image * channels, sum / (Real)pixels);
    });
}

// dx = dy / pixels, but 0 where the rectifier in front of the pool (whose output is `mask`) was off.
KERNEL(average_pool_backward)(const T* dy, const T* OPTIONAL mask, T* dx, int64_t images, int32_t pixels, int32_t channels) {
    for_each_item_channels(images, channels, [=](int64_t image, auto at) {
        auto g = load(dy, at + image * channels) / (Real)pixels;
        auto position = at + image * pixels * channels;
        for (int32_t pixel = 0; pixel < pixels; ++pixel) {
            auto here = position + (int64_t)pixel * channels;
            store(dx, here, mask ? where_positive(load(mask, here), g) : g);
        }
    });
}
