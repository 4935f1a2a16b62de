// The CUDA built-ins for a C++ compiler: with this header in front, a kernel is an ordinary function that one CUDA thread executes.
// The thread's coordinates live in thread-local state that the scheduler (src/device/host/simt.rs) sets; barriers and shuffles
// suspend the coroutine the thread runs on. Grids and blocks are one-dimensional. Keep RoclSimt in step with its Rust twin.
// Functions are static: kernels are compiled in two ways, and the linker must not take one's functions for the other's.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define DEVICE
#define OPTIONAL
#define INPLACE
#define KERNEL(name) [[maybe_unused]] static void name
#define COOPERATIVE_KERNEL(name) [[maybe_unused]] static void name
#define HOST_INDEPENDENT _Pragma("GCC ivdep")
#ifdef ROCL_ACCESS
// Kernels whose accesses are watched (access.cpp) run as on a GPU, and access memory as there: see PACKETS below.
#define HOST_GEOMETRY false
#else
// One thread a block: the host's own geometry, contiguous ranges.
#define HOST_GEOMETRY (rocl_simt.block_dim.x == 1)
#endif

struct RoclIndex {
    uint32_t x;
};

// One CUDA thread of the block that is running.
struct RoclThread {
    const void* yielder;
    uint32_t shared_used;
    uint32_t exchanges;
};

struct RoclSimt {
    RoclIndex thread, block, block_dim, grid_dim;
    RoclThread* threads;
    uint64_t* slots;  // [warps][2][32]: what the lanes of a warp hand each other
    char* shared;
    uint64_t shared_size;
    void (*suspend)(RoclSimt*, uint32_t kind);
    uint32_t violation;  // see enum Violation in simt.rs
};

// A plain __thread: no initialisation guard, so that reading it costs one instruction.
extern "C" __thread RoclSimt rocl_simt;

#define threadIdx (rocl_simt.thread)
#define blockIdx (rocl_simt.block)
#define blockDim (rocl_simt.block_dim)
#define gridDim (rocl_simt.grid_dim)

enum RoclSuspend : uint32_t { ROCL_BLOCK_BARRIER = 1, ROCL_WARP_BARRIER = 2, ROCL_WARP_EXCHANGE = 3, ROCL_WARP_VOTE = 4 };
enum RoclViolation : uint32_t { ROCL_NOT_COOPERATIVE = 1, ROCL_PARTIAL_MASK = 2, ROCL_SHARED_EXHAUSTED = 3 };

// Ends the launch with an error. A coroutine never returns from here, so that it cannot touch memory it was not given.
static inline void rocl_violate(uint32_t violation) {
    rocl_simt.violation = violation;
    if (rocl_simt.suspend) rocl_simt.suspend(&rocl_simt, ROCL_BLOCK_BARRIER);
}

static inline void rocl_suspend(uint32_t kind) {
    if (rocl_simt.suspend) rocl_simt.suspend(&rocl_simt, kind);
    else rocl_violate(ROCL_NOT_COOPERATIVE);
}

static inline void __syncthreads() { rocl_suspend(ROCL_BLOCK_BARRIER); }

static inline void rocl_full_mask(unsigned mask) {
    if (mask != 0xffffffffu) rocl_violate(ROCL_PARTIAL_MASK);
}

static inline void __syncwarp(unsigned mask = 0xffffffffu) {
    rocl_full_mask(mask);
    rocl_suspend(ROCL_WARP_BARRIER);
}

// Hands `v` to the warp and returns what lane `source` handed in. Two sets of slots in turn: a lane can be at most one exchange ahead.
template <typename V> static inline V rocl_exchange(unsigned mask, V v, uint32_t source, uint32_t kind) {
    static_assert(sizeof(V) <= 8, "a shuffle moves at most 8 bytes");
    rocl_full_mask(mask);
    if (!rocl_simt.suspend) {
        rocl_violate(ROCL_NOT_COOPERATIVE);
        return v;
    }
    uint32_t turn = rocl_simt.threads[threadIdx.x].exchanges++ & 1;
    uint64_t* slots = rocl_simt.slots + ((threadIdx.x >> 5) * 2 + turn) * 32;
    std::memcpy(slots + (threadIdx.x & 31), &v, sizeof(V));
    rocl_suspend(kind);
    V out;
    std::memcpy(&out, slots + (source & 31), sizeof(V));
    return out;
}

template <typename V> static inline V __shfl_sync(unsigned mask, V v, int source) {
    return rocl_exchange(mask, v, (uint32_t)source, ROCL_WARP_EXCHANGE);
}
template <typename V> static inline V __shfl_xor_sync(unsigned mask, V v, int lanes) {
    return rocl_exchange(mask, v, (threadIdx.x & 31) ^ (uint32_t)lanes, ROCL_WARP_EXCHANGE);
}
template <typename V> static inline V __shfl_down_sync(unsigned mask, V v, unsigned delta) {
    uint32_t lane = threadIdx.x & 31;
    return rocl_exchange(mask, v, lane + delta < 32 ? lane + delta : lane, ROCL_WARP_EXCHANGE);
}
template <typename V> static inline V __shfl_up_sync(unsigned mask, V v, unsigned delta) {
    uint32_t lane = threadIdx.x & 31;
    return rocl_exchange(mask, v, lane >= delta ? lane - delta : lane, ROCL_WARP_EXCHANGE);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
    rocl_full_mask(mask);
    if (!rocl_simt.suspend) {
        rocl_violate(ROCL_NOT_COOPERATIVE);
        return predicate != 0;
    }
    uint32_t turn = rocl_simt.threads[threadIdx.x].exchanges++ & 1;
    uint64_t* slots = rocl_simt.slots + ((threadIdx.x >> 5) * 2 + turn) * 32;
    slots[threadIdx.x & 31] = predicate != 0;
    rocl_suspend(ROCL_WARP_VOTE);
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane) votes |= (unsigned)slots[lane] << lane;
    return votes;
}
static inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
static inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == 0xffffffffu; }

// Shared memory of the block. Every thread declares the same arrays in the same order, so each finds the same addresses.
static inline void* rocl_shared(uint64_t bytes) {
    RoclThread& thread = rocl_simt.threads[threadIdx.x];
    uint64_t begin = (thread.shared_used + 15) & ~(uint64_t)15;
    if (begin + bytes > rocl_simt.shared_size) rocl_violate(ROCL_SHARED_EXHAUSTED);
    thread.shared_used = (uint32_t)(begin + bytes);
    return rocl_simt.shared + begin;
}
#define SHARED(type, name, count) type* name = static_cast<type*>(rocl_shared(sizeof(type) * (count)))

// The C library may or may not have these. Through double, so that the f32 ones are rounded as well as CUDA's.
static inline double rocl_cospi(double x) { return std::cos(3.14159265358979323846 * x); }
static inline double rocl_sinpi(double x) { return std::sin(3.14159265358979323846 * x); }
#define cospi(x) rocl_cospi(x)
#define sinpi(x) rocl_sinpi(x)
#define cospif(x) ((float)rocl_cospi(x))
#define sinpif(x) ((float)rocl_sinpi(x))

static inline float __int_as_float(int32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
static inline int32_t __float_as_int(float x) {
    int32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

#ifdef ROCL_ACCESS
// One number at a time but for packets, which are moved whole: every access is one that a GPU makes, and as wide.
template <typename E, int N> constexpr int SIMD_WIDTH = 1;
constexpr bool PACKETS = true;
template <typename P> static inline void copy_packet(P* to, const P* from) {
    typedef uint64_t Word __attribute__((may_alias, aligned(sizeof(P))));
    typedef uint64_t Words __attribute__((vector_size(16), may_alias));
    if constexpr (sizeof(P) == 16) *reinterpret_cast<Words*>(to) = *reinterpret_cast<const Words*>(from);
    else if constexpr (sizeof(P) == 8) *reinterpret_cast<Word*>(to) = *reinterpret_cast<const Word*>(from);
    else *to = *from;
}
#else
// Several of N numbers in one instruction: a GNU vector of 32 bytes, where the numbers fill some.
template <typename E, int N> constexpr int SIMD_WIDTH = N * sizeof(E) % 32 == 0 ? 32 / sizeof(E) : 1;
constexpr bool PACKETS = false;
template <typename P> static inline void copy_packet(P* to, const P* from) { std::memcpy(to, from, sizeof(P)); }
#endif
template <typename E, int N> struct Simd {
    typedef E type __attribute__((vector_size(N * sizeof(E))));
};
template <typename E> struct Simd<E, 1> { using type = E; };
template <typename Part, typename E> static inline Part simd_load(const E* from) {
    Part part;
    std::memcpy(&part, from, sizeof(Part));
    return part;
}
template <typename Part, typename E> static inline void simd_store(E* to, Part part) { std::memcpy(to, &part, sizeof(Part)); }

// 16-bit types are storage only here; conversions round to nearest even, as the GPU's do.
struct f16 {
    uint16_t bits;
};
struct bf16 {
    uint16_t bits;
};

static inline float rocl_as_float(uint32_t bits) { return __int_as_float((int32_t)bits); }
static inline uint32_t rocl_as_bits(float x) { return (uint32_t)__float_as_int(x); }

static inline float bf16_to_float(bf16 x) { return rocl_as_float((uint32_t)x.bits << 16); }
static inline bf16 float_to_bf16(float x) {
    uint32_t bits = rocl_as_bits(x);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40;
    return {(uint16_t)(x != x ? quiet : rounded)};
}

static inline float f16_to_float(f16 x) {
    // Shift the fields into place, then rescale the exponent by a multiplication, which also normalises subnormals.
    uint32_t magnitude = (uint32_t)(x.bits & 0x7fff) << 13;
    float scaled = rocl_as_float(magnitude) * 0x1p112f;
    uint32_t special = magnitude >= (0x7c00u << 13) ? 0x7f800000u : 0u;  // infinity or NaN
    return rocl_as_float(rocl_as_bits(scaled) | special | ((uint32_t)(x.bits & 0x8000) << 16));
}
static inline f16 float_to_f16(float x) {
    uint32_t bits = rocl_as_bits(x), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
    uint32_t normal = (magnitude + 0xfff + ((magnitude >> 13) & 1) - (112u << 23)) >> 13;
    // Below 2^-14: adding 0.5 leaves exactly the subnormal's bits, rounded to even, in the low mantissa.
    uint32_t subnormal = rocl_as_bits(rocl_as_float(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t result = magnitude < 0x38800000u ? subnormal : normal;
    result = magnitude >= 0x477ff000u ? 0x7c00u : result;  // rounds past 65504
    result = magnitude > 0x7f800000u ? 0x7e00u : result;   // NaN
    return {(uint16_t)(result | sign)};
}
