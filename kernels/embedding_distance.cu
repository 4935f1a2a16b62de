// Distances between the embeddings of two views, with their gradients: what an instance-wise attack can increase in place of NT-Xent. Reads z once
// from memory and again from cache, writes the gradient.
#include "rocl.cuh"

constexpr int32_t MSE = 0, L1 = 1, COSINE = 2;
// Below it a norm counts as this much.
constexpr Real TINY = (Real)1e-8;

// The sum of what the lanes of the only warp have; in the same order for each of them.
DEVICE inline Real lanes_total(Real mine, Real* scratch) {
    scratch[lane_id()] = mine;
    __syncthreads();
    Real sum = 0;
    for (int lane = 0; lane < 32; ++lane) sum += scratch[lane];
    return sum;
}

// z is [2 * batch, d]; a block of one warp has row i, a, and row batch + i, b. row_loss[i] is the mean over d of (a - b)^2 or of |a - b|, or
// 1 - a b / (|a| |b|); rows of d_z below gradient_rows receive row_weight times its gradient, sign(0) being 0.
COOPERATIVE_KERNEL(embedding_distance)(const Real* z, int32_t kind, int64_t batch, int32_t d, Real row_weight, int64_t gradient_rows,
                                       Real* row_loss, Real* d_z) {
    SHARED(Real, scratch, 3 * 32);
    int64_t row = blockIdx.x;
    const Real *a = z + row * d, *b = z + (batch + row) * d;
    Real *d_a = row < gradient_rows ? d_z + row * d : nullptr, *d_b = batch + row < gradient_rows ? d_z + (batch + row) * d : nullptr;
    if (kind == COSINE) {
        Real product = 0, square_a = 0, square_b = 0;
        for (int32_t k = lane_id(); k < d; k += 32) {
            product = multiply_add(a[k], b[k], product);
            square_a = multiply_add(a[k], a[k], square_a);
            square_b = multiply_add(b[k], b[k], square_b);
        }
        product = lanes_total(product, scratch);
        Real inverse_a = 1 / maximum(square_root(lanes_total(square_a, scratch + 32)), TINY);
        Real inverse_b = 1 / maximum(square_root(lanes_total(square_b, scratch + 64)), TINY);
        Real cosine = product * inverse_a * inverse_b;
        for (int32_t k = lane_id(); k < d; k += 32) {
            Real unit_a = a[k] * inverse_a, unit_b = b[k] * inverse_b;
            if (d_a) d_a[k] = row_weight * inverse_a * (cosine * unit_a - unit_b);
            if (d_b) d_b[k] = row_weight * inverse_b * (cosine * unit_b - unit_a);
        }
        if (lane_id() == 0) row_loss[row] = 1 - cosine;
    } else {
        Real sum = 0, inverse = 1 / (Real)d;
        for (int32_t k = lane_id(); k < d; k += 32) {
            Real apart = a[k] - b[k];
            sum += kind == MSE ? apart * apart : magnitude(apart);
            Real slope = row_weight * inverse * (kind == MSE ? 2 * apart : sign(apart));
            if (d_a) d_a[k] = slope;
            if (d_b) d_b[k] = -slope;
        }
        sum = lanes_total(sum, scratch);
        if (lane_id() == 0) row_loss[row] = sum * inverse;
    }
}
