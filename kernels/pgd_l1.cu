// One step of projected gradient descent in the L1 ball: SLIDE, sparse L1 descent (Tramer & Boneh 2019), with the exact projection of Croce &
// Hein (2021). A block has an image, in registers: reads x twice, the gradient and the clean image, writes x.
#include "rocl.cuh"
#include "ball.cuh"

namespace pgd_l1 {

// Numbers rank by magnitude, and among equals the first wins: a key for each, all different but for those of zero, which do not take part.
constexpr int PLACES = 12;
static_assert(ball::ELEMENTS <= 1 << PLACES, "a place has that many bits");
constexpr int64_t LARGEST_KEY = (int64_t)0x7f800000 << PLACES | ((1 << PLACES) - 1);

DEVICE inline int64_t key(Real slope, int32_t place) {
    int64_t bits = __float_as_int((float)magnitude(slope));
    return bits == 0 ? 0 : bits << PLACES | ((1 << PLACES) - 1 - place);
}

}  // namespace pgd_l1

// x <- P(x + step), where the step has the signs of the `most` largest gradients, is zero elsewhere, and has |step|_1 = step_size; P is the nearest
// point of the epsilon-ball around clean and of [0, 1]. A pixel at 0 or 1 that the step would take outside gives its place to another; so does a NaN.
COOPERATIVE_KERNEL(pgd_l1_step)(Real* INPLACE x, const Real* gradient, const Real* clean, Real step_size, Real epsilon, int32_t most) {
    using namespace ball;
    SHARED(double, scratch, SCRATCH);
    Own slope = fetch(gradient), offset = fetch(x);
#pragma unroll
    for (int k = 0; k < OWN; ++k) {
        bool moves = (slope[k] > 0 && offset[k] < 1) || (slope[k] < 0 && offset[k] > 0);
        slope[k] = moves ? slope[k] : (Real)0;
    }
    auto ranks_above = [&](int k, int64_t threshold) { return pgd_l1::key(slope[k], place(k)) > threshold; };
    // Counts are exact in double, too.
    int64_t threshold = first(pgd_l1::LARGEST_KEY, [&](int64_t key) {
        return sum(scratch, [&](int k) { return ranks_above(k, key) ? 1.0 : 0.0; }) - most;
    });
    double count = sum(scratch, [&](int k) { return ranks_above(k, threshold) ? 1.0 : 0.0; });
    Real step = count > 0 ? step_size / (Real)count : (Real)0;
    Own origin = fetch(clean);
#pragma unroll
    for (int k = 0; k < OWN; ++k) {
        offset[k] = offset[k] + (ranks_above(k, threshold) ? sign(slope[k]) * step : (Real)0) - origin[k];
    }
    put(x, nearest_in_l1(origin, offset, epsilon, scratch));
}
