// NT-Xent, the contrastive loss (Chen et al. 2020; RoCL, Equation 1), over any number of views, with its gradient.
//
// z is [views * batch, d], view after view; `groups` groups of consecutive images are independent problems. Within a group of n rows,
// with z^ = z / (|z| + D), s = z^ z^T / temperature and D = 1e-8,
//     P_ij = exp(s_ij) / (S_i + D), S_i = sum over j != i of exp(s_ij);   loss = mean over i of sum over p of -log(P_ip + D),
// where p runs over the same image in the other views. Hence, with w_ip = P_ip / (P_ip + D) and W_i = sum over p of w_ip,
//     n d loss / d s_ij = G_ij = W_i P_ij - w_ij [j is a positive of i].
// With the keys detached, row i of the gradient is sum_j G_ij z^_j / temperature, taken through the normalisation; in full, G_ij + G_ji.
//
// Similarities are never stored: a block owns QUERIES rows, walks over the group's rows in tiles of shared memory, and adds up
// exp(s_ij) and exp(s_ij) z^_j; S_i and the positives are applied at the end. (No maximum is taken out: |s| <= 1 / temperature.) So the
// detached form is one launch; the full one needs every S first, thus two. A block reads its group's z once and writes QUERIES rows.
#include "rocl.cuh"

constexpr int THREADS = 128, QUERIES = 8, MOST_VIEWS = 16;
constexpr int QUERIES_PER_WARP = QUERIES / (THREADS / 32);
// Keys of 128 dimensions in a tile; double, which runs on the host only, has fewer. Rows are padded against bank conflicts.
constexpr int TILE_KEYS = sizeof(Real) == 4 ? 64 : 16, PAD = 4;
constexpr Real TINY = (Real)1e-8;

struct Problem {
    const Real* z;
    int32_t views, batch, group_batch, d;
    Real inverse_temperature;

    DEVICE int rows() const { return views * group_batch; }
    DEVICE int blocks() const { return ceil_div(rows(), QUERIES); }
    DEVICE int64_t global_row(int group, int row) const {
        int view = row / group_batch;
        return (int64_t)view * batch + group * group_batch + (row - view * group_batch);
    }
};

// Shared memory of a block.
struct Shared {
    Real *tile, *queries, *weights, *key_inverses, *query_norms, *positives, *positive_inverses;
};
#define SHARED_MEMORY(name)                                           \
    SHARED(Real, name##_tile, TILE_KEYS*(128 + PAD));                 \
    SHARED(Real, name##_queries, QUERIES * 256);                      \
    SHARED(Real, name##_weights, QUERIES* TILE_KEYS);                 \
    SHARED(Real, name##_key_inverses, TILE_KEYS);                     \
    SHARED(Real, name##_query_norms, QUERIES);                        \
    SHARED(Real, name##_positives, QUERIES* MOST_VIEWS);              \
    SHARED(Real, name##_positive_inverses, QUERIES* MOST_VIEWS);      \
    Shared name = {name##_tile,        name##_queries,   name##_weights,          name##_key_inverses, \
                   name##_query_norms, name##_positives, name##_positive_inverses}

// Up to DIMS dimensions: 128 or 256.
template <int DIMS> struct Shape {
    static constexpr int KEYS = TILE_KEYS * 128 / DIMS, STRIDE = DIMS + PAD;
    // Queries that a thread compares its key with.
    static constexpr int PAIRS = QUERIES * KEYS >= THREADS ? QUERIES * KEYS / THREADS : 1;
    // A lane holds four consecutive dimensions of every 128.
    static constexpr int PARTS = DIMS / 128;
};

// What a warp adds up for its queries.
template <int DIMS> struct Sums {
    Real weight[QUERIES_PER_WARP] = {};
    Lanes<4> row[QUERIES_PER_WARP][Shape<DIMS>::PARTS] = {};
};

DEVICE inline int first_dimension(int part) { return 128 * part + 4 * lane_id(); }

DEVICE inline Lanes<4> load_part(const Real* row, int k, int d) {
    if (d % 4 == 0 && k < d) return load(row, At<4>{k});
    Lanes<4> part;
    for (int l = 0; l < 4; ++l) part[l] = k + l < d ? row[k + l] : (Real)0;
    return part;
}

// A warp brings one row in, zeros after its end.
template <int DIMS> DEVICE inline void stage(Real* to, const Real* row, int d) {
#pragma unroll
    for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
        int k = first_dimension(part);
        store(to, At<4>{k}, load_part(row, k, d));
    }
}

// A dot product as eight independent sums, for the host's vectors and the GPU's pipeline alike; total() halves them, as vectors do.
DEVICE inline void add_products(Lanes<8>& sums, const Lanes<8>& a, const Lanes<8>& b) {
#pragma unroll
    for (int l = 0; l < 8; ++l) sums[l] = multiply_add(a[l], b[l], sums[l]);
}
DEVICE inline Real total(const Lanes<8>& sums) {
    Lanes<4> four;
    for (int l = 0; l < 4; ++l) four[l] = sums[l] + sums[l + 4];
    Lanes<2> two;
    for (int l = 0; l < 2; ++l) two[l] = four[l] + four[l + 2];
    return two[0] + two[1];
}

// Norms of the block's queries, once they are staged.
template <int DIMS> DEVICE inline void norms_of_queries(const Problem& problem, const Shared& shared) {
    if (threadIdx.x >= QUERIES) return;
    Lanes<8> square = {};
#pragma unroll 1
    for (int k = 0; k < problem.d; k += 8) {
        auto part = load(shared.queries, At<8>{(int)threadIdx.x * DIMS + k});
        add_products(square, part, part);
    }
    shared.query_norms[threadIdx.x] = total(square) > 0 ? square_root(total(square)) : (Real)0;
}

// Fills `weights` and `key_inverses` for the tile of keys from `first_key`: a thread compares one key with PAIRS queries.
// weigh(query, key, exp(s), 1 / (|z_key| + D)) is what the query shall add up of the key.
template <int DIMS, typename Weigh>
DEVICE inline void compare(const Problem& problem, const Shared& shared, int first_query, int first_key, Weigh weigh) {
    constexpr int KEYS = Shape<DIMS>::KEYS, PAIRS = Shape<DIMS>::PAIRS;
    int slot = threadIdx.x % KEYS, first_pair = threadIdx.x / KEYS * PAIRS, key = first_key + slot;
    if (key >= problem.rows() || first_pair >= QUERIES) return;
    const Real* z_key = shared.tile + slot * Shape<DIMS>::STRIDE;
    const Real* z_query = shared.queries + first_pair * DIMS;
    Lanes<8> square = {}, product[PAIRS] = {};
#pragma unroll 1
    for (int k = 0; k < problem.d; k += 8) {
        auto part = load(z_key, At<8>{k});
        add_products(square, part, part);
#pragma unroll
        for (int pair = 0; pair < PAIRS; ++pair) add_products(product[pair], part, load(z_query, At<8>{pair * DIMS + k}));
    }
    Real inverse = 1 / (square_root(total(square)) + TINY);
    if (first_pair == 0) shared.key_inverses[slot] = inverse;
#pragma unroll
    for (int pair = 0; pair < PAIRS; ++pair) {
        int q = first_pair + pair, query = first_query + q;
        Real cosine = total(product[pair]) * inverse / (shared.query_norms[q] + TINY);
        bool counts = query < problem.rows() && query != key;
        shared.weights[q * KEYS + slot] = counts ? weigh(query, key, exponential(cosine * problem.inverse_temperature), inverse) : (Real)0;
    }
}

// Adds a tile's weights, and with `rows` its weighted rows, to the sums of the warp's queries. Tile sums are added to the whole, so that
// rounding errors grow with the root of the number of tiles.
template <int DIMS> DEVICE inline void accumulate(const Problem& problem, const Shared& shared, int keys, bool rows, Sums<DIMS>& sums) {
    constexpr int KEYS = Shape<DIMS>::KEYS, STRIDE = Shape<DIMS>::STRIDE;
    const Real* weights = shared.weights + warp_id() * QUERIES_PER_WARP * KEYS;
#pragma unroll
    for (int q = 0; q < QUERIES_PER_WARP; ++q) {
        Real sum = 0;
        for (int key = 0; key < keys; ++key) sum += weights[q * KEYS + key];
        sums.weight[q] += sum;
    }
    if (!rows) return;
#pragma unroll
    for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
        int k = first_dimension(part);
        if (k >= problem.d) break;
        Lanes<4> tile_sum[QUERIES_PER_WARP] = {};
        for (int key = 0; key < keys; ++key) {
            auto row = load(shared.tile, At<4>{key * STRIDE + k});
#pragma unroll
            for (int q = 0; q < QUERIES_PER_WARP; ++q) {
                Real factor = weights[q * KEYS + key] * shared.key_inverses[key];
                for (int l = 0; l < 4; ++l) tile_sum[q][l] = multiply_add(factor, row[l], tile_sum[q][l]);
            }
        }
#pragma unroll
        for (int q = 0; q < QUERIES_PER_WARP; ++q) {
            for (int l = 0; l < 4; ++l) sums.row[q][part][l] += tile_sum[q][l];
        }
    }
}

// Walks over all keys of the group.
template <int DIMS, typename Weigh>
DEVICE inline Sums<DIMS> attend(const Problem& problem, const Shared& shared, int group, int first_query, bool rows, Weigh weigh) {
    constexpr int KEYS = Shape<DIMS>::KEYS, STRIDE = Shape<DIMS>::STRIDE, WARPS = THREADS / 32;
    int n = problem.rows();
    for (int q = warp_id(); q < QUERIES; q += WARPS) {
        int row = first_query + q < n ? first_query + q : n - 1;
        stage<DIMS>(shared.queries + q * DIMS, problem.z + problem.global_row(group, row) * problem.d, problem.d);
    }
    __syncthreads();
    norms_of_queries<DIMS>(problem, shared);
    Sums<DIMS> sums;
    for (int first_key = 0; first_key < n; first_key += KEYS) {
        int keys = n - first_key < KEYS ? n - first_key : KEYS;
        for (int key = warp_id(); key < keys; key += WARPS) {
            stage<DIMS>(shared.tile + key * STRIDE, problem.z + problem.global_row(group, first_key + key) * problem.d, problem.d);
        }
        __syncthreads();
        compare<DIMS>(problem, shared, first_query, first_key, weigh);
        __syncthreads();
        accumulate<DIMS>(problem, shared, keys, rows, sums);
        __syncthreads();
    }
    return sums;
}

// d_z of the warp's queries from the gradient by z^ in `sums`: through z^ = z / (|z| + D), times `scale`. At |z| = 0 the norm counts as
// constant, as PyTorch has it. All threads of the block take part.
template <int DIMS>
DEVICE inline void through_normalisation(const Problem& problem, const Shared& shared, int group, int first_query, int64_t gradient_rows,
                                         Real scale, const Sums<DIMS>& sums, Real* d_z) {
    Real* partial = shared.tile;
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        Real along = 0;
#pragma unroll
        for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
            auto z = load(shared.queries, At<4>{q * DIMS + first_dimension(part)});
            for (int l = 0; l < 4; ++l) along = multiply_add(sums.row[slot][part][l], z[l], along);
        }
        partial[q * 32 + lane_id()] = along;
    }
    __syncthreads();
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot, query = first_query + q;
        int64_t row = query < problem.rows() ? problem.global_row(group, query) : gradient_rows;
        if (row >= gradient_rows) continue;
        Real along = 0;
        for (int lane = 0; lane < 32; ++lane) along += partial[q * 32 + lane];
        Real norm = shared.query_norms[q], inverse = 1 / (norm + TINY);
        Real back = norm > 0 ? along / norm * inverse : (Real)0;
#pragma unroll
        for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
            int k = first_dimension(part);
            auto z = load(shared.queries, At<4>{q * DIMS + k});
            Lanes<4> slope;
            for (int l = 0; l < 4; ++l) slope[l] = scale * inverse * (sums.row[slot][part][l] - z[l] * back);
            if (problem.d % 4 == 0 && k < problem.d) {
                store(d_z, At<4>{row * problem.d + k}, slope);
            } else {
                for (int l = 0; l < 4 && k + l < problem.d; ++l) d_z[row * problem.d + k + l] = slope[l];
            }
        }
    }
}

// Whether any row of the block needs a gradient.
DEVICE inline bool block_has_gradient(const Problem& problem, int group, int first_query, int64_t gradient_rows) {
    bool any = false;
    for (int query = first_query; query < first_query + QUERIES && query < problem.rows(); ++query) {
        any = any || problem.global_row(group, query) < gradient_rows;
    }
    return any;
}

template <int DIMS>
DEVICE inline void losses(const Problem& problem, const Shared& shared, Real scale, int64_t gradient_rows, Real* row_loss, Real* inverse_sums,
                          Real* pulls, Real* d_z) {
    int group = blockIdx.x / problem.blocks(), first_query = blockIdx.x % problem.blocks() * QUERIES;
    bool rows = d_z && block_has_gradient(problem, group, first_query, gradient_rows);
    auto sums = attend<DIMS>(problem, shared, group, first_query, rows, [=](int query, int key, Real exp_s, Real inverse) {
        int view = key / problem.group_batch;
        if (query % problem.group_batch == key - view * problem.group_batch) {
            shared.positives[(query - first_query) * MOST_VIEWS + view] = exp_s;
            shared.positive_inverses[(query - first_query) * MOST_VIEWS + view] = inverse;
        }
        return exp_s;
    });
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot, query = first_query + q;
        if (query >= problem.rows()) continue;
        int64_t row = problem.global_row(group, query);
        Real inverse_sum = 1 / (sums.weight[slot] + TINY), loss = 0, pull = 0;
        for (int view = 0; view < problem.views; ++view) {
            if (view == query / problem.group_batch) continue;
            Real p = shared.positives[q * MOST_VIEWS + view] * inverse_sum;
            pull += p / (p + TINY);
            if (lane_id() == 0) loss -= logarithm(p + TINY);
        }
        if (lane_id() == 0) {
            row_loss[row] = loss;
            if (inverse_sums) inverse_sums[row] = inverse_sum;
            if (pulls) pulls[row] = pull;
        }
        if (!rows) continue;
#pragma unroll
        for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
            for (int l = 0; l < 4; ++l) sums.row[slot][part][l] *= pull * inverse_sum;
        }
        for (int view = 0; view < problem.views; ++view) {
            if (view == query / problem.group_batch) continue;
            Real p = shared.positives[q * MOST_VIEWS + view] * inverse_sum;
            Real factor = -p / (p + TINY) * shared.positive_inverses[q * MOST_VIEWS + view];
            const Real* z = problem.z + problem.global_row(group, query % problem.group_batch + view * problem.group_batch) * problem.d;
#pragma unroll
            for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
                auto positive = load_part(z, first_dimension(part), problem.d);
                for (int l = 0; l < 4; ++l) sums.row[slot][part][l] = multiply_add(factor, positive[l], sums.row[slot][part][l]);
            }
        }
    }
    if (rows) through_normalisation<DIMS>(problem, shared, group, first_query, gradient_rows, scale, sums, d_z);
}

// The loss of every row, and with `d_z` the gradient of rows below gradient_rows with the keys detached, times `scale` = weight / (rows *
// temperature). With `inverse_sums` and `pulls`: 1 / (S + D) and W of every row, for the full gradient. QUERIES rows of a group per block.
COOPERATIVE_KERNEL(nt_xent)(const Real* z, int32_t views, int32_t batch, int32_t group_batch, int32_t d, Real inverse_temperature,
                            Real scale, int64_t gradient_rows, Real* row_loss, Real* OPTIONAL inverse_sums, Real* OPTIONAL pulls,
                            Real* OPTIONAL d_z) {
    SHARED_MEMORY(shared);
    Problem problem = {z, views, batch, group_batch, d, inverse_temperature};
    if (d <= 128) losses<128>(problem, shared, scale, gradient_rows, row_loss, inverse_sums, pulls, d_z);
    else losses<256>(problem, shared, scale, gradient_rows, row_loss, inverse_sums, pulls, d_z);
}

template <int DIMS>
DEVICE inline void full_gradient(const Problem& problem, const Shared& shared, Real scale, int64_t gradient_rows, const Real* inverse_sums,
                                 const Real* pulls, Real* d_z) {
    int group = blockIdx.x / problem.blocks(), first_query = blockIdx.x % problem.blocks() * QUERIES;
    if (!block_has_gradient(problem, group, first_query, gradient_rows)) return;
    auto sums = attend<DIMS>(problem, shared, group, first_query, true, [=](int query, int key, Real exp_s, Real) {
        int64_t i = problem.global_row(group, query), j = problem.global_row(group, key);
        Real p = exp_s * inverse_sums[i], q = exp_s * inverse_sums[j];
        Real push = p * pulls[i] + q * pulls[j];
        bool is_positive = query % problem.group_batch == key % problem.group_batch;
        return is_positive ? push - (p / (p + TINY) + q / (q + TINY)) : push;
    });
    through_normalisation<DIMS>(problem, shared, group, first_query, gradient_rows, scale, sums, d_z);
}

// The gradient of rows below gradient_rows with the keys attached, from what `nt_xent` left of every row.
COOPERATIVE_KERNEL(nt_xent_full_gradient)(const Real* z, int32_t views, int32_t batch, int32_t group_batch, int32_t d,
                                          Real inverse_temperature, Real scale, int64_t gradient_rows, const Real* inverse_sums,
                                          const Real* pulls, Real* d_z) {
    SHARED_MEMORY(shared);
    Problem problem = {z, views, batch, group_batch, d, inverse_temperature};
    if (d <= 128) full_gradient<128>(problem, shared, scale, gradient_rows, inverse_sums, pulls, d_z);
    else full_gradient<256>(problem, shared, scale, gradient_rows, inverse_sums, pulls, d_z);
}
