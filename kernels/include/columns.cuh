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

// The sum of value(row) over all rows, for every thread of the column. `shared` has MOST_THREADS elements that serve no other sum.
template <typename F> DEVICE inline Real column_sum(Column column, int64_t rows, Real* shared, F value) {
    Real sum = 0;
#pragma unroll 8
    for (int64_t row = column.lane; row < rows; row += column.lanes) sum += value(row);
    shared[threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (int lane = 0; lane < column.lanes; ++lane) sum += shared[lane * COLUMNS + threadIdx.x % COLUMNS];
    return sum;
}
