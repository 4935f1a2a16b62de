// Images normalised per channel, for models that were trained so, and the gradient on the way back. Each value is read and written once.
#include "rocl.cuh"

// y = (x - mean) / std, rounded to the storage type.
KERNEL(normalize)(const Real* x, const Real* mean, const Real* deviation, T* y, int64_t rows, int32_t channels) {
    for_each_row_channel(rows, channels, [=](auto at) {
        auto value = load(x, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = (value[k] - mean[at.channel + k]) / deviation[at.channel + k];
        store(y, at, value);
    });
}

// dx = dy / std.
KERNEL(normalize_backward)(const T* dy, const Real* deviation, Real* dx, int64_t rows, int32_t channels) {
    for_each_row_channel(rows, channels, [=](auto at) {
        auto value = load(dy, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = value[k] / deviation[at.channel + k];
        store(dx, at, value);
    });
}
