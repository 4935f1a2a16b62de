// The clock: what changes from step to step lives in device memory, so that a step can be captured once and replayed.
//   clock[0]  step within the epoch: the row of the log, the entry of the learning rates
//   clock[1]  step since the beginning of the run: Adam's bias correction, the counter of random numbers
#pragma once

// This step's learning rate; past the end of the schedule, its last one.
DEVICE inline Real current_rate(const Real* learning_rates, const int64_t* clock, int64_t steps) {
    int64_t step = clock[0];
    return learning_rates[step < steps ? step : steps - 1];
}
