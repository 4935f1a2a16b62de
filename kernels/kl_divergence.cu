// The divergence of Kullback and Leibler between the classes of two rows of logits: what TRADES (Zhang et al. 2019) adds to the
// cross-entropy, and what its attack increases. Reads both, which stay in cache over the passes; writes gradients and one loss per row.
#include "rocl.cuh"

namespace kl_divergence {

// The largest of a row, and the logarithm of the sum of exp(x - largest).
struct Softmax {
    Real most, log_sum;
    DEVICE Real log_probability(Real x) const { return x - most - log_sum; }
};
DEVICE inline Softmax softmax(const Real* x, int32_t classes) {
    Real most = x[0], sum = 0;
    for (int32_t c = 1; c < classes; ++c) most = maximum(x[c], most);
    for (int32_t c = 0; c < classes; ++c) sum += exponential(x[c] - most);
    return {most, logarithm(sum)};
}

}  // namespace kl_divergence

// With p = softmax(reference) and q = softmax(logits): row_loss = sum_c p (log p - log q); d_logits = row_weight (q - p);
// d_reference = row_weight p (log p - log q - row_loss). Rows from `valid` on count nothing.
KERNEL(kl_divergence_loss)(const Real* logits, const Real* reference, int32_t classes, int64_t rows, int64_t valid, Real row_weight,
                           Real* OPTIONAL d_logits, Real* OPTIONAL d_reference, Real* row_loss) {
    for_each(rows, [=](int64_t row) {
        const Real *x = logits + row * classes, *y = reference + row * classes;
        if (row >= valid) {
            for (int32_t c = 0; c < classes; ++c) {
                if (d_logits) d_logits[row * classes + c] = 0;
                if (d_reference) d_reference[row * classes + c] = 0;
            }
            row_loss[row] = 0;
            return;
        }
        auto p = kl_divergence::softmax(y, classes), q = kl_divergence::softmax(x, classes);
        Real loss = 0;
        for (int32_t c = 0; c < classes; ++c) {
            Real log_p = p.log_probability(y[c]);
            loss += exponential(log_p) * (log_p - q.log_probability(x[c]));
        }
        row_loss[row] = loss;
        for (int32_t c = 0; c < classes; ++c) {
            Real log_p = p.log_probability(y[c]), log_q = q.log_probability(x[c]), probability = exponential(log_p);
            if (d_logits) d_logits[row * classes + c] = row_weight * (exponential(log_q) - probability);
            if (d_reference) d_reference[row * classes + c] = row_weight * probability * (log_p - log_q - loss);
        }
    });
}
