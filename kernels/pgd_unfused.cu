// The step of pgd.cu as a framework carries it out, one elementary operation after the other: what `rocl bench attack` sets the fused kernel against.
// Together they read and write ten numbers per pixel where pgd_linf_step moves four, to the same bits.
#include "rocl.cuh"

// direction = sign(gradient); sign(0) = 0.
KERNEL(pgd_sign)(const Real* gradient, Real* direction, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(gradient, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = sign(value[k]);
        store(direction, at, value);
    });
}

// x += step_size * direction.
KERNEL(pgd_move)(Real* INPLACE x, const Real* direction, Real step_size, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(x, at), along = load(direction, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = value[k] + step_size * along[k];
        store(x, at, value);
    });
}

// x clamped to [0, 1].
KERNEL(pgd_clamp)(Real* INPLACE x, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(x, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = clamp(value[k], 0, 1);
        store(x, at, value);
    });
}

// x clamped to [clean - epsilon, clean + epsilon].
KERNEL(pgd_project)(Real* INPLACE x, const Real* clean, Real epsilon, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(x, at), origin = load(clean, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = clamp(value[k], origin[k] - epsilon, origin[k] + epsilon);
        store(x, at, value);
    });
}
