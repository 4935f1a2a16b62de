// What rungs 2 and 3 of NT-Xent share: a block owns one row of the gradient, the query, and its threads own the dimensions.
#pragma once

constexpr int THREADS = 128, MOST_VIEWS = 16, MOST_DIMENSIONS = 256, OWNED = MOST_DIMENSIONS / THREADS;
constexpr Real TINY = (Real)1e-8;

// The query and the block's shared memory.
struct Query {
    const Real* z;
    int64_t rows, batch, row;
    int32_t d;
    Real inverse_temperature, norm;
    Real* scratch;    // THREADS
    Real* positives;  // exp(s) of the row's image in every view, then 1 / (|z| + TINY) of those rows
    static constexpr int SHARED_SIZE = THREADS + 2 * MOST_VIEWS;

    // A sum over the block, for all its threads.
    DEVICE Real sum(Real mine) const {
        Real total = block_sum(mine, scratch);
        __syncthreads();
        if (threadIdx.x == 0) scratch[0] = total;
        __syncthreads();
        total = scratch[0];
        __syncthreads();
        return total;
    }

    // exp(s) of a key whose product with the query and whose norm are known, remembered if it is a positive; 0 for the query itself.
    DEVICE Real exp_s(int64_t key, Real product, Real key_norm) const {
        if (key == row) return 0;
        Real inverse = 1 / (key_norm + TINY);
        Real value = exponential(product * inverse / (norm + TINY) * inverse_temperature);
        if (key % batch == row % batch) {
            positives[key / batch] = value;
            positives[MOST_VIEWS + key / batch] = inverse;
        }
        return value;
    }
};

DEVICE inline Query block_query(const Real* z, int32_t views, int64_t batch, int32_t d, Real inverse_temperature, Real* shared) {
    Query query = {z, views * batch, batch, (int64_t)blockIdx.x, d, inverse_temperature, 0, shared, shared + THREADS};
    Real square = 0;
    for (int32_t k = threadIdx.x; k < d; k += THREADS) square = multiply_add(z[query.row * d + k], z[query.row * d + k], square);
    query.norm = square_root(query.sum(square));
    return query;
}

// Loss and gradient of the query, from this thread's share of the sum of exp(s), and its dimensions of the sum of exp(s) z^.
DEVICE inline void finish(const Query& query, Real exp_share, Real* weighted, Real scale, int64_t gradient_rows, Real* row_loss,
                          Real* d_z) {
    Real inverse_sum = 1 / (query.sum(exp_share) + TINY), loss = 0, pull = 0, along = 0;
    for (int64_t view = 0; view < query.rows / query.batch; ++view) {
        if (view == query.row / query.batch) continue;
        Real p = query.positives[view] * inverse_sum;
        loss -= logarithm(p + TINY);
        pull += p / (p + TINY);
    }
    if (threadIdx.x == 0) row_loss[query.row] = loss;
    if (!d_z || query.row >= gradient_rows) return;
    const Real* own = query.z + query.row * query.d;
    for (int part = 0; part < OWNED; ++part) {
        int32_t k = threadIdx.x + part * THREADS;
        if (k >= query.d) continue;
        weighted[part] *= pull * inverse_sum;
        for (int64_t view = 0; view < query.rows / query.batch; ++view) {
            if (view == query.row / query.batch) continue;
            Real p = query.positives[view] * inverse_sum;
            Real other = query.z[(view * query.batch + query.row % query.batch) * query.d + k];
            weighted[part] -= p / (p + TINY) * query.positives[MOST_VIEWS + view] * other;
        }
        along = multiply_add(weighted[part], own[k], along);
    }
    Real inverse = 1 / (query.norm + TINY);
    Real back = query.norm > 0 ? query.sum(along) / query.norm * inverse : (Real)0;
    for (int part = 0; part < OWNED; ++part) {
        int32_t k = threadIdx.x + part * THREADS;
        if (k < query.d) d_z[query.row * query.d + k] = scale * inverse * (weighted[part] - own[k] * back);
    }
}
