// What the stem reads and gives back in a 16-bit type. An image keeps the precision of its 8-bit pixels and of an attack's small steps as
// two numbers, the pixel rounded and what rounding left over; the filters see both, and the same filters twice: w x_hi + w x_lo = w x.
// Eight channels, x_hi | x_lo | 0 0, are 16 bytes a pixel, as tensor cores like them.
#include "rocl.cuh"
#include "stem.cuh"

using stem::CHANNELS;
using stem::COLOURS;

// y = x_hi | x_lo | 0 0 of the images, normalised by (x - mean) / deviation where these are given: x is [pixels, 3], y [pixels, 8].
KERNEL(stem_images)(const Real* x, const Real* OPTIONAL mean, const Real* OPTIONAL deviation, T* y, int64_t pixels) {
    for_each(pixels, [=](int64_t pixel) {
        auto value = stem::normalized(mean, deviation, [=](int c) { return x[pixel * COLOURS + c]; });
        store(y, At<CHANNELS>{pixel * CHANNELS}, stem::parts(value));
    });
}

// The images' gradient out of that of x_hi (the channels of x_lo would give the same): dx = dy / deviation * unscale, each where given. dy is
// [pixels, 8], dx [pixels, 3]; unscale has a power of two for each image, which undoes `scale_rows`.
KERNEL(stem_images_backward)(const T* dy, const Real* OPTIONAL deviation, const Real* OPTIONAL unscale, Real* dx, int64_t pixels,
                             int64_t pixels_per_image) {
    for_each(pixels, [=](int64_t pixel) {
        auto gradient = load(dy, At<CHANNELS>{pixel * CHANNELS});
        Real factor = unscale ? unscale[pixel / pixels_per_image] : (Real)1;
        for (int c = 0; c < COLOURS; ++c) {
            Real value = deviation ? gradient[c] / deviation[c] : gradient[c];
            dx[pixel * COLOURS + c] = value * factor;
        }
    });
}

// The filters for x_hi, again for x_lo, and zeros: filter is [taps, 3], repeated [taps, 8].
KERNEL(stem_filters)(const T* filter, T* repeated, int64_t taps) {
    for_each(taps, [=](int64_t tap) {
        Lanes<CHANNELS> parts = {};
        for (int c = 0; c < COLOURS; ++c) parts[c] = parts[COLOURS + c] = to_real(filter[tap * COLOURS + c]);
        store(repeated, At<CHANNELS>{tap * CHANNELS}, parts);
    });
}

// gradient += the sum of the gradients by the two copies of a filter: repeated is [taps, 8], gradient [taps, 3].
KERNEL(stem_filters_backward)(const Real* repeated, Real* INPLACE gradient, int64_t taps) {
    for_each(taps, [=](int64_t tap) {
        const Real* parts = repeated + tap * CHANNELS;
        for (int c = 0; c < COLOURS; ++c) gradient[tap * COLOURS + c] += parts[c] + parts[COLOURS + c];
    });
}
