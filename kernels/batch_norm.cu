// Batch normalisation in training (Ioffe & Szegedy 2015) of [rows, channels] activations, a row being a pixel of an image.
// Forward: the statistics read x; apply reads x (and a residual) and writes y. Backward: the sums read x, dy (and the mask); apply reads
// them again and writes dx (and the residual's gradient).
// Reductions go over chunks of rows: a thread owns a few channels of a chunk, and a second, small kernel merges the chunks in order.
#include "rocl.cuh"

struct Chunks {
    int64_t rows, chunk_rows;
    DEVICE int64_t begin(int64_t chunk) const { return chunk * chunk_rows; }
    DEVICE int64_t end(int64_t chunk) const { return begin(chunk + 1) < rows ? begin(chunk + 1) : rows; }
};

// Mean and sum of squared deviations of every chunk, [chunks, channels] each. Differences to the chunk's first row are summed, so that a
// mean far from zero does not cancel the variance.
KERNEL(bn_statistics_partial)(const T* x, Real* means, Real* deviations, int64_t rows, int64_t chunk_rows, int64_t chunks,
                              int32_t channels) {
    Chunks of{rows, chunk_rows};
    for_each_item_channels(chunks, channels, [=](int64_t chunk, auto at) {
        auto pivot = load(x, at + of.begin(chunk) * channels);
        decltype(pivot) sum = {}, squares = {};
#pragma unroll 8
        for (int64_t row = of.begin(chunk); row < of.end(chunk); ++row) {
            auto difference = load(x, at + row * channels) - pivot;
            sum = sum + difference;
            squares = squares + difference * difference;
        }
        auto shift = sum / (Real)(of.end(chunk) - of.begin(chunk));
        store(means, at + chunk * channels, pivot + shift);
        store(deviations, at + chunk * channels, at_least(squares - sum * shift, 0));
    });
}

// Merges the chunks (Chan et al. 1979, for all groups at once): the mean of the means, then within-chunk plus between-chunk deviations.
// Updates the running statistics as PyTorch does: with the unbiased variance.
COOPERATIVE_KERNEL(bn_statistics_finish)(const Real* means, const Real* deviations, Real* mean, Real* inv_std,
                                         Real* OPTIONAL INPLACE running_mean, Real* OPTIONAL INPLACE running_var, int64_t rows, int64_t chunk_rows,
                                         int64_t chunks, int32_t channels, Real momentum, Real eps) {
    SHARED(Real, shared, 2 * MOST_THREADS);
    Column column = block_column();
    Chunks of{rows, chunk_rows};
    int32_t c = column.channel;
    int64_t mine = c < channels ? chunks : 0;
    Real whole = (Real)chunk_rows, last = (Real)(rows - of.begin(chunks - 1));
    auto size = [=](int64_t chunk) { return chunk < chunks - 1 ? whole : last; };

    Real first = c < channels ? means[c] : (Real)0;
    Real shift = column_sum(column, mine, shared, [=](int64_t chunk) { return size(chunk) * (means[chunk * channels + c] - first); });
    Real merged = column_broadcast(column, shared, first + shift / (Real)rows);
    Real squares = column_sum(column, mine, shared + MOST_THREADS, [=](int64_t chunk) {
        Real between = means[chunk * channels + c] - merged;
        return deviations[chunk * channels + c] + size(chunk) * between * between;
    });
    if (column.lane == 0 && c < channels) {
        mean[c] = merged;
        inv_std[c] = 1 / square_root(squares / (Real)rows + eps);
        if (running_mean) running_mean[c] = momentum * merged + (1 - momentum) * running_mean[c];
        if (running_var) running_var[c] = momentum * (squares / (Real)(rows - 1)) + (1 - momentum) * running_var[c];
    }
}

// y = (x - mean) scale + shift.
template <int N> struct Affine {
    Lanes<N> mean, scale, shift;
};

// y = gamma (x - mean) / std + beta, plus a residual, rectified. (Not x scale + shift': that would cancel where the mean is large.)
KERNEL(bn_apply)(const T* x, const Real* gamma, const Real* beta, const Real* mean, const Real* inv_std, const T* OPTIONAL residual,
                 T* y, int64_t rows, int32_t channels, int32_t relu) {
    Real floor = rectifier_floor(relu);
    for_each_channel_rows(
        rows, channels,
        [=](auto at) { return Affine<at.lanes>{load(mean, at), load(gamma, at) * load(inv_std, at), load(beta, at)}; },
        [=](auto at, const auto& channel) {
            auto value = (load(x, at) - channel.mean) * channel.scale + channel.shift;
            if (residual) value = value + load(residual, at);
            store(y, at, at_least(value, floor));
        });
}

// The gradient that reaches the normalisation: dy, but 0 where the rectifier was off.
template <typename Position> DEVICE inline Lanes<Position::lanes> rectified_gradient(const T* dy, const T* mask, Position at) {
    auto g = load(dy, at);
    return mask ? where_positive(load(mask, at), g) : g;
}

// Sums of g and of g (x - mean) over every chunk, [chunks, channels] each, where g is dy behind the rectifier.
KERNEL(bn_backward_partial)(const T* dy, const T* x, const T* OPTIONAL mask, const Real* mean, Real* sums, Real* products,
                            int64_t rows, int64_t chunk_rows, int64_t chunks, int32_t channels) {
    Chunks of{rows, chunk_rows};
    for_each_item_channels(chunks, channels, [=](int64_t chunk, auto at) {
        auto center = load(mean, at);
        decltype(center) sum = {}, product = {};
#pragma unroll 4
        for (int64_t row = of.begin(chunk); row < of.end(chunk); ++row) {
            auto g = rectified_gradient(dy, mask, at + row * channels);
            sum = sum + g;
            product = product + g * (load(x, at + row * channels) - center);
        }
        store(sums, at + chunk * channels, sum);
        store(products, at + chunk * channels, product);
    });
}

// Merges the chunks: sum_g and sum_gx (the sum of g xhat) for this pass, added into dbeta and dgamma over passes.
COOPERATIVE_KERNEL(bn_backward_finish)(const Real* sums, const Real* products, const Real* inv_std, Real* sum_g, Real* sum_gx,
                                       Real* INPLACE d_gamma, Real* INPLACE d_beta, int64_t chunks, int32_t channels) {
    SHARED(Real, shared, 2 * MOST_THREADS);
    Column column = block_column();
    int32_t c = column.channel;
    int64_t mine = c < channels ? chunks : 0;
    Real sum = column_sum(column, mine, shared, [=](int64_t chunk) { return sums[chunk * channels + c]; });
    Real product = column_sum(column, mine, shared + MOST_THREADS, [=](int64_t chunk) { return products[chunk * channels + c]; });
    if (column.lane == 0 && c < channels) {
        product *= inv_std[c];
        sum_g[c] = sum;
        sum_gx[c] = product;
        d_beta[c] += sum;
        d_gamma[c] += product;
    }
}

// dx = scale ((g - mean_g) - (x - mean) slope).
template <int N> struct Gradient {
    Lanes<N> mean, scale, mean_g, slope;
};

// dx = gamma / std (g - mean(g) - xhat mean(g xhat)), and g itself for the residual branch.
KERNEL(bn_backward_apply)(const T* dy, const T* x, const T* OPTIONAL mask, const Real* gamma, const Real* mean, const Real* inv_std,
                          const Real* sum_g, const Real* sum_gx, T* dx, T* OPTIONAL d_residual, int64_t rows, int32_t channels) {
    for_each_channel_rows(
        rows, channels,
        [=](auto at) {
            Real inverse = 1 / (Real)rows;
            auto deviation = load(inv_std, at);
            return Gradient<at.lanes>{load(mean, at), load(gamma, at) * deviation, load(sum_g, at) * inverse,
                                      load(sum_gx, at) * deviation * inverse};
        },
        [=](auto at, const auto& channel) {
            auto g = rectified_gradient(dy, mask, at);
            if (d_residual) store(d_residual, at, g);
            store(dx, at, ((g - channel.mean_g) - (load(x, at) - channel.mean) * channel.slope) * channel.scale);
        });
}
