// Element types and the few scalar functions kernels share.
#pragma once

DEVICE inline Real to_real(float x) { return x; }
DEVICE inline Real to_real(double x) { return (Real)x; }
DEVICE inline Real to_real(uint8_t x) { return (Real)x; }
DEVICE inline Real to_real(f16 x) { return f16_to_float(x); }
DEVICE inline Real to_real(bf16 x) { return bf16_to_float(x); }

template <typename E> struct from_real;
template <> struct from_real<float> { static DEVICE float convert(Real x) { return (float)x; } };
template <> struct from_real<double> { static DEVICE double convert(Real x) { return x; } };
template <> struct from_real<f16> { static DEVICE f16 convert(Real x) { return float_to_f16((float)x); } };
template <> struct from_real<bf16> { static DEVICE bf16 convert(Real x) { return float_to_bf16((float)x); } };

// Ternaries, variable first: NaN falls through to the bound as CUDA's fminf/fmaxf would have it, and host compilers vectorise them.
DEVICE inline Real minimum(Real x, Real bound) { return x < bound ? x : bound; }
DEVICE inline Real maximum(Real x, Real bound) { return x > bound ? x : bound; }
DEVICE inline Real clamp(Real x, Real low, Real high) { return minimum(maximum(x, low), high); }
DEVICE inline Real sign(Real x) { return (Real)(x > 0) - (Real)(x < 0); }

DEVICE inline Real magnitude(Real x) { return x < 0 ? -x : x; }
// Neither infinite nor NaN.
DEVICE inline bool is_finite(Real x) { return x - x == 0; }
// e where 2^e <= x < 2^(e + 1), for a positive finite x.
DEVICE inline int exponent(float x) { return ilogbf(x); }
DEVICE inline int exponent(double x) { return ilogb(x); }
// 2^n for n from -126 to 127: exact, and normal.
DEVICE inline Real power_of_two(int n) { return (Real)__int_as_float((n + 127) << 23); }

DEVICE inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
DEVICE inline double multiply_add(double a, double b, double c) { return fma(a, b, c); }
DEVICE inline float exponential(float x) { return expf(x); }
DEVICE inline double exponential(double x) { return exp(x); }
DEVICE inline float exponential_minus_one(float x) { return expm1f(x); }
DEVICE inline double exponential_minus_one(double x) { return expm1(x); }
DEVICE inline float logarithm(float x) { return logf(x); }
DEVICE inline double logarithm(double x) { return log(x); }
DEVICE inline float square_root(float x) { return sqrtf(x); }
DEVICE inline double square_root(double x) { return sqrt(x); }
// cos(pi x) and sin(pi x).
DEVICE inline float cosine_of_half_turns(float x) { return cospif(x); }
DEVICE inline double cosine_of_half_turns(double x) { return cospi(x); }
DEVICE inline float sine_of_half_turns(float x) { return sinpif(x); }
DEVICE inline double sine_of_half_turns(double x) { return sinpi(x); }

// What a rectifier lifts its input to: nothing, when there is none.
DEVICE inline Real rectifier_floor(int32_t relu) { return relu ? (Real)0 : -(Real)INFINITY; }

template <typename I> DEVICE inline I ceil_div(I a, I b) { return (a + b - 1) / b; }
