// The arithmetic of one augmented view, byte for byte that of torchvision on 8-bit Pillow images, a pixel at a time.
//
// Pillow mixes float and double, and both truncates and rounds. Where a formula here is shorter than Pillow's, or in float
// instead of double, it gives the same byte for every input; what is in double here is in double there.
#pragma once

namespace augment {

// Height and width of an image.
constexpr int32_t SIDE = 32;
constexpr int32_t PIXELS = SIDE * SIDE;

struct Pixel {
    uint8_t r, g, b;
};

DEVICE inline Pixel grey(int32_t value) { return {(uint8_t)value, (uint8_t)value, (uint8_t)value}; }

// ITU-R 601-2 luma in 16-bit fixed point: Image.convert("L").
DEVICE inline int32_t luminance(Pixel p) { return (19595 * p.r + 38470 * p.g + 7471 * p.b + 32768) >> 16; }

// Image.blend: `factor` 0 gives `degenerate`, 1 gives `value`; the result is clipped and truncated.
DEVICE inline uint8_t blend(int32_t degenerate, int32_t value, float factor) {
    float t = (float)degenerate + factor * (float)(value - degenerate);
    t = t < 255.0f ? t : 255.0f;
    return (uint8_t)(int32_t)(t > 0.0f ? t : 0.0f);
}
DEVICE inline Pixel blend(Pixel degenerate, Pixel p, float factor) {
    return {blend(degenerate.r, p.r, factor), blend(degenerate.g, p.g, factor), blend(degenerate.b, p.b, factor)};
}

DEVICE inline Pixel brightness(Pixel p, float factor) { return blend(grey(0), p, factor); }
DEVICE inline Pixel saturation(Pixel p, float factor) { return blend(grey(luminance(p)), p, factor); }
// `sum` is that of luminance() over the image; its mean is rounded half up.
DEVICE inline Pixel contrast(Pixel p, int32_t sum, float factor) { return blend(grey((sum + PIXELS / 2) / PIXELS), p, factor); }
DEVICE inline Pixel grayscale(Pixel p) { return grey(luminance(p)); }

struct Hsv {
    int32_t h, s, v;
};

// Image.convert("HSV"). Without branches: which channel is the largest is as good as random.
DEVICE inline Hsv to_hsv(Pixel p) {
    int32_t r = p.r, g = p.g, b = p.b;
    int32_t high = r > g ? r : g, low = r < g ? r : g;
    high = high > b ? high : b;
    low = low < b ? low : b;
    // A grey pixel has no hue: any divisor leaves zeros.
    float range = (float)(high > low ? high - low : 1);
    float rc = (float)(high - r) / range, gc = (float)(high - g) / range, bc = (float)(high - b) / range;
    bool red = r == high, green = !red && g == high;
    double third = red ? 0.0 : green ? 2.0 : 4.0;
    double ahead = red ? bc : green ? rc : gc, behind = red ? gc : green ? bc : rc;
    float h = (float)(third + ahead - behind);
    // In [5/6, 2), so that one subtraction, which is exact, is fmod.
    double turned = (double)h / 6.0 + 1.0;
    h = (float)(turned >= 1.0 ? turned - 1.0 : turned);
    float s = (float)(high - low) / (float)(high > 0 ? high : 1);
    return {(int32_t)((double)h * 255.0), (int32_t)((double)s * 255.0), high};
}

// Round half away from zero, of what is not negative.
DEVICE inline int32_t round_half_up(double x) {
    int32_t whole = (int32_t)x;
    return x - (double)whole >= 0.5 ? whole + 1 : whole;
}

// Image.convert("RGB") of an HSV image.
DEVICE inline Pixel from_hsv(Hsv c) {
    int32_t sector = c.h * 6 / 255;
    float f = (float)(c.h * 6 - sector * 255) / 255.0f;
    float fs = (float)c.s / 255.0f;
    double v = (double)c.v;
    int32_t p = round_half_up(v * (1.0 - (double)fs));
    int32_t q = round_half_up(v * (1.0 - (double)(fs * f)));
    int32_t t = round_half_up(v * (1.0 - (double)fs * (1.0 - (double)f)));
    sector = sector == 6 ? 0 : sector;
    int32_t r = sector == 0 || sector == 5 ? c.v : sector == 1 ? q : sector == 4 ? t : p;
    int32_t g = sector == 1 || sector == 2 ? c.v : sector == 3 ? q : sector == 0 ? t : p;
    int32_t b = sector == 3 || sector == 4 ? c.v : sector == 5 ? q : sector == 2 ? t : p;
    return {(uint8_t)r, (uint8_t)g, (uint8_t)b};
}

// `shift` is in 256ths of a turn and wraps.
DEVICE inline Pixel hue(Pixel p, int32_t shift) {
    Hsv c = to_hsv(p);
    c.h = (int32_t)(((uint32_t)c.h + (uint32_t)shift) & 255u);
    return from_hsv(c);
}

// One output coordinate of a bilinear resize from `size` to SIDE >= size: the two source places it mixes, and their weights in
// 22-bit fixed point. Where size is SIDE, the first place alone counts, and is `out`.
struct Tap {
    int32_t first, second;
    int32_t first_weight, second_weight;
};

DEVICE inline Tap resize_tap(int32_t out, int32_t size) {
    // The triangle filter has support 1 around `centre`; Pillow cuts it at the edges and divides by what is left.
    double centre = ((double)out + 0.5) * ((double)size / SIDE);
    int32_t first = (int32_t)(centre - 0.5);  // at least -0.5, which truncates to 0
    bool two = first + 1 < size && first + 1 < (int32_t)(centre + 1.5);
    double first_away = (double)first - centre + 0.5, second_away = first_away + 1.0;
    double first_weight = 1.0 - (first_away < 0.0 ? -first_away : first_away);
    double second_weight = two && second_away < 1.0 ? 1.0 - second_away : 0.0;
    double unit = (double)(1 << 22), sum = first_weight + second_weight;
    int32_t first_fixed = (int32_t)(0.5 + first_weight / sum * unit), second_fixed = (int32_t)(0.5 + second_weight / sum * unit);
    return {first, two ? first + 1 : first, first_fixed, second_fixed};
}

DEVICE inline uint8_t mix(int32_t first, int32_t second, Tap tap) {
    int32_t sum = ((1 << 21) + first * tap.first_weight + second * tap.second_weight) >> 22;
    return (uint8_t)(sum > 255 ? 255 : sum);
}
DEVICE inline Pixel mix(Pixel first, Pixel second, Tap tap) {
    return {mix(first.r, second.r, tap), mix(first.g, second.g, tap), mix(first.b, second.b, tap)};
}

}  // namespace augment
