// The end of a step: logs its values and moves the clock on. A handful of bytes, one thread.
#include "rocl.cuh"

// log[clock[0], :] <- values, unless the log is full; then clock <- clock + 1.
KERNEL(record_step)(int64_t* INPLACE clock, const Real* values, int32_t count, int64_t steps, Real* log) {
    for_each(1, [=](int64_t) {
        int64_t step = clock[0];
        if (step < steps) {
            for (int32_t i = 0; i < count; ++i) log[step * count + i] = values[i];
        }
        clock[0] = step + 1;
        clock[1] += 1;
    });
}
