// Batch normalisation by running statistics: as a layer (evaluation), its gradient with respect to the input alone, and folded into the
// convolution in front of it, which is the form the attack runs on. Each activation is read once and written once.
#include "rocl.cuh"

DEVICE inline Real running_scale(Real gamma, Real var, Real eps) { return gamma * (1 / square_root(var + eps)); }

// gamma / sqrt(var + eps) for a few channels.
template <typename Position>
DEVICE inline Lanes<Position::lanes> running_scale(const Real* gamma, const Real* var, Real eps, Position at) {
    Lanes<Position::lanes> scale;
#pragma unroll
    for (int k = 0; k < Position::lanes; ++k) scale[k] = running_scale(gamma[at.index + k], var[at.index + k], eps);
    return scale;
}

// y = (x - mean) scale + shift.
template <int N> struct RunningAffine {
    Lanes<N> mean, scale, shift;
};

// y = gamma (x - mean) / sqrt(var + eps) + beta, plus a residual, rectified.
KERNEL(bn_eval)(const T* x, const Real* gamma, const Real* beta, const Real* mean, const Real* var, const T* OPTIONAL residual, T* y,
                int64_t rows, int32_t channels, Real eps, int32_t relu) {
    Real floor = rectifier_floor(relu);
    for_each_channel_rows(
        rows, channels,
        [=](auto at) { return RunningAffine<at.lanes>{load(mean, at), running_scale(gamma, var, eps, at), load(beta, at)}; },
        [=](auto at, const auto& channel) {
            auto value = (load(x, at) - channel.mean) * channel.scale + channel.shift;
            if (residual) value = value + load(residual, at);
            store(y, at, at_least(value, floor));
        });
}

// dx = gamma / sqrt(var + eps) g + residual, where g is dy behind the rectifier, and residual the gradient that another branch has of x; and g itself for the
// residual that y had.
KERNEL(bn_eval_backward)(const T* dy, const T* OPTIONAL mask, const T* OPTIONAL residual, const Real* gamma, const Real* var, T* dx,
                         T* OPTIONAL d_residual, int64_t rows, int32_t channels, Real eps) {
    for_each_channel_rows(
        rows, channels, [=](auto at) { return running_scale(gamma, var, eps, at); },
        [=](auto at, const auto& scale) {
            auto g = load(dy, at);
            if (mask) g = where_positive(load(mask, at), g);
            if (d_residual) store(d_residual, at, g);
            auto value = g * scale;
            if (residual) value = value + load(residual, at);
            store(dx, at, value);
        });
}

// folded = filter gamma / sqrt(var + eps) and bias = beta - mean gamma / sqrt(var + eps): [filters, weights] and [filters].
KERNEL(bn_fold)(const Real* filter, const Real* gamma, const Real* beta, const Real* mean, const Real* var, T* folded, T* bias,
                int32_t filters, int32_t weights, Real eps) {
    auto scale_of = [=](int64_t k) { return running_scale(gamma[k], var[k], eps); };
    for_each_row_channel(filters, weights, [=](auto at) { store(folded, at, load(filter, at) * scale_of(at.row)); });
    for_each(filters, [=](int64_t k) { bias[k] = from_real<T>::convert(beta[k] - mean[k] * scale_of(k)); });
}

// inv_std = 1 / sqrt(var + eps).
KERNEL(bn_inverse_std)(const Real* var, Real* inv_std, int64_t channels, Real eps) {
    for_each(channels, [=](int64_t c) { inv_std[c] = 1 / square_root(var[c] + eps); });
}
