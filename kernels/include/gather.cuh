// Which row of a data set a step takes at some place of its batch: the step is read from the device clock, the row from the
// epoch's permutation. Both are held within their tables: a wrong clock or entry picks a wrong row and never reads outside.
#pragma once

DEVICE inline int64_t within(int64_t index, int64_t count) { return index < 0 ? 0 : index < count ? index : count - 1; }

// The row, of `rows`, at `place` of a batch of `batch`; `indices` holds `places` entries, batch after batch.
DEVICE inline int64_t gathered_row(const int32_t* indices, int64_t places, const int64_t* clock, int64_t batch, int64_t place,
                                   int64_t rows) {
    return within(indices[within(clock[0] * batch + place, places)], rows);
}
