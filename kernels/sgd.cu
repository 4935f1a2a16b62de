// Stochastic gradient descent with momentum and coupled weight decay, as PyTorch's SGD. Reads p, g and the buffer, writes p and the buffer.
#include "rocl.cuh"
#include "clock.cuh"
#include "loss_scale.cuh"

// buffer <- momentum * buffer + (g + weight_decay * p); p <- p - rate * buffer. The buffer starts at zero. g carries the loss
// scale, if there is one; a skipped step changes nothing.
KERNEL(sgd_update)(Real* INPLACE p, Real* INPLACE buffer, const Real* g, const int64_t* clock, const Real* learning_rates,
                   int64_t steps, Real momentum, Real weight_decay, const Real* OPTIONAL factors, const int64_t* OPTIONAL counters, int64_t n) {
    if (is_skipped(counters)) return;
    Real unscale = unscaling(factors);
    Real rate = current_rate(learning_rates, clock, steps);
    for_each_vector(n, [=](auto at) {
        auto parameter = load(p, at), velocity = load(buffer, at), gradient = load(g, at);
        for (int k = 0; k < at.lanes; ++k) {
            velocity[k] = momentum * velocity[k] + (gradient[k] * unscale + weight_decay * parameter[k]);
            parameter[k] -= rate * velocity[k];
        }
        store(buffer, at, velocity);
        store(p, at, parameter);
    });
}
