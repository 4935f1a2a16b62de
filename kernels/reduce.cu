// Sums of per-row values, such as losses: one block, in an order that depends on n only.
#include "rocl.cuh"

// sum <- weight * (values[0] + ... + values[n - 1]), added to what is there if `accumulate`.
COOPERATIVE_KERNEL(weighted_sum)(const Real* values, int64_t n, Real weight, int32_t accumulate, Real* INPLACE sum) {
    SHARED(Real, scratch, 256);
    Real mine = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) mine += values[i];
    Real total = weight * block_sum(mine, scratch);
    if (threadIdx.x == 0) sum[0] = accumulate ? sum[0] + total : total;
}
