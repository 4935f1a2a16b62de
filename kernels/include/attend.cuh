// What the contrastive losses share: a block owns QUERIES rows of a group, walks over all the group's rows, the keys, in tiles of shared
// memory, and adds up a weight of each key, and the weighted normalised keys. Nothing of size rows x rows is ever stored.
#pragma once

constexpr int THREADS = 128, WARPS = THREADS / 32, QUERIES = 8, QUERIES_PER_WARP = QUERIES / WARPS, MOST_VIEWS = 16;
// Keys of 128 dimensions in a tile; double, which runs on the host only, has fewer. Rows are padded against bank conflicts.
constexpr int TILE_KEYS = sizeof(Real) == 4 ? 64 : 16, PAD = 4;
constexpr Real TINY = (Real)1e-8;

// A row of a group: which view of which of its images. Divisions are dear, so positions step from row to row.
struct Position {
    int view, image;
    DEVICE inline void advance(int rows, int group_batch) {
        image += rows;
        while (image >= group_batch) {
            image -= group_batch;
            ++view;
        }
    }
};

// The block's share of the problem.
struct Problem {
    const Real* z;
    int32_t views, batch, group_batch, d;
    Real inverse_temperature;
    int32_t rows, group, first_query;  // of the group, see `locate`

    DEVICE inline void locate() {
        rows = views * group_batch;
        int blocks = ceil_div(rows, QUERIES);
        group = (int)blockIdx.x / blocks;
        first_query = (int)blockIdx.x % blocks * QUERIES;
    }
    DEVICE inline Position position(int row) const { return {row / group_batch, row % group_batch}; }
    DEVICE inline bool has_query(int q) const { return first_query + q < rows; }
    // Of a query that exists.
    DEVICE inline Position query(int q) const {
        Position at = position(first_query);
        at.advance(q, group_batch);
        return at;
    }
    // The row of z.
    DEVICE inline int64_t row(Position at) const { return (int64_t)at.view * batch + group * group_batch + at.image; }
    DEVICE inline bool needs_gradient(int64_t gradient_rows) const {
        bool any = false;
        for (int q = 0; q < QUERIES && has_query(q); ++q) any = any || row(query(q)) < gradient_rows;
        return any;
    }
};

// The block's shared memory; parts begin at multiples of 16 bytes.
struct Shared {
    static constexpr int TILE = TILE_KEYS * (128 + PAD);
    static constexpr int SIZE = TILE + QUERIES * 256 + QUERIES * TILE_KEYS + TILE_KEYS + QUERIES + 2 * QUERIES * MOST_VIEWS;
    Real* tile;
    DEVICE inline Real* queries() const { return tile + TILE; }
    DEVICE inline Real* weights() const { return queries() + QUERIES * 256; }
    DEVICE inline Real* key_inverses() const { return weights() + QUERIES * TILE_KEYS; }
    DEVICE inline Real* query_norms() const { return key_inverses() + TILE_KEYS; }
    DEVICE inline Real* positives() const { return query_norms() + QUERIES; }
    DEVICE inline Real* positive_inverses() const { return positives() + QUERIES * MOST_VIEWS; }
    // Two values per query and lane, where the tile was.
    DEVICE inline Real* scratch(int which, int q) const { return tile + (which * QUERIES + q) * 32; }
};

// Up to DIMS dimensions: 128 or 256. attend_wide.cuh has more.
template <int DIMS> struct Shape {
    static constexpr int KEYS = TILE_KEYS * 128 / DIMS, STRIDE = DIMS + PAD;
    // Queries that a thread compares its key with.
    static constexpr int PAIRS = QUERIES * KEYS >= THREADS ? QUERIES * KEYS / THREADS : 1;
    // A lane holds four consecutive dimensions of every 128.
    static constexpr int PARTS = DIMS / 128;
};

// What a warp adds up for its queries: of the weights each lane has its share, of the rows its dimensions.
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

DEVICE inline void store_part(Real* row, int k, int d, const Lanes<4>& part) {
    if (d % 4 == 0 && k < d) return store(row, At<4>{k}, part);
    for (int l = 0; l < 4 && k + l < d; ++l) row[k + l] = part[l];
}

// A warp brings one row in, zeros after its end.
template <int DIMS> DEVICE inline void stage(Real* to, const Real* row, int d) {
#pragma unroll
    for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
        int k = first_dimension(part);
        store(to, At<4>{k}, load_part(row, k, d));
    }
}

// A sum as eight independent ones, for the host's vectors and the GPU's pipeline alike; total() halves them, as vectors do.
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
// The sum of the values that a warp's lanes left in scratch; cheaper on the host than shuffles.
DEVICE inline Real total_of_lanes(const Real* scratch) {
    Lanes<8> sums = load(scratch, At<8>{0});
    for (int i = 8; i < 32; i += 8) {
        auto more = load(scratch, At<8>{i});
        for (int l = 0; l < 8; ++l) sums[l] += more[l];
    }
    return total(sums);
}

// Norms of the block's queries, once they are staged.
template <int DIMS> DEVICE inline void norms_of_queries(const Problem& problem, const Shared& shared) {
    if (threadIdx.x >= QUERIES) return;
    Lanes<8> square = {};
#pragma unroll 1
    for (int k = 0; k < problem.d; k += 8) {
        auto part = load(shared.queries(), At<8>{(int)threadIdx.x * DIMS + k});
        add_products(square, part, part);
    }
    shared.query_norms()[threadIdx.x] = square_root(total(square));
}

// Weights of a key for queries `first` to `first` + PAIRS, from its products with them and, the last, with itself.
// weigh(q, key, cosine, exp(s), 1 / (|z_key| + TINY)) is what query q shall add up of the key, a Position.
template <int KEYS, int PAIRS, typename Weigh>
DEVICE inline void weigh_key(const Problem& problem, const Shared& shared, int key, int slot, int first,
                             const Lanes<8> (&products)[PAIRS + 1], Weigh weigh) {
    Real inverse = 1 / (square_root(total(products[PAIRS])) + TINY);
    if (first == 0) shared.key_inverses()[slot] = inverse;
    Position position = problem.position(key);
#pragma unroll
    for (int pair = 0; pair < PAIRS; ++pair) {
        int q = first + pair;
        Real cosine = total(products[pair]) * inverse / (shared.query_norms()[q] + TINY);
        bool counts = problem.has_query(q) && problem.first_query + q != key;
        Real exp_s = exponential(cosine * problem.inverse_temperature);
        shared.weights()[q * KEYS + slot] = counts ? weigh(q, position, cosine, exp_s, inverse) : (Real)0;
    }
}

// Fills weights and inverse norms for the tile of keys from `first_key`: a thread compares one key with PAIRS queries.
template <int DIMS, typename Weigh>
DEVICE inline void compare(const Problem& problem, const Shared& shared, int first_key, Weigh weigh) {
    constexpr int KEYS = Shape<DIMS>::KEYS, PAIRS = Shape<DIMS>::PAIRS;
    int slot = threadIdx.x % KEYS, first = threadIdx.x / KEYS * PAIRS, key = first_key + slot;
    if (key >= problem.rows || first >= QUERIES) return;
    const Real* z_key = shared.tile + slot * Shape<DIMS>::STRIDE;
    const Real* z_query = shared.queries() + first * DIMS;
    Lanes<8> products[PAIRS + 1] = {};
#pragma unroll 1
    for (int k = 0; k < problem.d; k += 8) {
        auto part = load(z_key, At<8>{k});
#pragma unroll
        for (int pair = 0; pair <= PAIRS; ++pair) {
            add_products(products[pair], part, load(pair < PAIRS ? z_query + pair * DIMS : z_key, At<8>{k}));
        }
    }
    weigh_key<KEYS, PAIRS>(problem, shared, key, slot, first, products, weigh);
}

// Adds a tile's weights, and with `rows` its weighted rows, to the sums of the warp's queries. Tile sums are added to the whole, so that
// rounding errors grow with the root of the number of tiles.
template <int DIMS> DEVICE inline void accumulate(const Problem& problem, const Shared& shared, int keys, bool rows, Sums<DIMS>& sums) {
    constexpr int KEYS = Shape<DIMS>::KEYS, STRIDE = Shape<DIMS>::STRIDE;
    const Real* weights = shared.weights() + warp_id() * QUERIES_PER_WARP * KEYS;
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        for (int key = lane_id(); key < keys; key += 32) sums.weight[slot] += weights[slot * KEYS + key];
    }
    if (!rows) return;
    const Real* inverses = shared.key_inverses();
#pragma unroll
    for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
        int k = first_dimension(part);
        if (k >= problem.d) break;
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
            for (int l = 0; l < 4; ++l) sums.row[slot][part][l] += tile_sum[slot][l];
        }
    }
}

// Walks over all keys of the group; `rows`: whether the weighted keys are wanted, beside the weights.
template <int DIMS, typename Weigh>
DEVICE inline Sums<DIMS> attend(const Problem& problem, const Shared& shared, bool rows, Weigh weigh) {
    constexpr int KEYS = Shape<DIMS>::KEYS, STRIDE = Shape<DIMS>::STRIDE;
    for (int q = warp_id(); q < QUERIES; q += WARPS) {
        Position at = problem.query(problem.has_query(q) ? q : 0);
        stage<DIMS>(shared.queries() + q * DIMS, problem.z + problem.row(at) * problem.d, problem.d);
    }
    __syncthreads();
    norms_of_queries<DIMS>(problem, shared);
    Sums<DIMS> sums;
    Position at = problem.position(warp_id());
    for (int first_key = 0; first_key < problem.rows; first_key += KEYS) {
        int keys = problem.rows - first_key < KEYS ? problem.rows - first_key : KEYS;
        for (int key = warp_id(); key < keys; key += WARPS) {
            stage<DIMS>(shared.tile + key * STRIDE, problem.z + problem.row(at) * problem.d, problem.d);
            at.advance(WARPS, problem.group_batch);
        }
        __syncthreads();
        compare<DIMS>(problem, shared, first_key, weigh);
        __syncthreads();
        accumulate<DIMS>(problem, shared, keys, rows, sums);
        __syncthreads();
    }
    return sums;
}

// Leaves what each lane added up for the warp's queries where `total_of_lanes` finds it. All threads of the block take part.
DEVICE inline void share_weights(const Shared& shared, int which, const Real (&weight)[QUERIES_PER_WARP]) {
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        shared.scratch(which, warp_id() * QUERIES_PER_WARP + slot)[lane_id()] = weight[slot];
    }
    __syncthreads();
}

// d_z of the warp's queries from the gradient by z^ in `sums`: through z^ = z / (|z| + TINY), times `scale`. At |z| = 0 the norm counts as
// constant, as PyTorch has it. All threads of the block take part.
template <int DIMS>
DEVICE inline void through_normalisation(const Problem& problem, const Shared& shared, int64_t gradient_rows, Real scale,
                                         const Sums<DIMS>& sums, Real* d_z) {
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        Real along = 0;
#pragma unroll
        for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
            auto z = load(shared.queries(), At<4>{q * DIMS + first_dimension(part)});
            for (int l = 0; l < 4; ++l) along = multiply_add(sums.row[slot][part][l], z[l], along);
        }
        shared.scratch(1, q)[lane_id()] = along;
    }
    __syncthreads();
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        int64_t row = problem.has_query(q) ? problem.row(problem.query(q)) : gradient_rows;
        if (row >= gradient_rows) continue;
        Real norm = shared.query_norms()[q], inverse = 1 / (norm + TINY);
        Real back = norm > 0 ? total_of_lanes(shared.scratch(1, q)) / norm * inverse : (Real)0;
#pragma unroll
        for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
            int k = first_dimension(part);
            auto z = load(shared.queries(), At<4>{q * DIMS + k});
            Lanes<4> slope;
            for (int l = 0; l < 4; ++l) slope[l] = scale * inverse * (sums.row[slot][part][l] - z[l] * back);
            store_part(d_z + row * problem.d, k, problem.d, slope);
        }
    }
}
