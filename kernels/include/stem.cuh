// How the stem reads a pixel.
#pragma once

namespace stem {

// Colours of a pixel; and channels of one in a 16-bit type: x_hi, x_lo, and two zeros.
constexpr int COLOURS = 3, CHANNELS = 8;

// The pixel whose colour c is colour(c), normalised by (x - mean) / deviation where these are given.
template <typename F> DEVICE inline Lanes<COLOURS> normalized(const Real* mean, const Real* deviation, F colour) {
    Lanes<COLOURS> out;
    for (int c = 0; c < COLOURS; ++c) out[c] = mean ? (colour(c) - mean[c]) / deviation[c] : colour(c);
    return out;
}

// x_hi | x_lo | 0 0: each colour rounded to the storage type, and what rounding left over.
DEVICE inline Lanes<CHANNELS> parts(const Lanes<COLOURS>& pixel) {
    Lanes<CHANNELS> out = {};
    for (int c = 0; c < COLOURS; ++c) {
        out[c] = to_real(from_real<T>::convert(pixel[c]));
        out[COLOURS + c] = pixel[c] - out[c];
    }
    return out;
}

}  // namespace stem
