// The one header a kernel includes. Kernels are written over three names:
//   T     the storage type of activations and working weights (float, f16, bf16; double in host tests)
//   Real  the type arithmetic is done in: float, or double when T is double
//   KERNEL(name)(...) / COOPERATIVE_KERNEL(name)(...)   an entry point; build.rs reads these signatures
// Every file is compiled once per T inside a namespace of its own (see kernels/codegen), so nothing here is a macro over types.
// What a signature may hold: pointers and scalars of T, Real, float, uint8_t, int32_t, int64_t; `OPTIONAL` before a pointer's
// name says that it may be null.
#pragma once
#include "numeric.cuh"
#include "lanes.cuh"
#include "iterate.cuh"
#include "philox.cuh"
#include "warp.cuh"
#include "columns.cuh"
