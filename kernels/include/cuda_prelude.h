// What stands in front of a kernel file when nvcc compiles it: the counterpart of host/simt.h.
#pragma once
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define DEVICE __device__ __attribute__((always_inline))
#define OPTIONAL
#define INPLACE
// The unit that includes this (kernels/codegen/cuda.rs) defines ROCL_ENTRY_name as one of these and a symbol. Without launch bounds: told that
// blocks have at most 256 threads, the compiler spills registers to fit one more of them, and 256 threads fit with any number of registers.
#define KERNEL(name) ROCL_ENTRY_##name
#define COOPERATIVE_KERNEL(name) ROCL_ENTRY_##name
#define ROCL_GLOBAL extern "C" __global__ void
#define ROCL_UNUSED [[maybe_unused]] static __device__ void
#define HOST_INDEPENDENT
#define HOST_GEOMETRY false
// Aligned for 16-byte accesses, as on the host.
#define SHARED(type, name, count) __shared__ __align__(16) type name[count]

using f16 = __half;
using bf16 = __nv_bfloat16;
DEVICE inline float f16_to_float(f16 x) { return __half2float(x); }
DEVICE inline f16 float_to_f16(float x) { return __float2half_rn(x); }
DEVICE inline float bf16_to_float(bf16 x) { return __bfloat162float(x); }
DEVICE inline bf16 float_to_bf16(float x) { return __float2bfloat16_rn(x); }

// One number an instruction.
template <typename E, int N> constexpr int SIMD_WIDTH = 1;
template <typename E, int N> struct Simd { using type = E; };
template <typename Part, typename E> DEVICE inline Part simd_load(const E* from) { return *from; }
template <typename Part, typename E> DEVICE inline void simd_store(E* to, Part part) { *to = part; }

constexpr bool PACKETS = true;
template <typename P> DEVICE inline void copy_packet(P* to, const P* from) {
    if constexpr (sizeof(P) == 16) *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
    else if constexpr (sizeof(P) == 8) *reinterpret_cast<uint2*>(to) = *reinterpret_cast<const uint2*>(from);
    else *to = *from;
}
