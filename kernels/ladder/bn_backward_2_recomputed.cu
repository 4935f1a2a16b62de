// Backward of batch normalisation, rung 2: g and xhat are computed where they are used, not stored. See bn_backward.md.
#include "rocl.cuh"

DEVICE inline Real rectified(const Real* dy, const Real* mask, int64_t i) { return !mask || mask[i] > 0 ? dy[i] : (Real)0; }

// The sums of g and g xhat over rows, also added to d_beta and d_gamma; a thread per channel.
KERNEL(ladder_bn_sums)(const Real* dy, const Real* x, const Real* OPTIONAL mask, const Real* mean, const Real* inv_std, Real* sum_g,
                       Real* sum_gx, Real* INPLACE d_gamma, Real* INPLACE d_beta, int64_t rows, int32_t channels) {
    for_each(channels, [=](int64_t c) {
        Real sum = 0, product = 0;
        for (int64_t row = 0; row < rows; ++row) {
            int64_t i = row * channels + c;
            Real g = rectified(dy, mask, i);
            sum += g;
            product += g * ((x[i] - mean[c]) * inv_std[c]);
        }
        sum_g[c] = sum;
        sum_gx[c] = product;
        d_beta[c] += sum;
        d_gamma[c] += product;
    });
}

// dx = gamma / std (g - mean(g) - xhat mean(g xhat)), and g itself for the residual branch.
KERNEL(ladder_bn_apply)(const Real* dy, const Real* x, const Real* OPTIONAL mask, const Real* gamma, const Real* mean,
                        const Real* inv_std, const Real* sum_g, const Real* sum_gx, Real* dx, Real* OPTIONAL d_residual, int64_t rows,
                        int32_t channels) {
    for_each(rows * channels, [=](int64_t i) {
        int64_t c = i % channels;
        Real g = rectified(dy, mask, i), xhat = (x[i] - mean[c]) * inv_std[c];
        if (d_residual) d_residual[i] = g;
        dx[i] = gamma[c] * inv_std[c] * (g - sum_g[c] / (Real)rows - xhat * (sum_gx[c] / (Real)rows));
    });
}
