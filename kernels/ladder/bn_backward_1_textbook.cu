// Backward of batch normalisation, rung 1: the textbook's formulas, a kernel for each, every intermediate in memory. See bn_backward.md.
#include "rocl.cuh"

// g = dy where mask > 0; without a mask a copy.
KERNEL(ladder_bn_rectify)(const Real* dy, const Real* OPTIONAL mask, Real* g, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(dy, at);
        store(g, at, mask ? where_positive(load(mask, at), value) : value);
    });
}

// xhat = (x - mean) / std
KERNEL(ladder_bn_normalise)(const Real* x, const Real* mean, const Real* inv_std, Real* xhat, int64_t rows, int32_t channels) {
    for_each(rows * channels, [=](int64_t i) { xhat[i] = (x[i] - mean[i % channels]) * inv_std[i % channels]; });
}

// sum = the sum of g over rows, also added to d_beta; a thread per channel.
KERNEL(ladder_bn_sum)(const Real* g, Real* sum, Real* INPLACE d_beta, int64_t rows, int32_t channels) {
    for_each(channels, [=](int64_t c) {
        Real total = 0;
        for (int64_t row = 0; row < rows; ++row) total += g[row * channels + c];
        sum[c] = total;
        d_beta[c] += total;
    });
}

// sum = the sum of g xhat over rows, also added to d_gamma; a thread per channel.
KERNEL(ladder_bn_sum_of_products)(const Real* g, const Real* xhat, Real* sum, Real* INPLACE d_gamma, int64_t rows, int32_t channels) {
    for_each(channels, [=](int64_t c) {
        Real total = 0;
        for (int64_t row = 0; row < rows; ++row) total += g[row * channels + c] * xhat[row * channels + c];
        sum[c] = total;
        d_gamma[c] += total;
    });
}

// dx = gamma / std (g - mean(g) - xhat mean(g xhat))
KERNEL(ladder_bn_dx)(const Real* g, const Real* xhat, const Real* gamma, const Real* inv_std, const Real* sum_g, const Real* sum_gx,
                     Real* dx, int64_t rows, int32_t channels) {
    for_each(rows * channels, [=](int64_t i) {
        int64_t c = i % channels;
        dx[i] = gamma[c] * inv_std[c] * (g[i] - sum_g[c] / (Real)rows - xhat[i] * (sum_gx[c] / (Real)rows));
    });
}
