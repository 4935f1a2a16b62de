// Random starts of projected gradient descent in the L2 and L1 ball: uniform in the ball (Barthe, Guedon, Mendelson & Naor 2005), then projected
// onto [0, 1]. Reads the clean image, writes x; the random numbers are a pure function of (seed, stream, step, element).
#include "rocl.cuh"
#include "ball.cuh"

namespace random_ball {

// Exponentially distributed with mean 1. The logarithm's argument is in (0, 1].
DEVICE inline Real exponential_variate(uint32_t word) { return -logarithm((Real)1 - uniform01(word)); }

// Two independent normal numbers out of two words (Box & Muller 1958).
struct Normals {
    Real first, second;
};
DEVICE inline Normals normals(uint32_t length, uint32_t angle) {
    Real radius = square_root(2 * exponential_variate(length)), half_turns = 2 * uniform01(angle);
    return {radius * cosine_of_half_turns(half_turns), radius * sine_of_half_turns(half_turns)};
}

// An exponential number of the image's own: the counters of its elements do not reach the high bit.
DEVICE inline Real of_image(uint64_t seed, uint64_t step_and_stream) {
    return exponential_variate(philox(seed, (uint64_t)blockIdx.x | (uint64_t)1 << 63, step_and_stream).word[0]);
}

}  // namespace random_ball

// x <- P(clean + epsilon n / sqrt(|n|_2^2 + 2 e)), n normal and e exponential numbers: uniform in the ball, in 3072 dimensions near its surface.
COOPERATIVE_KERNEL(random_start_l2)(const Real* clean, Real epsilon, uint64_t seed, uint64_t stream, const int64_t* clock, Real* x) {
    using namespace ball;
    SHARED(double, scratch, SCRATCH);
    uint64_t step_and_stream = (uint32_t)clock[1] | stream << 32;
    Own offset, origin = fetch(clean);
#pragma unroll
    for (int k = 0; k < OWN; k += 4) {
        PhiloxWords words = philox(seed, (uint64_t)(first_of_block() + place(k)) / 4, step_and_stream);
        for (int pair = 0; pair < 4; pair += 2) {
            auto two = random_ball::normals(words.word[pair], words.word[pair + 1]);
            offset[k + pair] = two.first;
            offset[k + pair + 1] = two.second;
        }
    }
    double squares = sum(scratch, [&](int k) { return (double)offset[k] * (double)offset[k]; });
    double scale = (double)epsilon / sqrt(squares + 2 * (double)random_ball::of_image(seed, step_and_stream));
#pragma unroll
    for (int k = 0; k < OWN; ++k) offset[k] = (Real)((double)offset[k] * scale);
    put(x, nearest_in_l2(origin, offset, epsilon, scratch));
}

// x <- P(clean + epsilon n / (|n|_1 + e)), n of Laplace's distribution and e exponential.
COOPERATIVE_KERNEL(random_start_l1)(const Real* clean, Real epsilon, uint64_t seed, uint64_t stream, const int64_t* clock, Real* x) {
    using namespace ball;
    SHARED(double, scratch, SCRATCH);
    uint64_t step_and_stream = (uint32_t)clock[1] | stream << 32;
    Own offset, origin = fetch(clean);
#pragma unroll
    for (int k = 0; k < OWN; k += 4) {
        PhiloxWords words = philox(seed, (uint64_t)(first_of_block() + place(k)) / 4, step_and_stream);
        for (int lane = 0; lane < 4; ++lane) {
            // The lowest bit is none of the 24 that the uniform number is made of.
            Real length = random_ball::exponential_variate(words.word[lane]);
            offset[k + lane] = words.word[lane] & 1 ? -length : length;
        }
    }
    double lengths = sum(scratch, [&](int k) { return (double)magnitude(offset[k]); });
    double scale = (double)epsilon / (lengths + (double)random_ball::of_image(seed, step_and_stream));
#pragma unroll
    for (int k = 0; k < OWN; ++k) offset[k] = (Real)((double)offset[k] * scale);
    put(x, nearest_in_l1(origin, offset, epsilon, scratch));
}
