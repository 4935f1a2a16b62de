// Between channels-last (NHWC, KRSC) and channels-first (NCHW, OIHW). Only at the edges: checkpoints and images as files hold them.
#include "rocl.cuh"

// y[item, b, a] = x[item, a, b]: writes in order, reads with a stride.
KERNEL(transpose_items)(const T* x, T* y, int64_t items, int32_t a_size, int32_t b_size) {
    for_each_row_channel(items * b_size, a_size, [=](auto at) {
        int64_t item = at.row / b_size, b = at.row - item * b_size;
        auto value = Lanes<at.lanes>{};
        for (int k = 0; k < at.lanes; ++k) value[k] = to_real(x[(item * a_size + at.channel + k) * b_size + b]);
        store(y, at, value);
    });
}
