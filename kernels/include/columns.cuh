// Sums down the columns of a [rows, channels] matrix by cooperative blocks: COLUMNS channels side by side, and as many rows at a time as
// the block then has threads for. The order of the additions depends on the block's size only, which `ops` derives from the shape.
#pragma once

constexpr int COLUMNS = 4;
constexpr int MOST_THREADS = 256;

struct Column {
    int32_t channel;  // may lie past the last: such a thread sums nothing, but takes part in the barriers
    int32_t lane;     // among the `lanes` threads that share the channel
    int32_t lanes;
};

DEVICE inline Column block_column() {
    int32_t inside = threadIdx.x % COLUMNS;
    return {(int32_t)blockIdx.x * COLUMNS + inside, (int32_t)threadIdx.x / COLUMNS, (int32_t)blockDim.x / COLUMNS};
}

// The sum of value(row) over all rows, for lane 0 of every column (the others get a part). Each thread sums a contiguous range:
// neighbouring rows seldom share a sector, but the host's caches like them. Four sums at a time hide the latency of an addition.
// `shared` has MOST_THREADS elements that serve no other sum.
template <typename F> DEVICE inline Real column_sum(Column column, int64_t rows, Real* shared, F value) {
    int64_t share = ceil_div<int64_t>(rows, column.lanes), row = column.lane * share;
    int64_t end = row + share < rows ? row + share : rows;
    Real sums[4] = {0, 0, 0, 0};
#pragma unroll 2
    for (; row + 4 <= end; row += 4) {
#pragma unroll
        for (int k = 0; k < 4; ++k) sums[k] += value(row + k);
    }
    for (; row < end; ++row) sums[0] += value(row);
    Real sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (column.lane == 0) {
        for (int lane = 1; lane < column.lanes; ++lane) sum += shared[lane * COLUMNS + threadIdx.x];
    }
    return sum;
}

// What lane 0 of the column has, for all its lanes. `shared` may be that of the sum it comes from.
DEVICE inline Real column_broadcast(Column column, Real* shared, Real value) {
    if (column.lane == 0) shared[threadIdx.x] = value;
    __syncthreads();
    return shared[threadIdx.x % COLUMNS];
}
