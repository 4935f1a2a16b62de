// SupCon, the supervised contrastive loss (Khosla et al. 2020, L_out of Equation 2), over any number of views, with its gradient.
//
// z is [views * batch, d], view after view, and labels [batch]. With z^ = z / (|z| + TINY), s = z^ z^T / temperature,
// S_i = sum over j != i of exp(s_ij), and P_i all rows of the label of i but i itself,
//     loss = mean over i of (log S_i - mean over p in P_i of s_ip).
// Hence n d loss / d s_ij = G_ij = exp(s_ij) / S_i - [j in P_i] / |P_i|; row i of the gradient is sum_j (G_ij + G_ji) z^_j / temperature, taken through
// the normalisation, and with the keys detached that without G_ji.
//
// Three walks over all rows (attend.cuh): for S; for the mean of the positives, whose z^ has s_ip in its product with z^_i; and for the gradient, which
// needs every S and is a launch of its own. Each block reads z once per walk, from cache but for the first. Beyond 256 dimensions (attend_wide.cuh) the
// mean of the positives takes two walks, for their number and their cosines, and that for the gradient reads z twice.
#include "rocl.cuh"
#include "attend.cuh"
#include "attend_wide.cuh"

// Whether a key has the label of a query.
DEVICE inline auto likeness(const Problem& problem, const int32_t* labels) {
    return [=, first = problem.query(0)](int q, Position key) {
        Position query = first;
        query.advance(q, problem.group_batch);
        return labels[query.image] == labels[key.image];
    };
}

template <int DIMS>
DEVICE inline void losses(const Problem& problem, const Shared& shared, const int32_t* labels, Real* row_loss, Real* inverse_sums,
                          Real* inverse_counts) {
    auto all = attend<DIMS>(problem, shared, false, [](int, Position, Real, Real exp_s, Real) { return exp_s; });
    share_weights(shared, 0, all.weight);
    Real sums[QUERIES_PER_WARP];
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) sums[slot] = total_of_lanes(shared.scratch(0, warp_id() * QUERIES_PER_WARP + slot));
    __syncthreads();
    auto is_alike = likeness(problem, labels);
    auto alike = attend<DIMS>(problem, shared, true, [=](int q, Position key, Real, Real, Real) { return (Real)is_alike(q, key); });
    share_weights(shared, 0, alike.weight);
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        Real along = 0;
#pragma unroll
        for (int part = 0; part < Shape<DIMS>::PARTS; ++part) {
            auto z = load(shared.queries(), At<4>{q * DIMS + first_dimension(part)});
            for (int l = 0; l < 4; ++l) along = multiply_add(alike.row[slot][part][l], z[l], along);
        }
        shared.scratch(1, q)[lane_id()] = along;
    }
    __syncthreads();
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        if (!problem.has_query(q) || lane_id() != 0) continue;
        int64_t row = problem.row(problem.query(q));
        Real inverse_count = 1 / total_of_lanes(shared.scratch(0, q));
        Real cosines = total_of_lanes(shared.scratch(1, q)) / (shared.query_norms()[q] + TINY);
        row_loss[row] = logarithm(sums[slot]) - cosines * inverse_count * problem.inverse_temperature;
        inverse_sums[row] = 1 / sums[slot];
        inverse_counts[row] = inverse_count;
    }
}

DEVICE inline void wide_losses(const Problem& problem, const Shared& shared, const int32_t* labels, Real* row_loss, Real* inverse_sums,
                               Real* inverse_counts) {
    Gathered none(problem, nullptr, 0);
    norms_of_wide_queries(problem, shared);
    // Of the warp's queries: S, |P|, and the sum of the positives' cosines.
    Real sums[3][QUERIES_PER_WARP];
    auto is_alike = likeness(problem, labels);
    auto walk = [&](Real (&sums)[QUERIES_PER_WARP], auto weigh) {
        auto found = attend_wide(problem, shared, false, none, weigh);
        share_weights(shared, 0, found.weight);
#pragma unroll
        for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) sums[slot] = total_of_lanes(shared.scratch(0, warp_id() * QUERIES_PER_WARP + slot));
        __syncthreads();
    };
    walk(sums[0], [](int, Position, Real, Real exp_s, Real) { return exp_s; });
    walk(sums[1], [=](int q, Position key, Real, Real, Real) { return (Real)is_alike(q, key); });
    walk(sums[2], [=](int q, Position key, Real cosine, Real, Real) { return is_alike(q, key) ? cosine : (Real)0; });
#pragma unroll
    for (int slot = 0; slot < QUERIES_PER_WARP; ++slot) {
        int q = warp_id() * QUERIES_PER_WARP + slot;
        if (!problem.has_query(q) || lane_id() != 0) continue;
        int64_t row = problem.row(problem.query(q));
        Real inverse_count = 1 / sums[1][slot];
        row_loss[row] = logarithm(sums[0][slot]) - sums[2][slot] * inverse_count * problem.inverse_temperature;
        inverse_sums[row] = 1 / sums[0][slot];
        inverse_counts[row] = inverse_count;
    }
}

// The loss of every row; 1 / S and 1 / |P| of every row, for the gradient. QUERIES rows per block. The other views of an image are positives, so none is
// without.
COOPERATIVE_KERNEL(sup_con)(const Real* z, const int32_t* labels, int32_t views, int32_t batch, int32_t d, Real inverse_temperature,
                            Real* row_loss, Real* inverse_sums, Real* inverse_counts) {
    SHARED(Real, memory, Shared::SIZE);
    Problem problem = {z, views, batch, batch, d, inverse_temperature, 0, 0, 0};
    problem.locate();
    if (d <= 128) losses<128>(problem, {memory}, labels, row_loss, inverse_sums, inverse_counts);
    else if (d <= 256) losses<256>(problem, {memory}, labels, row_loss, inverse_sums, inverse_counts);
    else wide_losses(problem, {memory}, labels, row_loss, inverse_sums, inverse_counts);
}

// The weight of a key is G_ij, and with the keys attached + G_ji.
DEVICE inline auto pushing(const Problem& problem, const int32_t* labels, int32_t detach_keys, const Real* inverse_sums,
                           const Real* inverse_counts) {
    return [=, first = problem.query(0)](int q, Position key, Real, Real exp_s, Real) {
        Position query = first;
        query.advance(q, problem.group_batch);
        int64_t i = problem.row(query), j = problem.row(key);
        bool alike = labels[query.image] == labels[key.image];
        Real push = exp_s * inverse_sums[i] - (alike ? inverse_counts[i] : (Real)0);
        return detach_keys ? push : push + (exp_s * inverse_sums[j] - (alike ? inverse_counts[j] : (Real)0));
    };
}

template <int DIMS, typename Weigh>
DEVICE inline void gradient(const Problem& problem, const Shared& shared, Real scale, int64_t gradient_rows, Weigh weigh, Real* d_z) {
    if (!problem.needs_gradient(gradient_rows)) return;
    auto sums = attend<DIMS>(problem, shared, true, weigh);
    through_normalisation<DIMS>(problem, shared, gradient_rows, scale, sums, d_z);
}

template <typename Weigh>
DEVICE inline void wide_gradient(const Problem& problem, const Shared& shared, Real scale, int64_t gradient_rows, Weigh weigh, Real* d_z) {
    if (!problem.needs_gradient(gradient_rows)) return;
    Gathered gathered(problem, d_z, gradient_rows);
    norms_of_wide_queries(problem, shared);
    attend_wide(problem, shared, true, gathered, weigh);
    through_wide_normalisation(problem, shared, scale, gathered);
}

// The gradient of rows below gradient_rows, times `scale` = weight / (rows * temperature), from what `sup_con` left of every row.
COOPERATIVE_KERNEL(sup_con_gradient)(const Real* z, const int32_t* labels, int32_t views, int32_t batch, int32_t d, Real inverse_temperature,
                                     Real scale, int32_t detach_keys, int64_t gradient_rows, const Real* inverse_sums,
                                     const Real* inverse_counts, Real* d_z) {
    SHARED(Real, memory, Shared::SIZE);
    Problem problem = {z, views, batch, batch, d, inverse_temperature, 0, 0, 0};
    problem.locate();
    auto weigh = pushing(problem, labels, detach_keys, inverse_sums, inverse_counts);
    if (d <= 128) gradient<128>(problem, {memory}, scale, gradient_rows, weigh, d_z);
    else if (d <= 256) gradient<256>(problem, {memory}, scale, gradient_rows, weigh, d_z);
    else wide_gradient(problem, {memory}, scale, gradient_rows, weigh, d_z);
}
