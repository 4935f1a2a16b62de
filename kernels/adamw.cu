// AdamW (Loshchilov and Hutter 2019), as PyTorch's. Reads p, g, m and v, writes p, m and v.
#include "rocl.cuh"
#include "clock.cuh"
#include "loss_scale.cuh"

// p <- (1 - rate * weight_decay) * p - rate * m^ / (sqrt(v^) + epsilon), where m^ = m / (1 - beta1^t), v^ = v / (1 - beta2^t) and t counts
// from 1. The betas come with their logarithms and complements: 1 - beta^t is then exact to rounding even at t = 1. g carries
// the loss scale, if there is one; a skipped step changes nothing and does not count.
KERNEL(adamw_update)(Real* INPLACE p, Real* INPLACE m, Real* INPLACE v, const Real* g, const int64_t* clock,
                     const Real* learning_rates, int64_t steps, Real beta1, Real beta2, Real rest1, Real rest2, Real log_beta1, Real log_beta2, Real epsilon, Real weight_decay,
                     const Real* OPTIONAL factors, const int64_t* OPTIONAL counters, int64_t n) {
    if (is_skipped(counters)) return;
    Real rate = current_rate(learning_rates, clock, steps);
    Real t = (Real)(clock[1] + 1 - skipped_steps(counters)), unscale = unscaling(factors);
    Real correction1 = -exponential_minus_one(t * log_beta1);
    Real correction2 = square_root(-exponential_minus_one(t * log_beta2));
    Real step = rate / correction1, keep = 1 - rate * weight_decay;
    for_each_vector(n, [=](auto at) {
        auto parameter = load(p, at), mean = load(m, at), square = load(v, at), gradient = load(g, at);
        for (int k = 0; k < at.lanes; ++k) {
            Real g_k = gradient[k] * unscale;
            mean[k] = beta1 * mean[k] + rest1 * g_k;
            square[k] = beta2 * square[k] + rest2 * (g_k * g_k);
            parameter[k] = keep * parameter[k] - step * mean[k] / (square_root(square[k]) / correction2 + epsilon);
        }
        store(m, at, mean);
        store(v, at, square);
        store(p, at, parameter);
    });
}
