// The end of an attack's way back: the stem's convolution by its input, and with that gradient, which never reaches memory, a step of PGD (as
// in pgd.cu) and the next pass's input (as in stem.cu). Reads the gradient behind the stem once, and x and clean; writes x and the input.
#include "rocl.cuh"
#include "stem.cuh"

namespace stem_pgd {

// A block makes a tile of SIDE x SIDE pixels, a thread ROWS pixels of one column: a filter that is read serves as many of them, which balances
// reads of shared memory and arithmetic (24 cycles of either per 96 fused multiply-adds of a warp).
constexpr int SIDE = 16, ROWS = 4, THREADS = SIDE * SIDE / ROWS;
constexpr int TAPS = 9, HALO = SIDE + 2;
// Channels of the gradient in shared memory at a time: 64 bytes of each pixel. Another 16 behind them, and any eight neighbours' 16-byte reads
// meet each bank once.
constexpr int CHUNK = 64 / (int)sizeof(T), PITCH = CHUNK + VECTOR;

// A filter's values at one tap and channel, by colour.
struct alignas(16) Weights {
    Real of[4];
};

// Channels first.. of the tile's pixels and those around it; zeros outside the image and behind the last channel.
DEVICE inline void fetch_slopes(T* slopes, const T* dy, int64_t image, int32_t top, int32_t left, int32_t height, int32_t width,
                                int32_t first, int32_t filters) {
    constexpr int GROUPS = CHUNK / VECTOR;
    for (int32_t i = threadIdx.x; i < HALO * HALO * GROUPS; i += THREADS) {
        int32_t place = i / GROUPS, group = i % GROUPS * VECTOR;
        int32_t h = top + place / HALO - 1, w = left + place % HALO - 1, channel = first + group;
        Lanes<VECTOR> value = {};
        if (h >= 0 && h < height && w >= 0 && w < width) {
            const T* pixel = dy + ((image * height + h) * width + w) * filters;
            if (filters % VECTOR == 0) {
                if (channel < filters) value = load(pixel, At<VECTOR>{channel});
            } else {
                for (int k = 0; k < VECTOR; ++k) {
                    if (channel + k < filters) value[k] = to_real(pixel[channel + k]);
                }
            }
        }
        store(slopes, At<VECTOR>{place * PITCH + group}, value);
    }
}

// The filters of those channels, by tap.
DEVICE inline void fetch_weights(Weights* weights, const T* filter, int32_t channels, int32_t first, int32_t filters) {
    for (int32_t i = threadIdx.x; i < TAPS * CHUNK; i += THREADS) {
        int32_t tap = i / CHUNK, channel = first + i % CHUNK;
        Weights value = {};
        if (channel < filters) {
            const T* from = filter + ((int64_t)channel * TAPS + tap) * channels;
            for (int c = 0; c < stem::COLOURS; ++c) value.of[c] = to_real(from[c]);
        }
        weights[i] = value;
    }
}

}  // namespace stem_pgd

// x <- clamp(x + step_size sign(dx)) to [0, 1] and to [clean - epsilon, clean + epsilon], where dx is the gradient by the input of a
// 3 x 3 convolution, of stride and padding 1, whose output's gradient is dy: x and clean [n, height, width, 3], dy [n, height, width, filters],
// filter [filters, 3, 3, channels], of whose channels the first three are those of x. Sums are taken over rows, columns and filters in this
// order for each 64 bytes of filters. Where `next` is given, the stem's next input out of x, normalised where mean and deviation are given:
// [n, height, width, channels], with 8 channels in the parts of stem.cu.
COOPERATIVE_KERNEL(stem_pgd_step)(const T* dy, const T* filter, const Real* clean, Real* INPLACE x, T* OPTIONAL next,
                                  const Real* OPTIONAL mean, const Real* OPTIONAL deviation, int32_t height, int32_t width,
                                  int32_t filters, int32_t channels, Real step_size, Real epsilon) {
    using namespace stem_pgd;
    SHARED(T, slopes, HALO * HALO * PITCH);
    SHARED(Weights, weights, TAPS * CHUNK);
    int32_t across = ceil_div(width, SIDE), tiles = across * ceil_div(height, SIDE);
    int64_t image = blockIdx.x / tiles;
    int32_t tile = blockIdx.x % tiles, top = tile / across * SIDE, left = tile % across * SIDE;
    int32_t column = threadIdx.x % SIDE, row = threadIdx.x / SIDE * ROWS;

    Lanes<stem::COLOURS> sums[ROWS] = {};
    for (int32_t first = 0; first < filters; first += CHUNK) {
        __syncthreads();
        fetch_slopes(slopes, dy, image, top, left, height, width, first, filters);
        fetch_weights(weights, filter, channels, first, filters);
        __syncthreads();
        for (int32_t tap = 0; tap < TAPS; ++tap) {
            const T* corner = slopes + ((row + 2 - tap / 3) * HALO + column + 2 - tap % 3) * PITCH;
            for (int32_t k = 0; k < CHUNK; k += VECTOR) {
                Lanes<VECTOR> slope[ROWS];
#pragma unroll
                for (int j = 0; j < ROWS; ++j) slope[j] = load(corner, At<VECTOR>{j * HALO * PITCH + k});
#pragma unroll
                for (int lane = 0; lane < VECTOR; ++lane) {
                    Weights weight = weights[tap * CHUNK + k + lane];
#pragma unroll
                    for (int j = 0; j < ROWS; ++j) {
                        for (int c = 0; c < stem::COLOURS; ++c) sums[j][c] = multiply_add(slope[j][lane], weight.of[c], sums[j][c]);
                    }
                }
            }
        }
    }

#pragma unroll
    for (int j = 0; j < ROWS; ++j) {
        int32_t h = top + row + j, w = left + column;
        if (h < height && w < width) {
            int64_t pixel = (image * height + h) * width + w;
            Lanes<stem::COLOURS> moved;
            for (int c = 0; c < stem::COLOURS; ++c) {
                int64_t at = pixel * stem::COLOURS + c;
                moved[c] = clamp(x[at] + step_size * sign(sums[j][c]), 0, 1);
                moved[c] = clamp(moved[c], clean[at] - epsilon, clean[at] + epsilon);
                x[at] = moved[c];
            }
            if (next) {
                auto value = stem::normalized(mean, deviation, [=](int c) { return moved[c]; });
                if (channels == stem::CHANNELS) store(next, At<stem::CHANNELS>{pixel * stem::CHANNELS}, stem::parts(value));
                else for (int c = 0; c < stem::COLOURS; ++c) next[pixel * stem::COLOURS + c] = from_real<T>::convert(value[c]);
            }
        }
    }
}
