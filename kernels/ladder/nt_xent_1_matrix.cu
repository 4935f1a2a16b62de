// NT-Xent with detached keys, rung 1: the definition, a kernel for each formula, with the matrix of all similarities in memory.
// Rows are of [views * batch, d], view after view; the formulas are those of ../nt_xent.cu. See nt_xent.md.
#include "rocl.cuh"

constexpr Real TINY = (Real)1e-8;

// z^ = z / (|z| + TINY), and the norms.
KERNEL(ladder_nt_normalise)(const Real* z, Real* z_hat, Real* norms, int64_t rows, int32_t d) {
    for_each(rows, [=](int64_t i) {
        Real square = 0;
        for (int32_t k = 0; k < d; ++k) square += z[i * d + k] * z[i * d + k];
        norms[i] = square_root(square);
        for (int32_t k = 0; k < d; ++k) z_hat[i * d + k] = z[i * d + k] / (norms[i] + TINY);
    });
}

// exp(s), 0 on the diagonal.
KERNEL(ladder_nt_exponentials)(const Real* z_hat, Real* exp_s, int64_t rows, int32_t d, Real inverse_temperature) {
    for_each(rows * rows, [=](int64_t item) {
        int64_t i = item / rows, j = item % rows;
        Real cosine = 0;
        for (int32_t k = 0; k < d; ++k) cosine += z_hat[i * d + k] * z_hat[j * d + k];
        exp_s[item] = i == j ? (Real)0 : exponential(cosine * inverse_temperature);
    });
}

// 1 / (S + TINY), the sum of w over positives, and the loss of every row.
KERNEL(ladder_nt_losses)(const Real* exp_s, Real* inverse_sums, Real* pulls, Real* row_loss, int64_t rows, int64_t batch) {
    for_each(rows, [=](int64_t i) {
        Real sum = 0, loss = 0, pull = 0;
        for (int64_t j = 0; j < rows; ++j) sum += exp_s[i * rows + j];
        inverse_sums[i] = 1 / (sum + TINY);
        for (int64_t j = i % batch; j < rows; j += batch) {
            if (j == i) continue;
            Real p = exp_s[i * rows + j] * inverse_sums[i];
            loss -= logarithm(p + TINY);
            pull += p / (p + TINY);
        }
        pulls[i] = pull;
        row_loss[i] = loss;
    });
}

// exp(s) <- G, the gradient by s.
KERNEL(ladder_nt_by_similarity)(Real* INPLACE exp_s, const Real* inverse_sums, const Real* pulls, int64_t rows, int64_t batch) {
    for_each(rows * rows, [=](int64_t item) {
        int64_t i = item / rows, j = item % rows;
        Real p = exp_s[item] * inverse_sums[i];
        bool positive = i != j && i % batch == j % batch;
        exp_s[item] = pulls[i] * p - (positive ? p / (p + TINY) : (Real)0);
    });
}

// G z^ of the rows below gradient_rows.
KERNEL(ladder_nt_by_embedding)(const Real* by_similarity, const Real* z_hat, Real* out, int64_t rows, int64_t gradient_rows, int32_t d) {
    for_each(gradient_rows * d, [=](int64_t item) {
        int64_t i = item / d, k = item % d;
        Real sum = 0;
        for (int64_t j = 0; j < rows; ++j) sum += by_similarity[i * rows + j] * z_hat[j * d + k];
        out[item] = sum;
    });
}

// d_z <- that taken through z^ = z / (|z| + TINY), times scale.
KERNEL(ladder_nt_through_normalisation)(Real* INPLACE d_z, const Real* z, const Real* norms, int64_t gradient_rows, int32_t d, Real scale) {
    for_each(gradient_rows, [=](int64_t i) {
        Real along = 0, inverse = 1 / (norms[i] + TINY);
        for (int32_t k = 0; k < d; ++k) along += d_z[i * d + k] * z[i * d + k];
        Real back = norms[i] > 0 ? along / norms[i] * inverse : (Real)0;
        for (int32_t k = 0; k < d; ++k) d_z[i * d + k] = scale * inverse * (d_z[i * d + k] - z[i * d + k] * back);
    });
}
