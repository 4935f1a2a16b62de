// How kernels walk over their data. On the GPU: grid-stride loops over 16-byte vectors. On the host, a block is one thread that
// owns a contiguous range (the loop then vectorises); with more threads a block, the host runs the GPU's own loop, so that tests
// cover it. The launch says which by its block size; a kernel does not care.
#pragma once

// One thread's share of n items on the host: a contiguous range for each block.
struct Range {
    int64_t begin, end;
};
DEVICE inline Range block_range(int64_t n) {
    int64_t share = ceil_div<int64_t>(n, gridDim.x);
    int64_t begin = (int64_t)blockIdx.x * share;
    return {begin < n ? begin : n, begin + share < n ? begin + share : n};
}

DEVICE inline int64_t global_thread() { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE inline int64_t global_threads() { return (int64_t)gridDim.x * blockDim.x; }

// f(int64_t item) for n independent items.
template <typename F> DEVICE inline void for_each(int64_t n, F f) {
    if (HOST_GEOMETRY) {
        Range range = block_range(n);
        HOST_INDEPENDENT
        for (int64_t i = range.begin; i < range.end; ++i) f(i);
        return;
    }
    for (int64_t i = global_thread(); i < n; i += global_threads()) f(i);
}

// f(At<N>) for n elements.
template <typename F> DEVICE inline void for_each_vector(int64_t n, F f) {
    if (HOST_GEOMETRY) {
        Range range = block_range(n);
        HOST_INDEPENDENT
        for (int64_t i = range.begin; i < range.end; ++i) f(At<1>{i});
        return;
    }
    int64_t vectors = n / VECTOR;
    for (int64_t v = global_thread(); v < vectors; v += global_threads()) f(At<VECTOR>{v * VECTOR});
    for (int64_t i = vectors * VECTOR + global_thread(); i < n; i += global_threads()) f(At<1>{i});
}

// f(AtChannel<N>) for every element of a [rows, channels] matrix.
template <typename F> DEVICE inline void for_each_row_channel(int64_t rows, int32_t channels, F f) {
    if (HOST_GEOMETRY) {
        Range range = block_range(rows);
        for (int64_t row = range.begin; row < range.end; ++row) {
            HOST_INDEPENDENT
            for (int32_t c = 0; c < channels; ++c) f(AtChannel<1>{row * channels + c, row, c});
        }
        return;
    }
    if (channels % VECTOR == 0) {
        int32_t groups = channels / VECTOR;
        for (int64_t v = global_thread(); v < rows * groups; v += global_threads()) {
            int64_t row = v / groups;
            int32_t c = (int32_t)(v - row * groups) * VECTOR;
            f(AtChannel<VECTOR>{row * channels + c, row, c});
        }
    } else {
        for (int64_t i = global_thread(); i < rows * channels; i += global_threads()) {
            int64_t row = i / channels;
            f(AtChannel<1>{i, row, (int32_t)(i - row * channels)});
        }
    }
}

// The channels of a row in groups of N, from c on; returns the first channel left over.
template <int N, typename F> DEVICE inline int32_t channel_groups(int32_t c, int32_t channels, F f) {
    for (; c + N <= channels; c += N) f(At<N>{c});
    return c;
}

// f(item, At<N> channels): each call owns N channels of one item (a chunk of rows, an image, ...), with independent accumulators.
// The grouping of channels differs between targets; what a channel sees does not, so neither do the bits. The host takes many channels
// at a time so as to read memory in order.
template <typename F> DEVICE inline void for_each_item_channels(int64_t items, int32_t channels, F f) {
    if (HOST_GEOMETRY) {
        Range range = block_range(items);
        for (int64_t item = range.begin; item < range.end; ++item) {
            auto group = [=](auto at) { f(item, at); };
            int32_t c = channel_groups<64>(0, channels, group);
            c = channel_groups<32>(c, channels, group);
            c = channel_groups<16>(c, channels, group);
            c = channel_groups<8>(c, channels, group);
            channel_groups<1>(c, channels, group);
        }
        return;
    }
    if (channels % VECTOR == 0) {
        int32_t groups = channels / VECTOR;
        for (int64_t v = global_thread(); v < items * groups; v += global_threads()) {
            int64_t item = v / groups;
            f(item, At<VECTOR>{(v - item * groups) * VECTOR});
        }
    } else {
        for (int64_t i = global_thread(); i < items * channels; i += global_threads()) f(i / channels, At<1>{i % channels});
    }
}

// Rows that a host thread walks for one group of channels before it turns to the next: few, so that memory is read and written in order
// (twice as fast, measured, as 16 rows of 64 channels).
DEVICE inline int64_t host_tile_rows(int32_t channels) { return channels >= 256 ? 1 : channels <= 16 ? 16 : 256 / channels; }

template <int N, typename P, typename F>
DEVICE inline void walk_rows(At<N> at, int64_t begin, int64_t end, int64_t stride, int32_t channels, P prepare, F f) {
    auto prepared = prepare(at);
    for (int64_t row = begin; row < end; row += stride) f(AtChannel<N>{row * channels + at.index, row, (int)at.index}, prepared);
}

// f(AtChannel<N>, prepared) for every element of a [rows, channels] matrix, with prepared = prepare(At<N> channels): what depends on
// the channel only is loaded and computed once for many rows, and stays in registers.
template <typename P, typename F> DEVICE inline void for_each_channel_rows(int64_t rows, int32_t channels, P prepare, F f) {
    if (HOST_GEOMETRY) {
        Range range = block_range(rows);
        int64_t tile = host_tile_rows(channels);
        for (int64_t row = range.begin; row < range.end; row += tile) {
            int64_t end = row + tile < range.end ? row + tile : range.end;
            auto group = [=](auto at) { walk_rows(at, row, end, 1, channels, prepare, f); };
            int32_t c = channel_groups<16>(0, channels, group);
            c = channel_groups<8>(c, channels, group);
            channel_groups<1>(c, channels, group);
        }
        return;
    }
    // As many rows at a time as the grid has threads for, each thread with its own group of channels; fewer threads than groups: one.
    int32_t groups = channels % VECTOR == 0 ? channels / VECTOR : channels;
    int64_t stride = global_threads() < groups ? 1 : global_threads() / groups;
    for (int64_t slot = global_thread(); slot < stride * groups; slot += global_threads()) {
        int64_t row = slot / groups;
        int32_t group = (int32_t)(slot - row * groups);
        if (channels % VECTOR == 0) walk_rows(At<VECTOR>{group * VECTOR}, row, rows, stride, channels, prepare, f);
        else walk_rows(At<1>{group}, row, rows, stride, channels, prepare, f);
    }
}
