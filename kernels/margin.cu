// The margin loss of logits [rows, classes], with its gradient: what an attack increases until another class wins (Carlini & Wagner 2017, f6 without its
// floor). Reads the logits, writes the gradient and one loss per row.
#include "rocl.cuh"

// row_loss = max over c other than the label of x_c, minus x_label; d_logits = row_weight at the first such c, -row_weight at the label, 0 elsewhere.
// Rows from `valid` on count nothing. A label that is not a class gives NaN and no gradient.
KERNEL(margin_loss)(const Real* logits, const int32_t* labels, int32_t classes, int64_t rows, int64_t valid, Real row_weight,
                    Real* OPTIONAL d_logits, Real* row_loss) {
    for_each(rows, [=](int64_t row) {
        const Real* x = logits + row * classes;
        int32_t label = labels[row];
        bool counts = row < valid && label >= 0 && label < classes;
        int32_t best = label == 0 ? 1 : 0;
        for (int32_t c = best + 1; counts && c < classes; ++c) best = c != label && x[c] > x[best] ? c : best;
        row_loss[row] = counts ? x[best] - x[label] : row < valid ? (Real)NAN : (Real)0;
        if (d_logits) {
            Real* d = d_logits + row * classes;
            for (int32_t c = 0; c < classes; ++c) d[c] = counts ? row_weight * ((Real)(c == best) - (Real)(c == label)) : (Real)0;
        }
    });
}
