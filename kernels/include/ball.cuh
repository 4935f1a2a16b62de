// An image in the registers of a block, and its projection onto the L2 and L1 ball around a clean image and onto [0, 1], exactly.
#pragma once

namespace ball {

// A block has one image, of 32 x 32 pixels in three colours; a thread has OWN of its numbers, four neighbours at a time.
constexpr int THREADS = 96, ELEMENTS = 3072, OWN = ELEMENTS / THREADS;

// Where the k-th number of the calling thread is in the image.
DEVICE inline int32_t place(int k) { return (k / 4 * THREADS + (int32_t)threadIdx.x) * 4 + k % 4; }

DEVICE inline int64_t first_of_block() { return (int64_t)blockIdx.x * ELEMENTS; }

// A thread's share of an image.
struct Own {
    Real value[OWN];
    DEVICE Real& operator[](int k) { return value[k]; }
    DEVICE const Real& operator[](int k) const { return value[k]; }
};

DEVICE inline Own fetch(const Real* images) {
    Own own;
#pragma unroll
    for (int k = 0; k < OWN; k += 4) {
        auto four = load(images, At<4>{first_of_block() + place(k)});
        for (int lane = 0; lane < 4; ++lane) own[k + lane] = four[lane];
    }
    return own;
}

DEVICE inline void put(Real* images, const Own& own) {
#pragma unroll
    for (int k = 0; k < OWN; k += 4) {
        Lanes<4> four;
        for (int lane = 0; lane < 4; ++lane) four[lane] = own[k + lane];
        store(images, At<4>{first_of_block() + place(k)}, four);
    }
}

// What sums are made in. In double, so that distances are as exact as the radius that they are compared with; few enough that cards which are
// slow at it do not notice.
constexpr int SCRATCH = THREADS + 1;

// The sum over the image of f(k), k counting a thread's own numbers, for every thread. By one thread in the end, which on the host is cheaper than
// shuffles. Where no term falls, no sum does: each rounding is monotonic.
template <typename F> DEVICE inline double sum(double* scratch, F f) {
    double sums[4] = {0, 0, 0, 0};
#pragma unroll
    for (int k = 0; k < OWN; k += 4) {
#pragma unroll
        for (int lane = 0; lane < 4; ++lane) sums[lane] += f(k + lane);
    }
    scratch[threadIdx.x] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    __syncthreads();
    if (threadIdx.x == 0) {
        double parts[4] = {0, 0, 0, 0};
        for (int i = 0; i < THREADS; i += 4) {
            for (int lane = 0; lane < 4; ++lane) parts[lane] += scratch[i + lane];
        }
        scratch[THREADS] = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    }
    __syncthreads();
    return scratch[THREADS];
}

// The first b of 0 ... last at which excess(b), which never rises, is not positive, as it is at the last one; or any at which it is zero, where there is
// no better one. By halving, once 0 is tried. All threads agree. (One call of `excess`, so that it is compiled into the loop and keeps what it refers to in registers.)
template <typename I, typename F> DEVICE inline I first(I last, F excess) {
    I fails = -1, middle = 0;
    do {
        double found = excess(middle);
        if (found <= 0) last = middle;
        else fails = middle;
        if (found == 0) break;
        middle = fails + (last - fails) / 2;
    } while (last - fails > 1);
    return last;
}

// The bits of 1 and of the largest float. Floats that are not negative are in the order of their bits.
constexpr int32_t ONE = 0x3f800000, LARGEST = 0x7f7fffff;

// Moves clean + offset to the nearest point z with |z - clean|_2 <= radius and 0 <= z <= 1, and returns it. By the conditions of Karush, Kuhn and
// Tucker, z = clip(clean + s offset) for some s of [0, 1]; the distance grows with s, and this is the largest float s whose z, as it is stored,
// lies inside.
DEVICE inline Own nearest_in_l2(const Own& clean, const Own& offset, Real radius, double* scratch) {
    auto moved = [&](int k, Real s) { return clamp(clean[k] + s * offset[k], 0, 1); };
    int32_t below_one = first(ONE, [&](int32_t bits) {
        Real s = __int_as_float(ONE - bits);
        double squares = sum(scratch, [&](int k) {
            double distance = (double)moved(k, s) - (double)clean[k];
            return distance * distance;
        });
        return squares - (double)radius * (double)radius;
    });
    Own z;
#pragma unroll
    for (int k = 0; k < OWN; ++k) z[k] = moved(k, __int_as_float(ONE - below_one));
    return z;
}

// The same for |z - clean|_1 <= radius: z = clip(clean + soft(offset, t)), where soft draws every number towards 0 by t; the distance falls with t,
// and this is the smallest float t whose z lies inside.
DEVICE inline Own nearest_in_l1(const Own& clean, const Own& offset, Real radius, double* scratch) {
    auto moved = [&](int k, Real t) {
        Real length = maximum(magnitude(offset[k]) - t, 0);
        return clamp(clean[k] + (offset[k] < 0 ? -length : length), 0, 1);
    };
    int32_t threshold = first(LARGEST, [&](int32_t bits) {
        Real t = __int_as_float(bits);
        double distance = sum(scratch, [&](int k) {
            double part = (double)moved(k, t) - (double)clean[k];
            return part < 0 ? -part : part;
        });
        return distance - (double)radius;
    });
    Own z;
#pragma unroll
    for (int k = 0; k < OWN; ++k) z[k] = moved(k, __int_as_float(threshold));
    return z;
}

}  // namespace ball
