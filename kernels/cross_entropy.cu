// Softmax cross-entropy of logits [rows, classes], with its gradient. Reads the logits, which are few and stay in cache over the
// passes; writes the gradient and one loss per row.
#include "rocl.cuh"

// row_loss = log(sum_c exp(x_c)) - x_label, the maximum taken out before exp; d_logits = row_weight * (softmax - one_hot).
// Rows from `valid` on count nothing. A label that is not a class gives NaN. `correct` is 1 where the first largest logit is the label's.
KERNEL(cross_entropy)(const Real* logits, const int32_t* labels, int32_t classes, int64_t rows, int64_t valid, Real row_weight,
                      Real* OPTIONAL d_logits, Real* row_loss, Real* OPTIONAL correct) {
    for_each(rows, [=](int64_t row) {
        const Real* x = logits + row * classes;
        Real* d = d_logits ? d_logits + row * classes : nullptr;
        if (row >= valid) {
            if (d) {
                for (int32_t c = 0; c < classes; ++c) d[c] = 0;
            }
            if (correct) correct[row] = 0;
            row_loss[row] = 0;
            return;
        }
        int32_t best = 0;
        for (int32_t c = 1; c < classes; ++c) best = x[c] > x[best] ? c : best;
        Real sum = 0;
        for (int32_t c = 0; c < classes; ++c) sum += exponential(x[c] - x[best]);
        int32_t label = labels[row];
        bool known = label >= 0 && label < classes;
        row_loss[row] = known ? logarithm(sum) - (x[label] - x[best]) : (Real)NAN;
        if (correct) correct[row] = (Real)(best == label);
        if (d) {
            for (int32_t c = 0; c < classes; ++c) d[c] = row_weight * (exponential(x[c] - x[best]) / sum - (Real)(c == label));
        }
    });
}
