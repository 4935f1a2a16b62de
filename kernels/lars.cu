// LARS (You et al. 2017) over a flat arena: every tensor fills whole chunks of 1024 elements, padded with zeros. Three launches:
// partial sums of squares (reads p and g), one scale per tensor (reads 1/64 of that), the update (reads p, g, buffer; writes p, buffer).
#include "rocl.cuh"
#include "clock.cuh"

constexpr int CHUNK = 1024;
// Partial sums per chunk: enough threads to fill a GPU, each of 8 neighbours reading 16 of 128 consecutive bytes.
constexpr int PARTIALS = 8;

// p_squares, g_squares [chunks, PARTIALS]: sums of squares of every eighth group of four elements of a chunk.
KERNEL(lars_squares)(const Real* p, const Real* g, int64_t chunks, Real* p_squares, Real* g_squares) {
    for_each(chunks * PARTIALS, [=](int64_t item) {
        int64_t first = item / PARTIALS * CHUNK + item % PARTIALS * 4;
        Lanes<4> of_p = {}, of_g = {};
        for (int i = 0; i < CHUNK; i += 4 * PARTIALS) {
            auto parameter = load(p, At<4>{first + i}), gradient = load(g, At<4>{first + i});
            for (int k = 0; k < 4; ++k) {
                of_p[k] = multiply_add(parameter[k], parameter[k], of_p[k]);
                of_g[k] = multiply_add(gradient[k], gradient[k], of_g[k]);
            }
        }
        p_squares[item] = (of_p[0] + of_p[1]) + (of_p[2] + of_p[3]);
        g_squares[item] = (of_g[0] + of_g[1]) + (of_g[2] + of_g[3]);
    });
}

// scales[t] = trust * |p| / (|g| + weight_decay * |p| + epsilon), or 1 where a norm is zero. A block per tensor.
COOPERATIVE_KERNEL(lars_scales)(const Real* p_squares, const Real* g_squares, const int32_t* tensor_chunks, Real trust,
                                Real weight_decay, Real epsilon, Real* scales) {
    SHARED(Real, p_scratch, 256);
    SHARED(Real, g_scratch, 256);
    int64_t begin = (int64_t)tensor_chunks[blockIdx.x] * PARTIALS, end = (int64_t)tensor_chunks[blockIdx.x + 1] * PARTIALS;
    Real of_p = 0, of_g = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
        of_p += p_squares[i];
        of_g += g_squares[i];
    }
    Real p_norm = square_root(block_sum(of_p, p_scratch)), g_norm = square_root(block_sum(of_g, g_scratch));
    bool adapts = p_norm > 0 && g_norm > 0;
    if (threadIdx.x == 0) scales[blockIdx.x] = adapts ? trust * p_norm / (g_norm + weight_decay * p_norm + epsilon) : (Real)1;
}

// buffer <- momentum * buffer + (g + weight_decay * p) * scale; p <- p - rate * buffer. The buffer starts at zero.
KERNEL(lars_update)(Real* p, Real* buffer, const Real* g, const int32_t* chunk_tensor, const Real* scales, const int64_t* clock,
                    const Real* learning_rates, int64_t steps, Real momentum, Real weight_decay, int64_t chunks) {
    Real rate = current_rate(learning_rates, clock, steps);
    for_each_row_channel(chunks, CHUNK, [=](auto at) {
        Real scale = scales[chunk_tensor[at.row]];
        auto parameter = load(p, at), velocity = load(buffer, at), gradient = load(g, at);
        for (int k = 0; k < at.lanes; ++k) {
            velocity[k] = momentum * velocity[k] + (gradient[k] + weight_decay * parameter[k]) * scale;
            parameter[k] -= rate * velocity[k];
        }
        store(buffer, at, velocity);
        store(p, at, parameter);
    });
}
