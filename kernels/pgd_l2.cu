// One step of projected gradient descent in the L2 ball (Madry et al. 2018). A block has an image, in registers: reads x, the gradient and the
// clean image, writes x.
#include "rocl.cuh"
#include "ball.cuh"

// x <- P(x + step_size * gradient / |gradient|_2), with P the nearest point of the epsilon-ball around clean and of [0, 1]. An image whose gradient is
// zero, or not finite, is projected where it is.
COOPERATIVE_KERNEL(pgd_l2_step)(Real* INPLACE x, const Real* gradient, const Real* clean, Real step_size, Real epsilon) {
    using namespace ball;
    SHARED(double, scratch, SCRATCH);
    Own slope = fetch(gradient);
    // In double: no gradient of an f32 is so small or so large that its square is not there.
    double norm = sqrt(sum(scratch, [&](int k) { return (double)slope[k] * (double)slope[k]; }));
    bool moves = norm > 0 && norm - norm == 0;
    double scale = moves ? (double)step_size / norm : 0;
    Own origin = fetch(clean), offset = fetch(x);
#pragma unroll
    for (int k = 0; k < OWN; ++k) {
        Real step = moves ? (Real)((double)slope[k] * scale) : (Real)0;
        offset[k] = offset[k] + step - origin[k];
    }
    put(x, nearest_in_l2(origin, offset, epsilon, scratch));
}
