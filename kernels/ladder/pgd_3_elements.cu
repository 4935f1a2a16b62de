// PGD, rung 3: neighbouring threads take neighbouring elements, one at a time. See pgd.md.
#include "rocl.cuh"

KERNEL(ladder_pgd_elements)(Real* INPLACE x, const Real* gradient, const Real* clean, Real step_size, Real epsilon, int64_t n) {
    for_each(n, [=](int64_t i) {
        Real moved = clamp(x[i] + step_size * sign(gradient[i]), 0, 1);
        x[i] = clamp(moved, clean[i] - epsilon, clean[i] + epsilon);
    });
}
