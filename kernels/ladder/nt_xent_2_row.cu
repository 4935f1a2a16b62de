// NT-Xent with detached keys, rung 2: one kernel, a block for each query, and nothing of size rows x rows. See nt_xent.md.
#include "rocl.cuh"
#include "ladder/nt_xent_row.cuh"

// The loss of every row, and with `d_z` the gradient of rows below gradient_rows, times scale.
COOPERATIVE_KERNEL(ladder_nt_row)(const Real* z, int32_t views, int64_t batch, int32_t d, Real inverse_temperature, Real scale,
                                  int64_t gradient_rows, Real* row_loss, Real* OPTIONAL d_z) {
    SHARED(Real, shared, Query::SHARED_SIZE);
    SHARED(Real, weights, THREADS);
    Query query = block_query(z, views, batch, d, inverse_temperature, shared);
    Real sum = 0, weighted[OWNED] = {};
    for (int64_t first = 0; first < query.rows; first += THREADS) {
        int64_t key = first + threadIdx.x;
        if (key < query.rows) {
            // A thread walks down its key: neighbouring threads read from rows that lie d numbers apart.
            Real product = 0, square = 0;
            for (int32_t k = 0; k < d; ++k) {
                Real value = z[key * d + k];
                product = multiply_add(value, z[query.row * d + k], product);
                square = multiply_add(value, value, square);
            }
            Real norm = square_root(square), exp_s = query.exp_s(key, product, norm);
            sum += exp_s;
            weights[threadIdx.x] = exp_s / (norm + TINY);
        }
        __syncthreads();
        for (int part = 0; part < OWNED; ++part) {
            int32_t k = threadIdx.x + part * THREADS;
            if (k >= d) continue;
            for (int64_t other = first; other < first + THREADS && other < query.rows; ++other) {
                weighted[part] = multiply_add(weights[other - first], z[other * d + k], weighted[part]);
            }
        }
        __syncthreads();
    }
    finish(query, sum, weighted, scale, gradient_rows, row_loss, d_z);
}
