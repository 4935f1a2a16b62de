// What the kernels here share; found because it lies beside them.
#pragma once

// The sum over a block, for each of its threads. `scratch` holds one value per thread and serves one call.
DEVICE inline Real sum_for_all(Real mine, Real* scratch) {
    Real sum = block_sum(mine, scratch);
    __syncthreads();
    if (threadIdx.x == 0) scratch[0] = sum;
    __syncthreads();
    return scratch[0];
}
