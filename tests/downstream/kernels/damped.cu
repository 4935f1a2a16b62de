// Gradient ascent in the L-infinity ball by a fraction of the gradient's size. Reads x, the gradient and the clean image; writes x.
#include "rocl.cuh"
#include "damping.cuh"

// x <- clamp(x + step_size * damped(gradient)) to [0, 1] and to [clean - epsilon, clean + epsilon].
KERNEL(damped_linf_step)(Real* INPLACE x, const Real* gradient, const Real* clean, Real step_size, Real epsilon, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto adversary = load(x, at), slope = load(gradient, at), origin = load(clean, at);
        for (int k = 0; k < at.lanes; ++k) {
            Real moved = clamp(adversary[k] + step_size * damped(slope[k]), 0, 1);
            adversary[k] = clamp(moved, origin[k] - epsilon, origin[k] + epsilon);
        }
        store(x, at, adversary);
    });
}
