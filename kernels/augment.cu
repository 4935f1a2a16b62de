// The augmented views of a step, from the 8-bit data set in one pass (RoCL, experimental setup: colour jitter, grayscale,
// horizontal flip, random resized crop, in this order, all in 8 bits as torchvision on Pillow images).
// Reads the 3 KiB of each image once per view and writes the view once; everything between stays in shared memory.
#include "rocl.cuh"
#include "augment.cuh"
#include "gather.cuh"

namespace augment {

// Threads of a block, which makes one view. The host pays for each thread; a GPU fills an SM with 32 such blocks.
constexpr int32_t THREADS = 64;
static_assert(THREADS == 2 * SIDE, "a thread for each column and each row");

// Four pixels are three words: the unit in which a thread owns pixels, free of bank conflicts.
struct Quad {
    uint32_t word[3];
};
constexpr int32_t QUADS = PIXELS / 4;

struct Pixels {
    Pixel pixel[4];
};
DEVICE inline uint8_t byte_of(Quad quad, int32_t i) { return (uint8_t)(quad.word[i / 4] >> (8 * (i % 4))); }
DEVICE inline Pixels unpack(Quad quad) {
    Pixels out;
#pragma unroll
    for (int32_t k = 0; k < 4; ++k) out.pixel[k] = {byte_of(quad, 3 * k), byte_of(quad, 3 * k + 1), byte_of(quad, 3 * k + 2)};
    return out;
}
DEVICE inline uint32_t word_of(uint32_t first, uint32_t second, uint32_t third, uint32_t fourth) {
    return first | second << 8 | third << 16 | fourth << 24;
}
DEVICE inline Quad pack(Pixels four) {
    Pixel a = four.pixel[0], b = four.pixel[1], c = four.pixel[2], d = four.pixel[3];
    return {{word_of(a.r, a.g, a.b, b.r), word_of(b.g, b.b, c.r, c.g), word_of(c.b, d.r, d.g, d.b)}};
}

// pixel = f(pixel) for those of the calling thread: always the same ones, so that operations on pixels need no barrier between.
template <typename F> DEVICE inline void update_own(Quad* image, F f) {
    for (int32_t q = threadIdx.x; q < QUADS; q += THREADS) {
        Pixels four = unpack(image[q]);
#pragma unroll
        for (int32_t k = 0; k < 4; ++k) four.pixel[k] = f(four.pixel[k]);
        image[q] = pack(four);
    }
}

// The sum of luminance() over the image: each thread adds up its own pixels, then all partial sums. Integers: exact in any order.
DEVICE inline int32_t total_luminance(const Quad* image, int32_t* partial) {
    int32_t own = 0;
    for (int32_t q = threadIdx.x; q < QUADS; q += THREADS) {
        Pixels four = unpack(image[q]);
#pragma unroll
        for (int32_t k = 0; k < 4; ++k) own += luminance(four.pixel[k]);
    }
    partial[threadIdx.x] = own;
    __syncthreads();
    int32_t total = 0;
    for (int32_t i = 0; i < THREADS; ++i) total += partial[i];
    return total;
}

// One record of 12 words, see src/data/augmentation.rs.
enum Word : int32_t { ORDER, FLAGS, BRIGHTNESS, CONTRAST, SATURATION, HUE, TOP, LEFT, HEIGHT, WIDTH, WORDS = 12 };
enum Flag : int32_t { JITTER = 1, GRAYSCALE = 2, FLIP = 4 };

// The four jitter operations, in the record's order. `partial` is scratch for each place that contrast may have in it.
DEVICE inline void jitter(Quad* image, const int32_t* record, int32_t* partial) {
    for (int32_t place = 0; place < 4; ++place) {
        int32_t operation = record[ORDER] >> (8 * place) & 3;
        if (operation == 0) {
            float factor = __int_as_float(record[BRIGHTNESS]);
            update_own(image, [=](Pixel p) { return brightness(p, factor); });
        } else if (operation == 1) {
            float factor = __int_as_float(record[CONTRAST]);
            int32_t sum = total_luminance(image, partial + place * THREADS);
            update_own(image, [=](Pixel p) { return contrast(p, sum, factor); });
        } else if (operation == 2) {
            float factor = __int_as_float(record[SATURATION]);
            update_own(image, [=](Pixel p) { return saturation(p, factor); });
        } else {
            int32_t shift = record[HUE];
            update_own(image, [=](Pixel p) { return hue(p, shift); });
        }
    }
}

// A side of the crop, held within the image whatever the record says.
struct Span {
    int32_t begin, size;
};
DEVICE inline Span span(int32_t begin, int32_t size) {
    int32_t held = 1 + (int32_t)within((int64_t)size - 1, SIDE);
    return {(int32_t)within(begin, SIDE - held + 1), held};
}

}  // namespace augment

// out[v * batch + i] = view v of the image at place i of the step clock[0]: image permutation[clock[0] * batch + i] by record
// augmentations[(clock[0] * views + v) * batch + i], divided by 255. One block a view.
COOPERATIVE_KERNEL(augment_views)(const uint8_t* dataset, const int32_t* permutation, const int32_t* augmentations,
                                  const int64_t* clock, Real* out, int64_t images, int64_t places, int64_t records, int32_t batch,
                                  int32_t views) {
    using namespace augment;
    SHARED(Quad, image, QUADS);
    SHARED(Pixel, widened, PIXELS);
    SHARED(Tap, columns, SIDE);
    SHARED(Tap, rows, SIDE);
    SHARED(int32_t, partial, 4 * THREADS);

    int32_t thread = threadIdx.x, view = blockIdx.x;
    const int32_t* record = augmentations + within(clock[0] * views * batch + view, records) * WORDS;
    const Quad* source =
        reinterpret_cast<const Quad*>(dataset) + gathered_row(permutation, places, clock, batch, view % batch, images) * QUADS;
    for (int32_t q = thread; q < QUADS; q += THREADS) image[q] = source[q];

    Span across = span(record[LEFT], record[WIDTH]), down = span(record[TOP], record[HEIGHT]);
    if (thread < SIDE) {
        // The flip is in where the columns are read from.
        Tap tap = resize_tap(thread, across.size);
        int32_t start = record[FLAGS] & FLIP ? SIDE - 1 - across.begin : across.begin, step = record[FLAGS] & FLIP ? -1 : 1;
        columns[thread] = {start + step * tap.first, start + step * tap.second, tap.first_weight, tap.second_weight};
    } else {
        rows[thread - SIDE] = resize_tap(thread - SIDE, down.size);
    }

    if (record[FLAGS] & JITTER) jitter(image, record, partial);
    if (record[FLAGS] & GRAYSCALE) update_own(image, [](Pixel p) { return grayscale(p); });
    __syncthreads();

    // As Pillow: first each row of the crop to its full width, in 8 bits, then the columns.
    Tap column = columns[thread % SIDE];
    for (int32_t y = thread / SIDE; y < down.size; y += THREADS / SIDE) {
        const Pixel* row = reinterpret_cast<const Pixel*>(image) + (down.begin + y) * SIDE;
        widened[y * SIDE + thread % SIDE] = mix(row[column.first], row[column.second], column);
    }
    __syncthreads();

    constexpr int32_t ROW_VECTORS = SIDE * 3 / VECTOR;
    Real* to = out + (int64_t)view * PIXELS * 3;
    for (int32_t v = thread; v < SIDE * ROW_VECTORS; v += THREADS) {
        int32_t y = v / ROW_VECTORS, offset = (v - y * ROW_VECTORS) * VECTOR;
        Tap row = rows[y];
        const uint8_t* first = reinterpret_cast<const uint8_t*>(widened + row.first * SIDE) + offset;
        const uint8_t* second = reinterpret_cast<const uint8_t*>(widened + row.second * SIDE) + offset;
        Lanes<VECTOR> value;
        for (int32_t k = 0; k < VECTOR; ++k) value[k] = (Real)mix(first[k], second[k], row) / (Real)255;
        store(to, At<VECTOR>{(int64_t)v * VECTOR}, value);
    }
}
