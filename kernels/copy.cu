// A plain copy, as fast as memory goes: what the bandwidth of a device is measured with.
#include "rocl.cuh"

// y = x.
KERNEL(copy)(const T* x, T* y, int64_t n) {
    for_each_vector(n, [=](auto at) { store(y, at, load(x, at)); });
}
