// Small kernels that probe the scheduler, used by the unit tests of src/device/host/simt.rs. Slot 0 holds the output's address.
#include "host/simt.h"

template <typename V> static V* output(const uint64_t* slots) {
    V* out;
    std::memcpy(&out, slots, sizeof(out));
    return out;
}
static uint32_t lane() { return threadIdx.x & 31; }
static uint32_t global_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }

constexpr unsigned FULL = 0xffffffffu;

extern "C" {

// The block's threads in reverse order, through shared memory.
void rocl_probe_reverse(const uint64_t* slots) {
    SHARED(int32_t, box, 256);
    box[threadIdx.x] = (int32_t)global_thread();
    __syncthreads();
    output<int32_t>(slots)[global_thread()] = box[blockDim.x - 1 - threadIdx.x];
}

// The same without the barrier: what a thread reads depends on who ran before it.
void rocl_probe_race(const uint64_t* slots) {
    SHARED(int32_t, box, 256);
    box[threadIdx.x] = (int32_t)global_thread();
    output<int32_t>(slots)[global_thread()] = box[blockDim.x - 1 - threadIdx.x];
}

// Eight rows of what each thread sees: four shuffles, three votes, an 8-byte shuffle.
void rocl_probe_warp(const uint64_t* slots) {
    int64_t* out = output<int64_t>(slots);
    int32_t mine = (int32_t)threadIdx.x;
    uint32_t n = blockDim.x, t = threadIdx.x;
    out[0 * n + t] = __shfl_xor_sync(FULL, mine, 5);
    out[1 * n + t] = __shfl_down_sync(FULL, mine, 3);
    out[2 * n + t] = __shfl_up_sync(FULL, mine, 2);
    out[3 * n + t] = __shfl_sync(FULL, mine, 7);
    out[4 * n + t] = __ballot_sync(FULL, lane() % 3 == 0);
    out[5 * n + t] = __any_sync(FULL, t == 40);
    out[6 * n + t] = __all_sync(FULL, t != 40);
    out[7 * n + t] = (int64_t)(4 * __shfl_xor_sync(FULL, (double)mine + 0.25, 1));
}

// Warp 1 alone sums its lanes and hands the sum over; the other warps wait at the barrier meanwhile.
void rocl_probe_one_warp(const uint64_t* slots) {
    SHARED(int32_t, total, 1);
    if (threadIdx.x >> 5 == 1) {
        int32_t sum = (int32_t)threadIdx.x;
        for (int offset = 16; offset > 0; offset >>= 1) sum += __shfl_xor_sync(FULL, sum, offset);
        __syncwarp();
        if (lane() == 0) total[0] = sum;
    }
    __syncthreads();
    output<int32_t>(slots)[threadIdx.x] = total[0];
}

// In block 1, threads 40 to 63 return instead of reaching the barrier.
void rocl_probe_missing(const uint64_t*) {
    if (blockIdx.x == 1 && threadIdx.x >= 40 && threadIdx.x < 64) return;
    __syncthreads();
}

// Lane 3 votes where its warp shuffles.
void rocl_probe_mixed(const uint64_t*) {
    if (threadIdx.x == 3) __ballot_sync(FULL, 1);
    else __shfl_sync(FULL, 1.0f, 0);
}

void rocl_probe_half_warp(const uint64_t*) { __shfl_xor_sync(0xffffu, 1, 1); }
void rocl_probe_barrier(const uint64_t*) { __syncthreads(); }

// What shared memory holds before anyone wrote to it.
void rocl_probe_fresh(const uint64_t* slots) {
    SHARED(float, box, 64);
    output<float>(slots)[threadIdx.x] = box[threadIdx.x];
}

void rocl_probe_greedy(const uint64_t*) {
    SHARED(float, box, 20000);
    for (int i = 0; i < 20000; ++i) box[i] = 0;
}
}
