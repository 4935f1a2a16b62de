// NT-Xent with detached keys, rung 3: a block for each query, to which the keys come in tiles of shared memory. See nt_xent.md.
#include "rocl.cuh"
#include "ladder/nt_xent_row.cuh"

// Keys of a tile (double runs on the host only, and has fewer); a row one number longer than the dimensions, so that the same dimension of
// different keys lies in different banks.
constexpr int KEYS = sizeof(Real) == 4 ? 32 : 16, STRIDE = MOST_DIMENSIONS + 1, SHARES = THREADS / KEYS;

// The loss of every row, and with `d_z` the gradient of rows below gradient_rows, times scale.
COOPERATIVE_KERNEL(ladder_nt_tile)(const Real* z, int32_t views, int64_t batch, int32_t d, Real inverse_temperature, Real scale,
                                   int64_t gradient_rows, Real* row_loss, Real* OPTIONAL d_z) {
    SHARED(Real, shared, Query::SHARED_SIZE);
    SHARED(Real, own, MOST_DIMENSIONS);
    SHARED(Real, tile, KEYS * STRIDE);
    SHARED(Real, products, 2 * THREADS);
    SHARED(Real, weights, KEYS);
    Query query = block_query(z, views, batch, d, inverse_temperature, shared);
    for (int32_t k = threadIdx.x; k < d; k += THREADS) own[k] = z[query.row * d + k];
    Real sum = 0, weighted[OWNED] = {};
    int slot = threadIdx.x % KEYS, share = threadIdx.x / KEYS;
    for (int64_t first = 0; first < query.rows; first += KEYS) {
        int keys = query.rows - first < KEYS ? (int)(query.rows - first) : KEYS;
        for (int i = threadIdx.x; i < keys * d; i += THREADS) tile[i / d * STRIDE + i % d] = z[first * d + i];
        __syncthreads();
        // Several threads share a key, each with some of its dimensions.
        Real product = 0, square = 0;
        for (int32_t k = share; k < d && slot < keys; k += SHARES) {
            Real value = tile[slot * STRIDE + k];
            product = multiply_add(value, own[k], product);
            square = multiply_add(value, value, square);
        }
        products[threadIdx.x] = product;
        products[THREADS + threadIdx.x] = square;
        __syncthreads();
        if (share == 0 && slot < keys) {
            for (int other = 1; other < SHARES; ++other) {
                product += products[other * KEYS + slot];
                square += products[THREADS + other * KEYS + slot];
            }
            Real norm = square_root(square), exp_s = query.exp_s(first + slot, product, norm);
            sum += exp_s;
            weights[slot] = exp_s / (norm + TINY);
        }
        __syncthreads();
        for (int part = 0; part < OWNED; ++part) {
            int32_t k = threadIdx.x + part * THREADS;
            for (int key = 0; key < keys && k < d; ++key) {
                weighted[part] = multiply_add(weights[key], tile[key * STRIDE + k], weighted[part]);
            }
        }
        __syncthreads();
    }
    finish(query, sum, weighted, scale, gradient_rows, row_loss, d_z);
}
