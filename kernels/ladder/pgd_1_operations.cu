// PGD, rung 1: the step as a framework without fusion runs it, a kernel for every operation of its formula. See pgd.md.
#include "rocl.cuh"

// out = sign(x)
KERNEL(ladder_sign)(const Real* x, Real* out, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(x, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = sign(value[k]);
        store(out, at, value);
    });
}

// x <- x + factor * y
KERNEL(ladder_add_scaled)(Real* INPLACE x, const Real* y, Real factor, int64_t n) {
    for_each_vector(n, [=](auto at) { store(x, at, load(x, at) + load(y, at) * factor); });
}

// x <- clamp(x, low, high)
KERNEL(ladder_clamp)(Real* INPLACE x, Real low, Real high, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(x, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = clamp(value[k], low, high);
        store(x, at, value);
    });
}

// out = x + shift
KERNEL(ladder_shift)(const Real* x, Real shift, Real* out, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(x, at);
        for (int k = 0; k < at.lanes; ++k) value[k] += shift;
        store(out, at, value);
    });
}

// x <- the larger of x and bound
KERNEL(ladder_larger)(Real* INPLACE x, const Real* bound, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(x, at), other = load(bound, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = maximum(value[k], other[k]);
        store(x, at, value);
    });
}

// x <- the smaller of x and bound
KERNEL(ladder_smaller)(Real* INPLACE x, const Real* bound, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(x, at), other = load(bound, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = minimum(value[k], other[k]);
        store(x, at, value);
    });
}
