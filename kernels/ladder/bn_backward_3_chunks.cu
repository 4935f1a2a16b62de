// Backward of batch normalisation, rung 3: the sums are cut into chunks of rows, a thread for each channel of each. Its gradient is still
// written by rung 2's ladder_bn_apply. See bn_backward.md.
#include "rocl.cuh"

// Sums of g and of g (x - mean) over every chunk, [chunks, channels] each.
KERNEL(ladder_bn_partial_sums)(const Real* dy, const Real* x, const Real* OPTIONAL mask, const Real* mean, Real* sums, Real* products,
                               int64_t rows, int64_t chunk_rows, int64_t chunks, int32_t channels) {
    for_each(chunks * channels, [=](int64_t item) {
        int64_t chunk = item / channels, c = item % channels;
        int64_t begin = chunk * chunk_rows, end = begin + chunk_rows < rows ? begin + chunk_rows : rows;
        Real sum = 0, product = 0;
        for (int64_t row = begin; row < end; ++row) {
            int64_t i = row * channels + c;
            Real g = !mask || mask[i] > 0 ? dy[i] : (Real)0;
            sum += g;
            product += g * (x[i] - mean[c]);
        }
        sums[item] = sum;
        products[item] = product;
    });
}

// Merges the chunks; a thread per channel.
KERNEL(ladder_bn_merge)(const Real* sums, const Real* products, const Real* inv_std, Real* sum_g, Real* sum_gx, Real* INPLACE d_gamma,
                        Real* INPLACE d_beta, int64_t chunks, int32_t channels) {
    for_each(channels, [=](int64_t c) {
        Real sum = 0, product = 0;
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            sum += sums[chunk * channels + c];
            product += products[chunk * channels + c];
        }
        product *= inv_std[c];
        sum_g[c] = sum;
        sum_gx[c] = product;
        d_beta[c] += sum;
        d_gamma[c] += product;
    });
}
