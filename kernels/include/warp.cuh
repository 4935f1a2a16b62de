// Reductions over a warp and a block. Every lane takes part (full mask) and every lane gets the result. The order is a fixed
// butterfly, so the bits do not depend on the schedule.
#pragma once

constexpr unsigned FULL_MASK = 0xffffffffu;

DEVICE inline int lane_id() { return threadIdx.x & 31; }
DEVICE inline int warp_id() { return threadIdx.x >> 5; }

template <typename V> DEVICE inline V warp_sum(V v) {
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) v += __shfl_xor_sync(FULL_MASK, v, offset);
    return v;
}

// The sum over a block, for its first warp; the other threads get 0. `scratch` holds one value per thread and serves one call.
template <typename V> DEVICE inline V block_sum(V v, V* scratch) {
    scratch[threadIdx.x] = v;
    __syncthreads();
    if (warp_id() != 0) return 0;
    V sum = 0;
    for (int i = lane_id(); i < (int)blockDim.x; i += 32) sum += scratch[i];
    return warp_sum(sum);
}
