// A step of the momentum iterative fast gradient method (Dong et al. 2018, Equations 6 and 7) in the L-infinity ball. A block has an image: reads the
// gradient twice, the second time from cache, and x, the velocity and the clean image; writes x and the velocity.
#include "rocl.cuh"
#include "block.cuh"

constexpr int THREADS = 128;

// velocity <- decay * velocity + gradient / |gradient|_1, per image; x <- clamp(x + step_size * sign(velocity)) to [0, 1] and to
// [clean - epsilon, clean + epsilon]. `numbers` of an image, a multiple of four. An image whose gradient is zero, or not finite, coasts.
COOPERATIVE_KERNEL(momentum_linf_step)(Real* INPLACE x, Real* INPLACE velocity, const Real* gradient, const Real* clean, int32_t numbers,
                                       Real decay, Real step_size, Real epsilon) {
    SHARED(Real, scratch, THREADS);
    int64_t first = (int64_t)blockIdx.x * numbers;
    Real mine = 0;
    for (int32_t k = 4 * threadIdx.x; k < numbers; k += 4 * THREADS) {
        auto slope = load(gradient, At<4>{first + k});
        for (int lane = 0; lane < 4; ++lane) mine += magnitude(slope[lane]);
    }
    Real length = sum_for_all(mine, scratch);
    bool moves = length > 0 && is_finite(length);

    for (int32_t k = 4 * threadIdx.x; k < numbers; k += 4 * THREADS) {
        At<4> at{first + k};
        auto adversary = load(x, at), speed = load(velocity, at), slope = load(gradient, at), origin = load(clean, at);
        for (int lane = 0; lane < 4; ++lane) {
            speed[lane] = decay * speed[lane] + (moves ? slope[lane] / length : (Real)0);
            Real moved = clamp(adversary[lane] + step_size * sign(speed[lane]), 0, 1);
            adversary[lane] = clamp(moved, origin[lane] - epsilon, origin[lane] + epsilon);
        }
        store(velocity, at, speed);
        store(x, at, adversary);
    }
}
