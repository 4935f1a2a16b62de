// One step of projected gradient descent in the L-infinity ball (Madry et al. 2018; RoCL, Algorithm 1, the inner loop).
// Reads x, the gradient and the clean image, writes x: three loads and a store per pixel, nothing else touches memory.
#include "rocl.cuh"

// x <- clamp(x + step_size * sign(gradient)) to [0, 1] and to [clean - epsilon, clean + epsilon]; sign(0) = 0.
// A NaN in the gradient leaves its pixel where it is, since both comparisons in sign() are false.
KERNEL(pgd_linf_step)(Real* INPLACE x, const Real* gradient, const Real* clean, Real step_size, Real epsilon, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto adversary = load(x, at), slope = load(gradient, at), origin = load(clean, at);
        for (int k = 0; k < at.lanes; ++k) {
            Real moved = clamp(adversary[k] + step_size * sign(slope[k]), 0, 1);
            adversary[k] = clamp(moved, origin[k] - epsilon, origin[k] + epsilon);
        }
        store(x, at, adversary);
    });
}
