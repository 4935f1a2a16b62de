// LARS (You et al. 2017) over a flat arena: every tensor fills whole chunks of 1024 elements, padded with zeros, and is cut into items of
// a few chunks, a block each. Two launches: the items' sums of squares (reads p and g), then the update (reads p, g and buffer, writes
// p and buffer), where every block adds up the sums of its tensor for itself: few numbers, in an order that depends on shapes only.
#include "rocl.cuh"
#include "clock.cuh"

constexpr int CHUNK = 1024;
// As many as `ops` launches.
constexpr int THREADS = 128, WARPS = THREADS / 32;
// A warp takes ROW elements at a time, each of its lanes SPAN. On the host, where lanes run one after the other, the first takes them all:
// memory is then read in order. The sums stay the same, four to a lane.
constexpr int ROW = 128, SPAN = PACKETS ? 4 : ROW;

DEVICE inline bool lane_works() { return lane_id() % (SPAN / 4) == 0; }

// f(At<SPAN>) for the thread's share of the block's item, chunks item_chunks[item] to item_chunks[item + 1]; a warp has a contiguous quarter.
template <typename F> DEVICE inline void for_each_of_item(const int32_t* item_chunks, F f) {
    if (!lane_works()) return;
    int64_t first = item_chunks[blockIdx.x], share = (item_chunks[blockIdx.x + 1] - first) * (CHUNK / WARPS);
    int64_t begin = first * CHUNK + warp_id() * share;
#pragma unroll 4
    for (int64_t i = begin + lane_id() * 4; i < begin + share; i += ROW) f(At<SPAN>{i});
}

// The sum of values[begin] to values[end - 1], for every lane of the warp.
DEVICE inline Real warp_total(const Real* values, int32_t begin, int32_t end) {
    Real sum = 0;
    for (int32_t i = begin + lane_id(); i < end; i += 32) sum += values[i];
    return warp_sum(sum);
}

// squares [2, items]: the sum of p * p and of g * g over each item. The first warp adds up the one, the second the other.
COOPERATIVE_KERNEL(lars_norms)(const Real* p, const Real* g, const int32_t* item_chunks, Real* squares) {
    SHARED(Real, shared, 2 * THREADS);
    Lanes<SPAN> of_p = {}, of_g = {};
    for_each_of_item(item_chunks, [&](auto at) {
        auto parameter = load(p, at), gradient = load(g, at);
        of_p = of_p + parameter * parameter;
        of_g = of_g + gradient * gradient;
    });
    if (lane_works()) {
        for (int k = 0; k < SPAN; k += 4) {
            Real* lane = shared + threadIdx.x + k / 4;
            lane[0] = (of_p[k] + of_p[k + 1]) + (of_p[k + 2] + of_p[k + 3]);
            lane[THREADS] = (of_g[k] + of_g[k + 1]) + (of_g[k + 2] + of_g[k + 3]);
        }
    }
    __syncthreads();
    int which = warp_id();
    if (which < 2) {
        Real sum = warp_total(shared + which * THREADS, 0, THREADS);
        if (lane_id() == 0) squares[which * (int64_t)gridDim.x + blockIdx.x] = sum;
    }
}

// scale = trust * |p| / (|g| + weight_decay * |p| + epsilon), or 1 where a norm is zero, stored in scales[tensor];
// buffer <- momentum * buffer + (g + weight_decay * p) * scale; p <- p - rate * buffer. The buffer starts at zero.
COOPERATIVE_KERNEL(lars_update)(Real* p, Real* buffer, const Real* g, const Real* squares, const int32_t* item_chunks,
                                const int32_t* item_tensor, const int32_t* tensor_items, const int64_t* clock,
                                const Real* learning_rates, int64_t steps, Real trust, Real momentum, Real weight_decay, Real epsilon,
                                Real* scales) {
    SHARED(Real, norms, 2);
    int32_t tensor = item_tensor[blockIdx.x], first_item = tensor_items[tensor];
    int which = warp_id();
    if (which < 2) {
        Real sum = warp_total(squares + which * (int64_t)gridDim.x, first_item, tensor_items[tensor + 1]);
        if (lane_id() == 0) norms[which] = square_root(sum);
    }
    Real rate = current_rate(learning_rates, clock, steps);
    __syncthreads();
    Real p_norm = norms[0], g_norm = norms[1];
    bool adapts = p_norm > 0 && g_norm > 0;
    Real scale = adapts ? trust * p_norm / (g_norm + weight_decay * p_norm + epsilon) : (Real)1;
    if ((int32_t)blockIdx.x == first_item && threadIdx.x == 0) scales[tensor] = scale;
    for_each_of_item(item_chunks, [=](auto at) {
        auto parameter = load(p, at);
        auto velocity = load(buffer, at) * momentum + (load(g, at) + parameter * weight_decay) * scale;
        store(buffer, at, velocity);
        store(p, at, parameter - velocity * rate);
    });
}
