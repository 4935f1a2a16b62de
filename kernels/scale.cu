// Gradients multiplied by powers of two as they are rounded to a 16-bit type, so that they do not vanish in it; powers of two cost no bits.
#include "rocl.cuh"

// y = x times the power of two that brings the row's largest magnitude to [2^binade, 2^(binade + 1)); unscale[row] is the power's inverse.
// A row of zeros, or with an infinity, stays as it is. x and y are [rows, columns]; a block of one warp has a row.
COOPERATIVE_KERNEL(scale_rows)(const Real* x, T* y, Real* unscale, int32_t columns, int32_t binade) {
    SHARED(Real, largest, 32);
    const Real* row = x + blockIdx.x * (int64_t)columns;
    Real most = 0;
    for (int32_t c = lane_id(); c < columns; c += 32) most = maximum(magnitude(row[c]), most);
    largest[lane_id()] = most;
    __syncthreads();
    for (int lane = 0; lane < 32; ++lane) most = maximum(largest[lane], most);
    bool scales = most > 0 && is_finite(most);
    // Within the exponents whose inverse is a normal float, too.
    int power = scales ? (int)clamp((Real)(binade - exponent(most)), -126, 126) : 0;
    Real scale = power_of_two(power);
    for (int32_t c = lane_id(); c < columns; c += 32) y[blockIdx.x * (int64_t)columns + c] = from_real<T>::convert(row[c] * scale);
    if (lane_id() == 0) unscale[blockIdx.x] = power_of_two(-power);
}

// y = x times the loss scale of this step.
KERNEL(scale_by_loss_scale)(const Real* x, const Real* factors, T* y, int64_t n) {
    Real scale = factors[0];
    for_each_vector(n, [=](auto at) { store(y, at, load(x, at) * scale); });
}
