// The arithmetic of one augmented view, byte for byte that of torchvision on 8-bit Pillow images.
//
// Every function is about one pixel (an rgb triple of bytes) or one output pixel of the crop, so that a CUDA thread per pixel can run the
// whole chain: the jitter operations in the drawn order, grayscale, flip, and then the crop, which reads its neighbours from the 8-bit
// image the others have left. Only contrast needs more than its pixel: the mean luminance of the image at that point of the chain.
//
// Pillow mixes float and double, and both truncates and rounds. What is written in double here is double there: compile without
// fast-math and without contraction, or bytes will differ.

#pragma once

#ifndef __CUDACC__
#include <cmath>
#include <cstdint>
#define AUGMENT_DEVICE inline
#else
#include <stdint.h>
#define AUGMENT_DEVICE __device__ __forceinline__
#endif

namespace augment {

// Height and width of an image.
constexpr int32_t SIDE = 32;

struct Pixel {
    uint8_t r, g, b;
};

// ITU-R 601-2 luma in 16-bit fixed point: Image.convert("L").
AUGMENT_DEVICE int32_t luminance(Pixel p) {
    return (19595 * p.r + 38470 * p.g + 7471 * p.b + 32768) >> 16;
}

// Image.blend: `factor` 0 gives `degenerate`, 1 gives `value`; the result is clipped and truncated.
AUGMENT_DEVICE uint8_t blend(int32_t degenerate, int32_t value, float factor) {
    float t = (float)degenerate + factor * (float)(value - degenerate);
    return t <= 0.0f ? 0 : t >= 255.0f ? 255 : (uint8_t)t;
}

AUGMENT_DEVICE Pixel blend(Pixel degenerate, Pixel p, float factor) {
    return {blend(degenerate.r, p.r, factor), blend(degenerate.g, p.g, factor), blend(degenerate.b, p.b, factor)};
}

AUGMENT_DEVICE Pixel grey(int32_t value) {
    return {(uint8_t)value, (uint8_t)value, (uint8_t)value};
}

AUGMENT_DEVICE Pixel brightness(Pixel p, float factor) {
    return blend(grey(0), p, factor);
}

// The grey that contrast blends with, from the sum of luminance() over the image.
AUGMENT_DEVICE int32_t mean_luminance(int32_t sum) {
    return (int32_t)((double)sum / (SIDE * SIDE) + 0.5);
}

AUGMENT_DEVICE Pixel contrast(Pixel p, int32_t mean, float factor) {
    return blend(grey(mean), p, factor);
}

AUGMENT_DEVICE Pixel saturation(Pixel p, float factor) {
    return blend(grey(luminance(p)), p, factor);
}

AUGMENT_DEVICE Pixel grayscale(Pixel p) {
    return grey(luminance(p));
}

struct Hsv {
    uint8_t h, s, v;
};

// Image.convert("HSV").
AUGMENT_DEVICE Hsv to_hsv(Pixel p) {
    int32_t high = p.r > p.g ? p.r : p.g;
    high = high > p.b ? high : p.b;
    int32_t low = p.r < p.g ? p.r : p.g;
    low = low < p.b ? low : p.b;
    if (high == low) return {0, 0, (uint8_t)high};
    float range = (float)(high - low);
    float s = range / (float)high;
    float rc = (float)(high - p.r) / range;
    float gc = (float)(high - p.g) / range;
    float bc = (float)(high - p.b) / range;
    float h = p.r == high ? bc - gc : p.g == high ? (float)(2.0 + (double)rc - (double)bc) : (float)(4.0 + (double)gc - (double)rc);
    // In [5/6, 2), so that one subtraction, which is exact, is fmod.
    double turned = (double)h / 6.0 + 1.0;
    h = (float)(turned >= 1.0 ? turned - 1.0 : turned);
    return {(uint8_t)(int32_t)((double)h * 255.0), (uint8_t)(int32_t)((double)s * 255.0), (uint8_t)high};
}

// Round half away from zero, of what is not negative.
AUGMENT_DEVICE uint8_t round_half_up(double x) {
    int32_t whole = (int32_t)x;
    return (uint8_t)(x - (double)whole >= 0.5 ? whole + 1 : whole);
}

// Image.convert("RGB") of an HSV image.
AUGMENT_DEVICE Pixel from_hsv(Hsv c) {
    if (c.s == 0) return grey(c.v);
    double sector = (double)c.h * 6.0 / 255.0;
    int32_t i = (int32_t)sector;
    float f = (float)(sector - (double)i);
    float fs = (float)((double)c.s / 255.0);
    double v = (double)c.v;
    uint8_t p = round_half_up(v * (1.0 - (double)fs));
    uint8_t q = round_half_up(v * (1.0 - (double)(fs * f)));
    uint8_t t = round_half_up(v * (1.0 - (double)fs * (1.0 - (double)f)));
    switch (i % 6) {
    case 0: return {c.v, t, p};
    case 1: return {q, c.v, p};
    case 2: return {p, c.v, t};
    case 3: return {p, q, c.v};
    case 4: return {t, p, c.v};
    default: return {c.v, p, q};
    }
}

// `shift` is in 256ths of a turn and wraps.
AUGMENT_DEVICE Pixel hue(Pixel p, int32_t shift) {
    Hsv c = to_hsv(p);
    c.h = (uint8_t)(c.h + shift);
    return from_hsv(c);
}

// One output coordinate of a bilinear resize from `size` to SIDE >= size: the two source places it mixes and their fixed-point weights.
struct Tap {
    int32_t first, second;
    int32_t first_weight, second_weight;
};

AUGMENT_DEVICE Tap resize_tap(int32_t out, int32_t size) {
    // The triangle filter has support 1 around `centre`; Pillow cuts it at the edges and divides by what is left.
    double centre = ((double)out + 0.5) * ((double)size / SIDE);
    int32_t low = (int32_t)(centre - 1.0 + 0.5);  // at least -0.5, which truncates to 0
    int32_t high = (int32_t)(centre + 1.0 + 0.5);
    high = high < size ? high : size;
    double weights[2] = {0.0, 0.0};
    double sum = 0.0;
    for (int32_t k = 0; k < 2 && low + k < high; ++k) {
        double away = (double)(low + k) - centre + 0.5;
        if (away < 0.0) away = -away;
        weights[k] = away < 1.0 ? 1.0 - away : 0.0;
        sum += weights[k];
    }
    constexpr double ONE = 1 << 22;
    int32_t second = low + 1 < high ? low + 1 : low;
    return {low, second, (int32_t)(0.5 + weights[0] / sum * ONE), (int32_t)(0.5 + weights[1] / sum * ONE)};
}

AUGMENT_DEVICE uint8_t mix(uint8_t first, uint8_t second, Tap tap) {
    int32_t sum = ((1 << 21) + first * tap.first_weight + second * tap.second_weight) >> 22;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

AUGMENT_DEVICE Pixel mix(Pixel first, Pixel second, Tap tap) {
    return {mix(first.r, second.r, tap), mix(first.g, second.g, tap), mix(first.b, second.b, tap)};
}

// One row of the crop, resized in width: what Pillow's horizontal pass leaves at (row, `tap`).
AUGMENT_DEVICE Pixel resize_row(const Pixel* row, Tap tap, int32_t width) {
    return width == SIDE ? row[tap.first] : mix(row[tap.first], row[tap.second], tap);
}

// The pixel (y, x) of the crop of `image` [SIDE, SIDE], resized to SIDE × SIDE.
AUGMENT_DEVICE Pixel resized_crop(const Pixel* image, int32_t y, int32_t x, int32_t top, int32_t left, int32_t height, int32_t width) {
    // A side that is not resized keeps its pixels: its taps are the pixel itself.
    Tap across = width == SIDE ? Tap{x, x, 0, 0} : resize_tap(x, width);
    if (height == SIDE) return resize_row(image + (top + y) * SIDE + left, across, width);
    Tap down = resize_tap(y, height);
    Pixel above = resize_row(image + (top + down.first) * SIDE + left, across, width);
    Pixel below = resize_row(image + (top + down.second) * SIDE + left, across, width);
    return mix(above, below, down);
}

}  // namespace augment
