// What surrounds a convolution and a linear layer, where the library call does not fuse it: bias, residual and rectifier, their gradient,
// and the gradient of a bias. Each activation is read once and written once.
#include "rocl.cuh"

// x <- x + bias + residual, rectified; [rows, channels], bias over channels.
KERNEL(bias_activation)(T* INPLACE x, const T* OPTIONAL bias, const T* OPTIONAL residual, int64_t rows, int32_t channels, int32_t relu) {
    Real floor = rectifier_floor(relu);
    for_each_channel_rows(
        rows, channels, [=](auto at) { return bias ? load(bias, at) : Lanes<at.lanes>{}; },
        [=](auto at, const auto& shift) {
            auto value = load(x, at) + shift;
            if (residual) value = value + load(residual, at);
            store(x, at, at_least(value, floor));
        });
}

// dx <- dx + residual (the gradient that arrives by the other branch) where y, the rectifier's output, is positive; else 0.
KERNEL(activation_backward)(T* INPLACE dx, const T* OPTIONAL residual, const T* OPTIONAL y, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto g = load(dx, at);
        if (residual) g = g + load(residual, at);
        if (y) g = where_positive(load(y, at), g);
        store(dx, at, g);
    });
}

// d_bias += the sum of dy over its rows; for the few rows that a linear layer has.
COOPERATIVE_KERNEL(bias_gradient)(const T* dy, Real* INPLACE d_bias, int64_t rows, int32_t channels) {
    SHARED(Real, shared, MOST_THREADS);
    Column column = block_column();
    int32_t c = column.channel;
    int64_t mine = c < channels ? rows : 0;
    Real sum = column_sum(column, mine, shared, [=](int64_t row) { return to_real(dy[row * channels + c]); });
    if (column.lane == 0 && c < channels) d_bias[c] += sum;
}
