// NT-Xent, the contrastive loss (Chen et al. 2020; RoCL, Equation 1), over any number of views, with its gradient.
//
// z is [views * batch, d], view after view; groups of consecutive images are independent problems. Within a group of n rows, with
// z^ = z / (|z| + TINY), s = z^ z^T / temperature,
//     P_ij = exp(s_ij) / (S_i + TINY), S_i = sum over j != i of exp(s_ij);   loss = mean over i of sum over p of -log(P_ip + TINY),
// where p runs over the same image in the other views. Hence, with w_ip = P_ip / (P_ip + TINY) and W_i = sum over p of w_ip,
//     n d loss / d s_ij = G_ij = W_i P_ij - w_ij [j is a positive of i].
// With the keys detached, row i of the gradient is sum_j G_ij z^_j / temperature, taken through the normalisation; in full, G_ij + G_ji.
//
// A block adds exp(s_ij) and exp(s_ij) z^_j up in one walk over its group (attend.cuh) and applies S_i and the positives at the end, so the
// detached form is one launch; the full one needs every S first, thus two. No maximum is taken out before exp: |s| <= 1 / temperature.
// Every block reads its group's z once, from cache but for the first, and writes a gradient row per query. Beyond 256 dimensions (attend_wide.cuh)
// it reads z twice, and gathers in its gradient rows.
#include "rocl.cuh"
#include "attend.cuh"
#include "attend_wide.cuh"

// The weight of a key is exp(s); those of the positives are noted on the way.
DEVICE inline auto noting_positives(const Problem& problem, const Shared& shared) {
    return [=, first = problem.query(0)](int q, Position key, Real, Real exp_s, Real inverse) {
        Position query = first;
        query.advance(q, problem.group_batch);
        if (query.image == key.image) {
            shared.positives()[q * MOST_VIEWS + key.view] = exp_s;
            shared.positive_inverses()[q * MOST_VIEWS + key.view] = inverse;
        }
        return exp_s;
    };
}

// 1 / (S + TINY) and W of a query.
struct OfQuery {
    Real inverse_sum, pull;
};

// Writes the loss of query q, and what the full gradient needs of it; behind `share_weights` and what `noting_positives` noted.
DEVICE inline OfQuery loss_of_query(const Problem& problem, const Shared& shared, int q, Position query, Real* row_loss,
                                    Real* inverse_sums, Real* pulls) {
    const Real* exps = shared.positives() + q * MOST_VIEWS;
    Real inverse_sum = 1 / (total_of_lanes(shared.scratch(0, q)) + TINY), loss = 0, pull = 0;
    for (int view = 0; view < problem.views; ++view) {
        if (view == query.view) continue;
        Real p = exps[view] * inverse_sum;
        pull += p / (p + TINY);
        if (lane_id() == 0) loss -= logarithm(p + TINY);
    }
    if (lane_id() == 0) {
        int64_t row = problem.row(query);
        row_loss[row] = loss;
        if (inverse_sums) inverse_sums[row] = inverse_sum;
        if (pulls) pulls[row] = pull;
    }
    return {inverse_sum, pull};
}

// What query q takes of the z of a positive, its own image in another view.
DEVICE inline Real pull_of_positive(const Shared& shared, int q, int view, const OfQuery& of) {
    Real p = shared.positives()[q * MOST_VIEWS + view] * of.inverse_sum;
    return -p / (p + TINY) * shared.positive_inverses()[q * MOST_VIEWS + view];
}

template <int DIMS>
DEVICE inline void losses(const Problem& problem, const Shared& shared, Real scale, int64_t gradient_rows, Real* row_loss,
                          Real* inverse_sums, Real* pulls, Real* d_z) {
    bool rows = d_z && problem.needs_gradient(gradient_rows);
    auto sums = attend<DIMS>(problem, shared, rows, noting_positives(problem, shared));
    share_weights(shared, 0, sums.weight);
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        if (!problem.has_query(q)) continue;
        Position query = problem.query(q), positive = query;
        OfQuery of = loss_of_query(problem, shared, q, query, row_loss, inverse_sums, pulls);
        if (!rows) continue;
#pragma unroll
        for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
            for (int l = 0; l < 4; ++l) sums.row[slot][part][l] *= of.pull * of.inverse_sum;
        }
        for (positive.view = 0; positive.view < problem.views; ++positive.view) {
            if (positive.view == query.view) continue;
            Real factor = pull_of_positive(shared, q, positive.view, of);
            const Real* z = problem.z + problem.row(positive) * problem.d;
#pragma unroll
            for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
                auto other = load_part(z, first_dimension(part), problem.d);
                for (int l = 0; l < 4; ++l) sums.row[slot][part][l] = multiply_add(factor, other[l], sums.row[slot][part][l]);
            }
        }
    }
    if (rows) through_normalisation<DIMS>(problem, shared, gradient_rows, scale, sums, d_z);
}

DEVICE inline void wide_losses(const Problem& problem, const Shared& shared, Real scale, int64_t gradient_rows, Real* row_loss,
                               Real* inverse_sums, Real* pulls, Real* d_z) {
    bool rows = d_z && problem.needs_gradient(gradient_rows);
    Gathered gathered(problem, d_z, gradient_rows);
    norms_of_wide_queries(problem, shared);
    auto sums = attend_wide(problem, shared, rows, gathered, noting_positives(problem, shared));
    share_weights(shared, 0, sums.weight);
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        if (!problem.has_query(q)) continue;
        Position query = problem.query(q), positive = query;
        OfQuery of = loss_of_query(problem, shared, q, query, row_loss, inverse_sums, pulls);
        Real* row = gathered.row[slot];
        if (!row) continue;
        for (int k = first_dimension(0); k < problem.d; k += SLICE) {
            auto sum = load_part(row, k, problem.d);
            for (int l = 0; l < 4; ++l) sum[l] *= of.pull * of.inverse_sum;
            for (positive.view = 0; positive.view < problem.views; ++positive.view) {
                if (positive.view == query.view) continue;
                Real factor = pull_of_positive(shared, q, positive.view, of);
                auto other = load_part(problem.z + problem.row(positive) * problem.d, k, problem.d);
                for (int l = 0; l < 4; ++l) sum[l] = multiply_add(factor, other[l], sum[l]);
            }
            store_part(row, k, problem.d, sum);
        }
    }
    if (rows) through_wide_normalisation(problem, shared, scale, gathered);
}

// The loss of every row, and with `d_z` the gradient of rows below gradient_rows with the keys detached, times `scale` = weight / (rows *
// temperature). With `inverse_sums` and `pulls`: 1 / (S + TINY) and W of every row, for the full gradient. QUERIES rows of a group per block.
COOPERATIVE_KERNEL(nt_xent)(const Real* z, int32_t views, int32_t batch, int32_t group_batch, int32_t d, Real inverse_temperature,
                            Real scale, int64_t gradient_rows, Real* row_loss, Real* OPTIONAL inverse_sums, Real* OPTIONAL pulls,
                            Real* OPTIONAL d_z) {
    SHARED(Real, memory, Shared::SIZE);
    Problem problem = {z, views, batch, group_batch, d, inverse_temperature, 0, 0, 0};
    problem.locate();
    if (d <= 128) losses<128>(problem, {memory}, scale, gradient_rows, row_loss, inverse_sums, pulls, d_z);
    else if (d <= 256) losses<256>(problem, {memory}, scale, gradient_rows, row_loss, inverse_sums, pulls, d_z);
    else wide_losses(problem, {memory}, scale, gradient_rows, row_loss, inverse_sums, pulls, d_z);
}

// The weight of a key is G_ij + G_ji.
DEVICE inline auto full_weight(const Problem& problem, const Real* inverse_sums, const Real* pulls) {
    return [=, first = problem.query(0)](int query_index, Position key, Real, Real exp_s, Real) {
        Position query = first;
        query.advance(query_index, problem.group_batch);
        int64_t i = problem.row(query), j = problem.row(key);
        Real p = exp_s * inverse_sums[i], q = exp_s * inverse_sums[j];
        Real push = p * pulls[i] + q * pulls[j];
        return query.image == key.image ? push - (p / (p + TINY) + q / (q + TINY)) : push;
    };
}

template <int DIMS>
DEVICE inline void full_gradient(const Problem& problem, const Shared& shared, Real scale, int64_t gradient_rows, const Real* inverse_sums,
                                 const Real* pulls, Real* d_z) {
    if (!problem.needs_gradient(gradient_rows)) return;
    auto sums = attend<DIMS>(problem, shared, true, full_weight(problem, inverse_sums, pulls));
    through_normalisation<DIMS>(problem, shared, gradient_rows, scale, sums, d_z);
}

DEVICE inline void wide_full_gradient(const Problem& problem, const Shared& shared, Real scale, int64_t gradient_rows,
                                      const Real* inverse_sums, const Real* pulls, Real* d_z) {
    if (!problem.needs_gradient(gradient_rows)) return;
    Gathered gathered(problem, d_z, gradient_rows);
    norms_of_wide_queries(problem, shared);
    attend_wide(problem, shared, true, gathered, full_weight(problem, inverse_sums, pulls));
    through_wide_normalisation(problem, shared, scale, gathered);
}

// The gradient of rows below gradient_rows with the keys attached, from what `nt_xent` left of every row.
COOPERATIVE_KERNEL(nt_xent_full_gradient)(const Real* z, int32_t views, int32_t batch, int32_t group_batch, int32_t d,
                                          Real inverse_temperature, Real scale, int64_t gradient_rows, const Real* inverse_sums,
                                          const Real* pulls, Real* d_z) {
    SHARED(Real, memory, Shared::SIZE);
    Problem problem = {z, views, batch, group_batch, d, inverse_temperature, 0, 0, 0};
    problem.locate();
    if (d <= 128) full_gradient<128>(problem, {memory}, scale, gradient_rows, inverse_sums, pulls, d_z);
    else if (d <= 256) full_gradient<256>(problem, {memory}, scale, gradient_rows, inverse_sums, pulls, d_z);
    else wide_full_gradient(problem, {memory}, scale, gradient_rows, inverse_sums, pulls, d_z);
}
