// Small kernels that access memory badly, or as they should: for the tests of src/device/host/access. Slot 0 holds a tensor's address.
#include "host/simt.h"

static float* tensor(const uint64_t* slots) { return (float*)slots[0]; }
static uint32_t global_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }

extern "C" {

// Neighbours take neighbouring numbers.
void rocl_access_neighbours(const uint64_t* slots) { tensor(slots)[global_thread()] = 1; }

// Neighbours are 32 bytes apart: a sector each.
void rocl_access_strided(const uint64_t* slots) { tensor(slots)[8 * global_thread()] = 1; }

// Every thread moves 16 bytes.
void rocl_access_vectors(const uint64_t* slots) {
    struct alignas(16) Packet { unsigned char byte[16]; } packet = {};
    copy_packet((Packet*)slots[0] + global_thread(), &packet);
}

// Half of a warp writes.
void rocl_access_divergent(const uint64_t* slots) {
    if (threadIdx.x % 2 == 0) tensor(slots)[global_thread()] = 1;
}

// A warp reads down a column of a 32-wide matrix in shared memory: all its numbers lie in one bank.
void rocl_access_banks(const uint64_t* slots) {
    SHARED(float, box, 32 * 32);
    for (uint32_t i = threadIdx.x; i < 32 * 32; i += blockDim.x) box[i] = 1;
    __syncthreads();
    tensor(slots)[global_thread()] = box[threadIdx.x % 32 * 32];
}

// The same where rows are one number longer.
void rocl_access_padded(const uint64_t* slots) {
    SHARED(float, box, 33 * 32);
    for (uint32_t i = threadIdx.x; i < 33 * 32; i += blockDim.x) box[i] = 1;
    __syncthreads();
    tensor(slots)[global_thread()] = box[threadIdx.x % 32 * 33];
}

// A thread reads what its neighbour in the warp has written, without a barrier between.
void rocl_access_race(const uint64_t* slots) {
    SHARED(float, box, 256);
    box[threadIdx.x] = 1;
    tensor(slots)[global_thread()] = box[threadIdx.x ^ 1];
}

// The same with a barrier of the warp, which orders its lanes.
void rocl_access_warp_barrier(const uint64_t* slots) {
    SHARED(float, box, 256);
    box[threadIdx.x] = 1;
    __syncwarp();
    tensor(slots)[global_thread()] = box[threadIdx.x ^ 1];
}

// A barrier of the warp does not order a warp and the next.
void rocl_access_other_warp(const uint64_t* slots) {
    SHARED(float, box, 256);
    box[threadIdx.x] = 1;
    __syncwarp();
    tensor(slots)[global_thread()] = box[threadIdx.x ^ 32];
}

// A shuffle is not a barrier.
void rocl_access_shuffle(const uint64_t* slots) {
    SHARED(float, box, 256);
    box[threadIdx.x] = 1;
    float one = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
    tensor(slots)[global_thread()] = one * box[threadIdx.x ^ 1];
}

// The first thread of every block reads the first number, which that of the first block writes.
void rocl_access_blocks(const uint64_t* slots) {
    if (threadIdx.x == 0) tensor(slots)[blockIdx.x] = tensor(slots)[0] + 1;
}
}
