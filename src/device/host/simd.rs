//! The five vector operations that the product kernel is written in, for each instruction set.

/// A vector of [`Simd::LANES`] numbers and what the product kernel does with it.
///
/// # Safety
/// The methods may be called only on a processor that has the instructions, and the pointers must be valid for
/// [`Simd::LANES`] numbers; they need not be aligned.
pub(super) trait Simd {
    /// The number type.
    type Real: Copy;
    /// The register.
    type Vector: Copy;
    /// Numbers per register.
    const LANES: usize;

    /// `LANES` consecutive numbers.
    unsafe fn load(source: *const Self::Real) -> Self::Vector;

    /// One number in every lane.
    unsafe fn splat(value: Self::Real) -> Self::Vector;

    /// `a · b + c` with one rounding.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// Stores to `LANES` consecutive numbers.
    unsafe fn store(target: *mut Self::Real, value: Self::Vector);
}

/// Arrays of four, which the compiler turns into whatever vectors the architecture has.
pub(super) struct Baseline<R>(std::marker::PhantomData<R>);

macro_rules! baseline {
    ($real:ident) => {
        impl Simd for Baseline<$real> {
            type Real = $real;
            type Vector = [$real; 4];
            const LANES: usize = 4;

            #[inline(always)]
            unsafe fn load(source: *const $real) -> [$real; 4] {
                // SAFETY: the trait's contract.
                unsafe { source.cast::<[$real; 4]>().read_unaligned() }
            }

            #[inline(always)]
            unsafe fn splat(value: $real) -> [$real; 4] {
                [value; 4]
            }

            #[inline(always)]
            unsafe fn mul_add(a: [$real; 4], b: [$real; 4], c: [$real; 4]) -> [$real; 4] {
                std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
            }

            #[inline(always)]
            unsafe fn store(target: *mut $real, value: [$real; 4]) {
                // SAFETY: the trait's contract.
                unsafe { target.cast::<[$real; 4]>().write_unaligned(value) }
            }
        }
    };
}

baseline!(f32);
baseline!(f64);

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::marker::PhantomData;

    use super::Simd;

    /// 256-bit registers.
    pub(in super::super) struct Avx2<R>(PhantomData<R>);

    /// 512-bit registers.
    pub(in super::super) struct Avx512<R>(PhantomData<R>);

    macro_rules! x86 {
        ($isa:ident<$real:ident>, $vector:ident, $lanes:literal, $load:ident, $splat:ident, $mul_add:ident, $store:ident) => {
            impl Simd for $isa<$real> {
                type Real = $real;
                type Vector = $vector;
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn load(source: *const $real) -> $vector {
                    // SAFETY: the trait's contract.
                    unsafe { $load(source) }
                }

                #[inline(always)]
                unsafe fn splat(value: $real) -> $vector {
                    // SAFETY: the trait's contract.
                    unsafe { $splat(value) }
                }

                #[inline(always)]
                unsafe fn mul_add(a: $vector, b: $vector, c: $vector) -> $vector {
                    // SAFETY: the trait's contract.
                    unsafe { $mul_add(a, b, c) }
                }

                #[inline(always)]
                unsafe fn store(target: *mut $real, value: $vector) {
                    // SAFETY: the trait's contract.
                    unsafe { $store(target, value) }
                }
            }
        };
    }

    x86!(Avx2<f32>, __m256, 8, _mm256_loadu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps);
    x86!(Avx2<f64>, __m256d, 4, _mm256_loadu_pd, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_storeu_pd);
    x86!(Avx512<f32>, __m512, 16, _mm512_loadu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps);
    x86!(Avx512<f64>, __m512d, 8, _mm512_loadu_pd, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_storeu_pd);
}
