// PGD, rung 2: one kernel, in which each thread walks a range of its own, as a loop over a CPU's cores would be cut. See pgd.md.
#include "rocl.cuh"

KERNEL(ladder_pgd_ranges)(Real* INPLACE x, const Real* gradient, const Real* clean, Real step_size, Real epsilon, int64_t n) {
    int64_t share = ceil_div(n, global_threads()), begin = global_thread() * share;
    int64_t end = begin + share < n ? begin + share : n;
    HOST_INDEPENDENT
    for (int64_t i = begin; i < end; ++i) {
        Real moved = clamp(x[i] + step_size * sign(gradient[i]), 0, 1);
        x[i] = clamp(moved, clean[i] - epsilon, clean[i] + epsilon);
    }
}
