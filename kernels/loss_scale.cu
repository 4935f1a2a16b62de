// What becomes of the loss scale and of the step, once all gradients are there: one block. See include/loss_scale.cuh for the state.
#include "rocl.cuh"
#include "loss_scale.cuh"

constexpr int THREADS = 128;

// A step is skipped when one of the `items` sums of squares of gradients is not finite. The scale then halves; after `interval` good steps in
// a row it doubles; it stays within [lowest, highest].
COOPERATIVE_KERNEL(loss_scale_update)(const Real* squares, int32_t items, Real* INPLACE factors, int64_t* INPLACE counters,
                                      int64_t interval, Real lowest, Real highest) {
    SHARED(int32_t, shared, THREADS);
    int32_t overflow = 0;
    for (int32_t i = threadIdx.x; i < items; i += blockDim.x) overflow |= !is_finite(squares[i]);
    shared[threadIdx.x] = overflow;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int i = 1; i < (int)blockDim.x; ++i) overflow |= shared[i];
    Real scale = factors[0];
    factors[1] = 1 / scale;
    int64_t good = overflow ? 0 : counters[0] + 1;
    bool grows = good >= interval;
    if (overflow) factors[0] = maximum(scale * (Real)0.5, lowest);
    else if (grows) factors[0] = minimum(scale * 2, highest);
    counters[0] = grows ? 0 : good;
    counters[1] += overflow;
    counters[2] += overflow;
    counters[3] = overflow;
}

// x <- before, if the step is skipped.
KERNEL(undo_if_skipped)(Real* x, const Real* before, const int64_t* counters, int64_t n) {
    if (!is_skipped(counters)) return;
    for_each_vector(n, [=](auto at) { store(x, at, load(before, at)); });
}
