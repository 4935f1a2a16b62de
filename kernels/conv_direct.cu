// Direct convolution: one output element per item, summed in a fixed order. The portable oracle for the library convolutions, on every
// device; not fast. x is [n, h, w, c], filters [k, r, s, c], y [n, p, q, k], all with equal stride and padding in both directions.
#include "rocl.cuh"

struct Index4 {
    int32_t a, b, c, d;
};
// The indices of a flat position in an array [.., b_size, c_size, d_size].
DEVICE inline Index4 index4(int64_t flat, int32_t b_size, int32_t c_size, int32_t d_size) {
    int32_t d = (int32_t)(flat % d_size);
    flat /= d_size;
    int32_t c = (int32_t)(flat % c_size);
    flat /= c_size;
    return {(int32_t)(flat / b_size), (int32_t)(flat % b_size), c, d};
}
DEVICE inline int64_t flat4(int64_t a, int32_t b, int32_t c, int32_t d, int32_t b_size, int32_t c_size, int32_t d_size) {
    return ((a * b_size + b) * c_size + c) * d_size + d;
}

// y[n, p, q, k] = sum over r, s, c of x[n, p stride + r - pad, q stride + s - pad, c] filter[k, r, s, c].
KERNEL(conv_direct_fprop)(const T* x, const T* filter, T* y, int32_t images, int32_t height, int32_t width, int32_t channels,
                          int32_t filters, int32_t filter_height, int32_t filter_width, int32_t stride, int32_t pad,
                          int32_t out_height, int32_t out_width) {
    for_each((int64_t)images * out_height * out_width * filters, [=](int64_t i) {
        Index4 at = index4(i, out_height, out_width, filters);
        Real sum = 0;
        for (int32_t r = 0; r < filter_height; ++r) {
            for (int32_t s = 0; s < filter_width; ++s) {
                int32_t h = at.b * stride + r - pad, w = at.c * stride + s - pad;
                if (h < 0 || h >= height || w < 0 || w >= width) continue;
                const T* pixel = x + flat4(at.a, h, w, 0, height, width, channels);
                const T* weights = filter + flat4(at.d, r, s, 0, filter_height, filter_width, channels);
                for (int32_t c = 0; c < channels; ++c) sum = multiply_add(to_real(pixel[c]), to_real(weights[c]), sum);
            }
        }
        y[i] = from_real<T>::convert(sum);
    });
}

// dx[n, h, w, c] = sum over r, s, k of dy[n, p, q, k] filter[k, r, s, c] with p stride + r - pad = h, q likewise.
KERNEL(conv_direct_dgrad)(const T* dy, const T* filter, T* dx, int32_t images, int32_t height, int32_t width, int32_t channels,
                          int32_t filters, int32_t filter_height, int32_t filter_width, int32_t stride, int32_t pad,
                          int32_t out_height, int32_t out_width) {
    for_each((int64_t)images * height * width * channels, [=](int64_t i) {
        Index4 at = index4(i, height, width, channels);
        Real sum = 0;
        for (int32_t r = 0; r < filter_height; ++r) {
            for (int32_t s = 0; s < filter_width; ++s) {
                int32_t h = at.b + pad - r, w = at.c + pad - s;
                if (h < 0 || w < 0 || h % stride != 0 || w % stride != 0) continue;
                int32_t p = h / stride, q = w / stride;
                if (p >= out_height || q >= out_width) continue;
                const T* slopes = dy + flat4(at.a, p, q, 0, out_height, out_width, filters);
                for (int32_t k = 0; k < filters; ++k) {
                    Real weight = to_real(filter[flat4(k, r, s, at.d, filter_height, filter_width, channels)]);
                    sum = multiply_add(to_real(slopes[k]), weight, sum);
                }
            }
        }
        dx[i] = from_real<T>::convert(sum);
    });
}

// dw[k, r, s, c] = sum over n, p, q of dy[n, p, q, k] x[n, p stride + r - pad, q stride + s - pad, c], added to what is there if
// `accumulate`. Each image is summed on its own first, which keeps the error of a long sum small.
KERNEL(conv_direct_wgrad)(const T* x, const T* dy, Real* INPLACE dw, int32_t images, int32_t height, int32_t width, int32_t channels,
                          int32_t filters, int32_t filter_height, int32_t filter_width, int32_t stride, int32_t pad,
                          int32_t out_height, int32_t out_width, int32_t accumulate) {
    for_each((int64_t)filters * filter_height * filter_width * channels, [=](int64_t i) {
        Index4 at = index4(i, filter_height, filter_width, channels);
        Real total = 0;
        for (int32_t n = 0; n < images; ++n) {
            Real sum = 0;
            for (int32_t p = 0; p < out_height; ++p) {
                for (int32_t q = 0; q < out_width; ++q) {
                    int32_t h = p * stride + at.b - pad, w = q * stride + at.c - pad;
                    if (h < 0 || h >= height || w < 0 || w >= width) continue;
                    Real slope = to_real(dy[flat4(n, p, q, at.a, out_height, out_width, filters)]);
                    sum = multiply_add(slope, to_real(x[flat4(n, h, w, at.d, height, width, channels)]), sum);
                }
            }
            total += sum;
        }
        dw[i] = accumulate ? dw[i] + total : total;
    });
}
