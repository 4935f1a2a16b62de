// Filters made ready for a library, and what it gives back: KRSC in memory.
#include "rocl.cuh"

// turned[c, R-1-r, S-1-s, k] = filter[k, r, s, c]: at stride 1 the gradient of a convolution's input is the convolution of dy with these.
KERNEL(turn_filter)(const T* filter, T* turned, int32_t filters, int32_t height, int32_t width, int32_t channels) {
    int32_t taps = height * width;
    for_each_row_channel((int64_t)channels * taps, filters, [=](auto at) {
        int64_t c = at.row / taps, tap = taps - 1 - (at.row - c * taps);
        auto value = Lanes<at.lanes>{};
        for (int k = 0; k < at.lanes; ++k) value[k] = to_real(filter[((at.channel + k) * (int64_t)taps + tap) * channels + c]);
        store(turned, at, value);
    });
}

// dw += gradient, widened: for a library that writes the filters' gradient in the storage type only.
KERNEL(add_filter_gradient)(const T* gradient, Real* INPLACE dw, int64_t n) {
    for_each_vector(n, [=](auto at) { store(dw, at, load(dw, at) + load(gradient, at)); });
}
