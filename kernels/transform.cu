// Random views of images that need not be 8-bit, as smoothed inference takes them: a crop, resized to the whole image, flipped, and turned to luminance, by the
// records of augment.cu. All of it is linear, so the gradient's way back is the transpose. (Colour jitter, which is defined on 8 bits, is left out.)
// Reads an image and its record, writes the view; the way back reads the view's gradient and adds to the image's.
#include "rocl.cuh"
#include "gather.cuh"
#include "augment.cuh"

namespace transform {

using augment::SIDE;
constexpr int32_t THREADS = 64, COLOURS = 3, ROW = SIDE * COLOURS, NUMBERS = SIDE * ROW;

// As in src/data/augmentation.rs.
enum Word : int32_t { FLAGS = 1, TOP = 6, LEFT, HEIGHT, WIDTH, WORDS = 12 };
enum Flag : int32_t { GRAYSCALE = 2, FLIP = 4 };

// What an output coordinate mixes: two source places, and their weights.
struct Mix {
    int32_t first, second;
    Real first_weight, second_weight;
    // How much of the source place is in it.
    DEVICE Real of(int32_t place) const { return (place == first ? first_weight : 0) + (place == second ? second_weight : 0); }
};

// That of `out` in a crop that begins at `begin` and has `size` pixels, held within the image whatever the record says; mirrored, if flipped.
DEVICE inline Mix mix(int32_t out, int32_t begin, int32_t size, bool flip) {
    size = 1 + (int32_t)within((int64_t)size - 1, SIDE);
    begin = (int32_t)within(begin, SIDE - size + 1);
    augment::Tap tap = augment::resize_tap(flip ? SIDE - 1 - out : out, size);
    Real unit = (Real)1 / (1 << 22);
    return {begin + tap.first, begin + tap.second, (Real)tap.first_weight * unit, (Real)tap.second_weight * unit};
}

// The mixtures of all columns, and of all rows behind them.
DEVICE inline void prepare(Mix* mixes, const int32_t* record) {
    for (int32_t i = threadIdx.x; i < 2 * SIDE; i += THREADS) {
        mixes[i] = i < SIDE ? mix(i, record[LEFT], record[WIDTH], record[FLAGS] & FLIP) : mix(i - SIDE, record[TOP], record[HEIGHT], false);
    }
}

// What of luminance each colour is (ITU-R 601).
DEVICE inline Real share(int32_t colour) { return colour == 0 ? (Real)0.299 : colour == 1 ? (Real)0.587 : (Real)0.114; }

}  // namespace transform

// out[i] = the view of x[i] that record i asks for; x and out are [n, 32, 32, 3], records [n, 12]. One block an image.
COOPERATIVE_KERNEL(transform_views)(const Real* x, const int32_t* records, Real* out) {
    using namespace transform;
    SHARED(Mix, mixes, 2 * SIDE);
    const int32_t* record = records + (int64_t)blockIdx.x * WORDS;
    const Real* image = x + (int64_t)blockIdx.x * NUMBERS;
    Real* view = out + (int64_t)blockIdx.x * NUMBERS;
    prepare(mixes, record);
    __syncthreads();
    bool gray = record[FLAGS] & GRAYSCALE;
    for (int32_t pixel = threadIdx.x; pixel < SIDE * SIDE; pixel += THREADS) {
        Mix column = mixes[pixel % SIDE], row = mixes[SIDE + pixel / SIDE];
        Real colours[COLOURS], luminance = 0;
        for (int32_t c = 0; c < COLOURS; ++c) {
            const Real *upper = image + row.first * ROW + c, *lower = image + row.second * ROW + c;
            Real above = upper[column.first * COLOURS] * column.first_weight + upper[column.second * COLOURS] * column.second_weight;
            Real below = lower[column.first * COLOURS] * column.first_weight + lower[column.second * COLOURS] * column.second_weight;
            colours[c] = above * row.first_weight + below * row.second_weight;
            luminance += share(c) * colours[c];
        }
        for (int32_t c = 0; c < COLOURS; ++c) view[pixel * COLOURS + c] = gray ? luminance : colours[c];
    }
}

// d_x[i] <- (accumulate ? d_x[i] : 0) + weight * the gradient by x[i], where d_out[i] is that by its view. First down the columns, then along the rows.
COOPERATIVE_KERNEL(transform_views_backward)(const Real* d_out, const int32_t* records, Real weight, int32_t accumulate, Real* INPLACE d_x) {
    using namespace transform;
    SHARED(Mix, mixes, 2 * SIDE);
    SHARED(Real, between, NUMBERS);
    const int32_t* record = records + (int64_t)blockIdx.x * WORDS;
    const Real* slope = d_out + (int64_t)blockIdx.x * NUMBERS;
    Real* gradient = d_x + (int64_t)blockIdx.x * NUMBERS;
    prepare(mixes, record);
    __syncthreads();
    for (int32_t i = threadIdx.x; i < NUMBERS; i += THREADS) {
        int32_t y = i / ROW, rest = i % ROW;
        Real sum = 0;
        for (int32_t out = 0; out < SIDE; ++out) sum += mixes[SIDE + out].of(y) * slope[out * ROW + rest];
        between[i] = sum;
    }
    __syncthreads();
    bool gray = record[FLAGS] & GRAYSCALE;
    for (int32_t pixel = threadIdx.x; pixel < SIDE * SIDE; pixel += THREADS) {
        int32_t y = pixel / SIDE, x = pixel % SIDE;
        Real colours[COLOURS] = {0, 0, 0};
        for (int32_t out = 0; out < SIDE; ++out) {
            Real part = mixes[out].of(x);
            for (int32_t c = 0; c < COLOURS; ++c) colours[c] += part * between[y * ROW + out * COLOURS + c];
        }
        Real luminance = (colours[0] + colours[1]) + colours[2];
        for (int32_t c = 0; c < COLOURS; ++c) {
            Real* to = gradient + pixel * COLOURS + c;
            *to = (accumulate ? *to : (Real)0) + weight * (gray ? share(c) * luminance : colours[c]);
        }
    }
}
