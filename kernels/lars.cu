// LARS (You et al. 2017) over a flat arena: every tensor fills whole chunks of 1024 elements, padded with zeros, and is cut into items of
// a few chunks, a block each. Two launches: the items' sums of squares (reads p and g), then the update (reads p, g and buffer, writes
// p and buffer), where every block adds up the sums of its tensor for itself: few numbers, in an order that depends on shapes only.
#include "rocl.cuh"
#include "clock.cuh"
#include "loss_scale.cuh"

constexpr int CHUNK = 1024;
// As many as `ops` launches.
constexpr int THREADS = 128, WARPS = THREADS / 32;
// A warp takes ROW elements at a time, each of its lanes SPAN. On the host, where lanes run one after the other, the first takes them all:
// memory is then read in order. The sums stay the same, four to a lane.
constexpr int ROW = 128, SPAN = PACKETS ? 4 : ROW;

DEVICE inline bool lane_works() { return lane_id() % (SPAN / 4) == 0; }

// f(At<SPAN>) for the share of a thread that works in the block's item, which spans chunks item_chunks[item] to item_chunks[item + 1]. A
// warp has a contiguous quarter of it.
template <typename F> DEVICE inline void for_each_of_item(const int32_t* item_chunks, F f) {
    int64_t first = item_chunks[blockIdx.x], share = (item_chunks[blockIdx.x + 1] - first) * (CHUNK / WARPS);
    int64_t begin = first * CHUNK + warp_id() * share;
#pragma unroll 4
    for (int64_t i = begin + lane_id() * 4; i < begin + share; i += ROW) f(At<SPAN>{i});
}

// The sum of n numbers in shared memory, n a multiple of four: by one thread, which on the host is cheaper than shuffles.
DEVICE inline Real sum_of(const Real* shared, int n) {
    Lanes<4> sum = {};
#pragma unroll 8
    for (int i = 0; i < n; i += 4) sum = sum + load(shared, At<4>{i});
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// squares [2, items]: the sums of p * p and of g * g over each item.
COOPERATIVE_KERNEL(lars_norms)(const Real* p, const Real* g, const int32_t* item_chunks, Real* squares) {
    SHARED(Real, shared, 2 * THREADS);
    if (lane_works()) {
        Lanes<SPAN> of_p = {}, of_g = {};
        for_each_of_item(item_chunks, [&](auto at) {
            auto parameter = load(p, at), gradient = load(g, at);
            of_p = of_p + parameter * parameter;
            of_g = of_g + gradient * gradient;
        });
        for (int k = 0; k < SPAN; k += 4) {
            Real* lane = shared + threadIdx.x + k / 4;
            lane[0] = (of_p[k] + of_p[k + 1]) + (of_p[k + 2] + of_p[k + 3]);
            lane[THREADS] = (of_g[k] + of_g[k + 1]) + (of_g[k + 2] + of_g[k + 3]);
        }
    }
    __syncthreads();
    int which = warp_id();
    if (which < 2 && lane_id() == 0) squares[which * (int64_t)gridDim.x + blockIdx.x] = sum_of(shared + which * THREADS, THREADS);
}

// scale = trust * |p| / (|g| + weight_decay * |p| + epsilon), or 1 where a norm is zero, stored in scales[tensor];
// buffer <- momentum * buffer + (g + weight_decay * p) * scale; p <- p - rate * buffer. The buffer starts at zero. g and its squares carry the
// loss scale, if there is one; a skipped step changes nothing.
COOPERATIVE_KERNEL(lars_update)(Real* INPLACE p, Real* INPLACE buffer, const Real* g, const Real* squares,
                                const int32_t* item_chunks, const int32_t* item_tensor, const int32_t* tensor_items, const int64_t* clock,
                                const Real* learning_rates, int64_t steps, Real trust, Real momentum, Real weight_decay, Real epsilon,
                                const Real* OPTIONAL factors, const int64_t* OPTIONAL counters, Real* scales) {
    SHARED(Real, shared, 2 * 32);
    int32_t tensor = item_tensor[blockIdx.x], first_item = tensor_items[tensor], last_item = tensor_items[tensor + 1];
    // The first warp adds up the squares of p, the second those of g.
    int which = warp_id();
    if (which < 2) {
        Real sum = 0;
        for (int32_t i = first_item + lane_id(); i < last_item; i += 32) sum += squares[which * (int64_t)gridDim.x + i];
        shared[threadIdx.x] = sum;
    }
    __syncthreads();
    if (!lane_works() || is_skipped(counters)) return;
    Real unscale = unscaling(factors);
    Real p_norm = square_root(sum_of(shared, 32)), g_norm = square_root(sum_of(shared + 32, 32)) * unscale;
    bool adapts = p_norm > 0 && g_norm > 0;
    Real scale = adapts ? trust * p_norm / (g_norm + weight_decay * p_norm + epsilon) : (Real)1;
    if ((int32_t)blockIdx.x == first_item && threadIdx.x == 0) scales[tensor] = scale;
    Real rate = current_rate(learning_rates, clock, steps);
    for_each_of_item(item_chunks, [=](auto at) {
        auto parameter = load(p, at);
        auto velocity = load(buffer, at) * momentum + (load(g, at) * unscale + parameter * weight_decay) * scale;
        store(buffer, at, velocity);
        store(p, at, parameter - velocity * rate);
    });
}
