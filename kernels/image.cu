// Images and rows as they are stored, brought into a step: 8-bit pixels to [0, 1], and the rows of a batch out of a table.
// Every kernel reads what it needs once and writes its output once.
#include "rocl.cuh"
#include "gather.cuh"

// out = images / 255.
KERNEL(unit_range)(const uint8_t* images, Real* out, int64_t n) {
    for_each_vector(n, [=](auto at) {
        auto value = load(images, at);
        for (int k = 0; k < at.lanes; ++k) value[k] = value[k] / (Real)255;
        store(out, at, value);
    });
}

// Row i of out is row indices[clock[0] * batch + i] of table [rows, width]. Widening a stored value and narrowing it is exact.
KERNEL(gather_rows)(const T* table, const int32_t* indices, const int64_t* clock, T* out, int64_t rows, int64_t places,
                    int64_t batch, int32_t width) {
    for_each_row_channel(batch, width, [=](auto at) {
        int64_t row = gathered_row(indices, places, clock, batch, at.row, rows);
        store(out, at, load(table, At<at.lanes>{row * width + at.channel}));
    });
}

// out[i] = labels[indices[clock[0] * batch + i]].
KERNEL(gather_labels)(const int32_t* labels, const int32_t* indices, const int64_t* clock, int32_t* out, int64_t count,
                      int64_t places, int64_t batch) {
    for_each(batch, [=](int64_t i) { out[i] = labels[gathered_row(indices, places, clock, batch, i, count)]; });
}
