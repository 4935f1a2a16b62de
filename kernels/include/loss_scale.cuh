// The loss scale of training in a 16-bit type (Micikevicius et al. 2018). Gradients are that many times too large, so that small ones do not
// vanish; a step whose gradients overflow is skipped. All in device memory, so that a step can be captured once and replayed.
//   factors[0]   what the losses' gradients are multiplied by; loss_scale_update writes that of the next step
//   factors[1]   the inverse of what the gradients at hand were multiplied by
//   counters[0]  good steps since the scale last changed
//   counters[1]  skipped steps since the beginning of the run
//   counters[2]  skipped steps of this epoch
//   counters[3]  whether the step at hand is skipped
// Where there is no loss scale, kernels get null pointers.
#pragma once

DEVICE inline Real unscaling(const Real* factors) { return factors ? factors[1] : (Real)1; }
DEVICE inline bool is_skipped(const int64_t* counters) { return counters && counters[3] != 0; }
DEVICE inline int64_t skipped_steps(const int64_t* counters) { return counters ? counters[1] : 0; }
