// Between storage and arithmetic types, rounding to nearest even: one load and one store per element.
#include "rocl.cuh"

// y = x, widened.
KERNEL(cast_to_real)(const T* x, Real* y, int64_t n) {
    for_each_vector(n, [=](auto at) { store(y, at, load(x, at)); });
}

// y = x, rounded.
KERNEL(cast_from_real)(const Real* x, T* y, int64_t n) {
    for_each_vector(n, [=](auto at) { store(y, at, load(x, at)); });
}
