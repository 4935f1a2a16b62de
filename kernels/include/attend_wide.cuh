// attend.cuh for rows of any length, which neither shared memory nor registers hold. They pass through shared memory in slices of SLICE
// dimensions, the keys of a tile twice: to be compared with the queries and, once their weights are known, to be added up. The weighted rows
// gather in d_z, whose rows the block owns; a thread reads there only what it wrote itself.
#pragma once

constexpr int SLICE = 128;

// Where the weighted rows of the warp's queries gather; null for a query that needs none.
struct Gathered {
    Real* row[QUERIES_PER_WARP];
    DEVICE inline Gathered(const Problem& problem, Real* d_z, int64_t gradient_rows) {
#pragma unroll
        for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
            int q = warp_id() * QUERIES_PER_WARP + slot;
            int64_t at = problem.has_query(q) ? problem.row(problem.query(q)) : gradient_rows;
            row[slot] = d_z && at < gradient_rows ? d_z + at * problem.d : nullptr;
        }
    }
};

struct WideSums {
    Real weight[QUERIES_PER_WARP] = {};
};

DEVICE inline void stage_slice(Real* to, const Real* row, int slice, int d) {
    int k = first_dimension(0);
    store(to, At<4>{k}, load_part(row, slice + k, d));
}

DEVICE inline void stage_queries(const Problem& problem, const Shared& shared, int slice) {
    for (int q = warp_id(); q < QUERIES; q += WARPS) {
        Position at = problem.query(problem.has_query(q) ? q : 0);
        stage_slice(shared.queries() + q * SLICE, problem.z + problem.row(at) * problem.d, slice, problem.d);
    }
}

DEVICE inline void stage_keys(const Problem& problem, const Shared& shared, int first_key, int keys, int slice) {
    Position at = problem.position(first_key + warp_id());
    for (int key = warp_id(); key < keys; key += WARPS) {
        stage_slice(shared.tile + key * Shape<SLICE>::STRIDE, problem.z + problem.row(at) * problem.d, slice, problem.d);
        at.advance(WARPS, problem.group_batch);
    }
}

// Norms of the block's queries; there behind the next barrier.
DEVICE inline void norms_of_wide_queries(const Problem& problem, const Shared& shared) {
    Lanes<8> square = {};
    for (int slice = 0; slice < problem.d; slice += SLICE) {
        stage_queries(problem, shared, slice);
        __syncthreads();
        if (threadIdx.x < QUERIES) {
#pragma unroll 1
            for (int k = 0; k < SLICE; k += 8) {
                auto part = load(shared.queries(), At<8>{(int)threadIdx.x * SLICE + k});
                add_products(square, part, part);
            }
        }
        __syncthreads();
    }
    if (threadIdx.x < QUERIES) shared.query_norms()[threadIdx.x] = square_root(total(square));
}

// As `compare`; brings the tile in.
template <typename Weigh>
DEVICE inline void compare_wide(const Problem& problem, const Shared& shared, int first_key, int keys, Weigh weigh) {
    constexpr int KEYS = Shape<SLICE>::KEYS, PAIRS = Shape<SLICE>::PAIRS;
    int slot = threadIdx.x % KEYS, first = threadIdx.x / KEYS * PAIRS;
    bool compares = slot < keys && first < QUERIES;
    const Real* z_key = shared.tile + slot * Shape<SLICE>::STRIDE;
    const Real* z_query = shared.queries() + first * SLICE;
    Lanes<8> products[PAIRS + 1] = {};
    for (int slice = 0; slice < problem.d; slice += SLICE) {
        stage_queries(problem, shared, slice);
        stage_keys(problem, shared, first_key, keys, slice);
        __syncthreads();
        if (compares) {
#pragma unroll 1
            for (int k = 0; k < SLICE && slice + k < problem.d; k += 8) {
                auto part = load(z_key, At<8>{k});
#pragma unroll
                for (int pair = 0; pair <= PAIRS; ++pair) {
                    add_products(products[pair], part, load(pair < PAIRS ? z_query + pair * SLICE : z_key, At<8>{k}));
                }
            }
        }
        __syncthreads();
    }
    if (compares) weigh_key<KEYS, PAIRS>(problem, shared, first_key + slot, slot, first, products, weigh);
}

// As `accumulate`; brings the tile in again.
DEVICE inline void accumulate_wide(const Problem& problem, const Shared& shared, int first_key, int keys, bool rows,
                                   const Gathered& gathered, WideSums& sums) {
    constexpr int KEYS = Shape<SLICE>::KEYS, STRIDE = Shape<SLICE>::STRIDE;
    const Real *weights = shared.weights() + warp_id() * QUERIES_PER_WARP * KEYS, *inverses = shared.key_inverses();
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        for (int key = lane_id(); key < keys; key += 32) sums.weight[slot] += weights[slot * KEYS + key];
    }
    for (int slice = 0; rows && slice < problem.d; slice += SLICE) {
        stage_keys(problem, shared, first_key, keys, slice);
        __syncthreads();
        int k = first_dimension(0);
        Lanes<4> tile_sum[QUERIES_PER_WARP] = {};
        for (int key = 0; key < keys; ++key) {
            auto row = load(shared.tile, At<4>{key * STRIDE + k});
#pragma unroll
            for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
                Real factor = weights[slot * KEYS + key] * inverses[key];
                for (int l = 0; l < 4; ++l) tile_sum[slot][l] = multiply_add(factor, row[l], tile_sum[slot][l]);
            }
        }
#pragma unroll
        for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
            if (!gathered.row[slot]) continue;
            if (first_key > 0) {
                auto sum = load_part(gathered.row[slot], slice + k, problem.d);
                for (int l = 0; l < 4; ++l) tile_sum[slot][l] += sum[l];
            }
            store_part(gathered.row[slot], slice + k, problem.d, tile_sum[slot]);
        }
        __syncthreads();
    }
}

// As `attend`, behind `norms_of_wide_queries`. `rows` is the same for all threads of the block.
template <typename Weigh>
DEVICE inline WideSums attend_wide(const Problem& problem, const Shared& shared, bool rows, const Gathered& gathered, Weigh weigh) {
    constexpr int KEYS = Shape<SLICE>::KEYS;
    WideSums sums;
    for (int first_key = 0; first_key < problem.rows; first_key += KEYS) {
        int keys = problem.rows - first_key < KEYS ? problem.rows - first_key : KEYS;
        compare_wide(problem, shared, first_key, keys, weigh);
        __syncthreads();
        accumulate_wide(problem, shared, first_key, keys, rows, gathered, sums);
        __syncthreads();
    }
    return sums;
}

// As `through_normalisation`, in place: `gathered` has the gradient by z^, and then that by z.
DEVICE inline void through_wide_normalisation(const Problem& problem, const Shared& shared, Real scale, const Gathered& gathered) {
    int d = problem.d;
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        Real along = 0;
        if (const Real* row = gathered.row[slot]) {
            const Real* own = problem.z + problem.row(problem.query(q)) * d;
            for (int k = first_dimension(0); k < d; k += SLICE) {
                auto sum = load_part(row, k, d), z = load_part(own, k, d);
                for (int l = 0; l < 4; ++l) along = multiply_add(sum[l], z[l], along);
            }
        }
        shared.scratch(1, q)[lane_id()] = along;
    }
    __syncthreads();
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        Real* row = gathered.row[slot];
        if (!row) continue;
        const Real* own = problem.z + problem.row(problem.query(q)) * d;
        Real norm = shared.query_norms()[q], inverse = 1 / (norm + TINY);
        Real back = norm > 0 ? total_of_lanes(shared.scratch(1, q)) / norm * inverse : (Real)0;
        for (int k = first_dimension(0); k < d; k += SLICE) {
            auto slope = load_part(row, k, d), z = load_part(own, k, d);
            for (int l = 0; l < 4; ++l) slope[l] = scale * inverse * (slope[l] - z[l] * back);
            store_part(row, k, d, slope);
        }
    }
}
