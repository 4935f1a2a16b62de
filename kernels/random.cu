// Random starts of projected gradient descent (Madry et al. 2018; RoCL, Section 3.2). Reads the clean image, writes x; the random
// numbers are a pure function of (seed, stream, step, element), so they depend on no grid and need no state.
#include "rocl.cuh"

// x <- clamp(clean + U(-epsilon, epsilon), 0, 1). One Philox call serves four elements: key `seed`, counter (element / 4, step, stream).
KERNEL(random_start)(const Real* clean, Real epsilon, uint64_t seed, uint64_t stream, const int64_t* clock, int64_t n, Real* x) {
    uint64_t step_and_stream = (uint32_t)clock[1] | stream << 32;
    for_each(ceil_div<int64_t>(n, 4), [=](int64_t quad) {
        PhiloxWords words = philox(seed, (uint64_t)quad, step_and_stream);
        Lanes<4> noise;
        for (int k = 0; k < 4; ++k) noise[k] = (2 * uniform01(words.word[k]) - 1) * epsilon;
        int64_t first = quad * 4;
        if (first + 4 <= n) {
            auto pixels = load(clean, At<4>{first});
            for (int k = 0; k < 4; ++k) pixels[k] = clamp(pixels[k] + noise[k], 0, 1);
            store(x, At<4>{first}, pixels);
        } else {
            for (int k = 0; first + k < n; ++k) x[first + k] = clamp(clean[first + k] + noise[k], 0, 1);
        }
    });
}
