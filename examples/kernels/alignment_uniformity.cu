// Alignment and uniformity (Wang & Isola 2020) of embeddings from several views, with the gradient.
//
// z is [views * batch, d], view after view. With u = z / |z|, e_ij = exp(-t |u_i - u_j|^2), and S_v the sum of e_ij over the ordered pairs i, j of
// different images of view v,
//     loss = mean of |u_i - u_p|^2 over the ordered pairs i, p of views of an image + lambda * mean over v of log(S_v / (batch (batch - 1))).
// Hence, with n = views * batch,
//     d loss / d u_i = 4 / (n (views - 1)) sum over p of (u_i - u_p) - 4 lambda t / (views S_v) sum over j of e_ij (u_i - u_j).
//
// A block has a row; rows are read from cache but for the first time.
#include "rocl.cuh"
#include "block.cuh"

// Threads of a block that compares rows; a thread holds DIMENSIONS numbers of a gradient.
constexpr int THREADS = 128, DIMENSIONS = 2;

// |a - b|^2, of rows that begin at multiples of four numbers.
DEVICE inline Real square_distance(const Real* a, const Real* b, int32_t d) {
    Lanes<4> sums = {};
    for (int32_t k = 0; k < d; k += 4) {
        auto difference = load(a, At<4>{k}) - load(b, At<4>{k});
        for (int lane = 0; lane < 4; ++lane) sums[lane] = multiply_add(difference[lane], difference[lane], sums[lane]);
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// u <- z / |z|, and 1 / |z|, a row for each warp. A row of zeros stays one.
COOPERATIVE_KERNEL(unit_rows)(const Real* z, int32_t d, Real* u, Real* inverse_norms) {
    int64_t first = (int64_t)blockIdx.x * d;
    Real square = 0;
    for (int32_t k = lane_id(); k < d; k += 32) square = multiply_add(z[first + k], z[first + k], square);
    Real inverse = 1 / maximum(square_root(warp_sum(square)), (Real)1e-12);
    for (int32_t k = lane_id(); k < d; k += 32) u[first + k] = z[first + k] * inverse;
    if (lane_id() == 0) inverse_norms[blockIdx.x] = inverse;
}

// For each row i, the sum of |u_i - u_p|^2 over the other views of its image, and of e_ij over the other images of its view.
COOPERATIVE_KERNEL(distances_of_rows)(const Real* u, int32_t views, int32_t batch, int32_t d, Real t, Real* near, Real* potential) {
    SHARED(Real, scratch, 2 * THREADS);
    int32_t view = blockIdx.x / batch, image = blockIdx.x % batch;
    const Real* row = u + (int64_t)blockIdx.x * d;
    Real apart = 0, energy = 0;
    for (int32_t other = threadIdx.x; other < views; other += THREADS) {
        if (other != view) apart += square_distance(row, u + ((int64_t)other * batch + image) * d, d);
    }
    for (int32_t other = threadIdx.x; other < batch; other += THREADS) {
        if (other != image) energy += exponential(-t * square_distance(row, u + ((int64_t)view * batch + other) * d, d));
    }
    apart = block_sum(apart, scratch);
    energy = block_sum(energy, scratch + THREADS);
    if (threadIdx.x == 0) {
        near[blockIdx.x] = apart;
        potential[blockIdx.x] = energy;
    }
}

// weight times the loss, from what `distances_of_rows` left; one warp.
COOPERATIVE_KERNEL(alignment_uniformity)(const Real* near, const Real* potential, int32_t views, int32_t batch, Real lambda, Real weight,
                                         Real* loss) {
    Real alignment = 0, uniformity = 0, pairs = (Real)batch * (Real)(batch - 1);
    for (int32_t i = lane_id(); i < views * batch; i += 32) alignment += near[i];
    alignment = warp_sum(alignment) / ((Real)(views * batch) * (Real)(views - 1));
    for (int32_t view = 0; view < views; ++view) {
        Real energy = 0;
        for (int32_t i = lane_id(); i < batch; i += 32) energy += potential[view * batch + i];
        uniformity += logarithm(warp_sum(energy) / pairs);
    }
    if (lane_id() == 0) loss[0] = weight * (alignment + lambda * uniformity / (Real)views);
}

// d_z <- weight times the gradient, of as many rows as there are blocks.
COOPERATIVE_KERNEL(alignment_uniformity_gradient)(const Real* u, const Real* inverse_norms, const Real* potential, int32_t views, int32_t batch,
                                                  int32_t d, Real t, Real lambda, Real weight, Real* d_z) {
    SHARED(Real, scratch, 2 * THREADS);
    SHARED(Real, energies, THREADS);
    int32_t view = blockIdx.x / batch, image = blockIdx.x % batch;
    const Real *row = u + (int64_t)blockIdx.x * d, *first_of_view = u + (int64_t)view * batch * d;

    Real mine = 0;
    for (int32_t i = threadIdx.x; i < batch; i += THREADS) mine += potential[view * batch + i];
    Real pull = 4 / ((Real)(views * batch) * (Real)(views - 1));
    Real push = 4 * lambda * t / ((Real)views * sum_for_all(mine, scratch));

    Real slope[DIMENSIONS] = {};
    for (int32_t first = 0; first < batch; first += THREADS) {
        int32_t other = first + threadIdx.x;
        bool counts = other < batch && other != image;
        energies[threadIdx.x] = counts ? exponential(-t * square_distance(row, first_of_view + (int64_t)other * d, d)) : (Real)0;
        __syncthreads();
        int32_t here = batch - first < THREADS ? batch - first : THREADS;
        for (int part = 0; part < DIMENSIONS; ++part) {
            int32_t k = part * THREADS + threadIdx.x;
            if (k >= d) break;
            for (int32_t i = 0; i < here; ++i) slope[part] -= energies[i] * (row[k] - first_of_view[(int64_t)(first + i) * d + k]);
        }
        __syncthreads();
    }
    Real along = 0;
    for (int part = 0; part < DIMENSIONS; ++part) {
        int32_t k = part * THREADS + threadIdx.x;
        if (k >= d) break;
        slope[part] *= push;
        for (int32_t other = 0; other < views; ++other) slope[part] += pull * (row[k] - u[((int64_t)other * batch + image) * d + k]);
        along = multiply_add(slope[part], row[k], along);
    }
    // Through u = z / |z|: what points along u changes nothing.
    along = sum_for_all(along, scratch + THREADS);
    for (int part = 0; part < DIMENSIONS; ++part) {
        int32_t k = part * THREADS + threadIdx.x;
        if (k < d) d_z[(int64_t)blockIdx.x * d + k] = weight * inverse_norms[blockIdx.x] * (slope[part] - along * row[k]);
    }
}
