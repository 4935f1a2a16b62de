//! The product kernel: the one inner loop of every convolution and matrix product on the CPU.
//!
//! It keeps a tile of `points` × `lanes` sums in registers and runs through the depth of the product once. Each sum is one
//! chain of fused multiply-adds in the order of the depth, so its bits depend neither on the width of the vectors nor on how
//! the tiles are laid out.
//!
//! Not a general matrix product from a library: this one reads overlapping windows of an image where they lie, starts its sums
//! from the bias, and has tiles for 16 channels as well as for 64.

use super::isa::Isa;
use super::simd::{Baseline, Simd};

/// A stretch of the depth along which both operands advance by a constant step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where the first vector operand starts, relative to [`Tile::vectors`].
    pub(super) vector: usize,
    /// Where the first scalar operand starts, relative to each point's offset.
    pub(super) scalar: usize,
    /// Steps.
    pub(super) len: usize,
}

/// The arguments of a [`Kernel`]: for every point `p` and lane `l`,
///
/// `sums[p][l] = initial[p][l] + Σ_segments Σ_d vectors[vector + d·vector_step + l] · scalars[offsets[p] + scalar + d·scalar_step]`
#[derive(Clone, Copy)]
pub(super) struct Tile<'a, R> {
    /// The depth.
    pub(super) segments: &'a [Segment],
    /// The operand that is read a vector at a time.
    pub(super) vectors: *const R,
    /// How far it advances per step of the depth.
    pub(super) vector_step: usize,
    /// The operand that is read a number at a time.
    pub(super) scalars: *const R,
    /// How far it advances per step of the depth.
    pub(super) scalar_step: usize,
    /// Where each point's scalars are.
    pub(super) offsets: &'a [usize],
    /// What the sums start from; may be `sums`.
    pub(super) initial: *const R,
    /// Distance between two points in `initial`; 0 where all start from the same lanes.
    pub(super) initial_stride: usize,
    /// Where the sums go; point after point, lanes contiguous.
    pub(super) sums: *mut R,
}

/// A compiled size of the product kernel.
pub struct Kernel<R> {
    /// Numbers in the vector direction of the tile.
    pub(super) lanes: usize,
    /// Numbers in the other direction.
    pub(super) points: usize,
    /// Time of one step of the depth, in units of one multiply-add or one load.
    step_cost: usize,
    /// # Safety
    /// All that the tile addresses must be valid, and the processor must have the instructions.
    pub(super) run: unsafe fn(&Tile<R>),
}

impl<R> Kernel<R> {
    /// Time of a product of `lanes` × `points` per step of its depth: what is computed in vain at the edges counts too.
    pub(super) fn cost(&self, lanes: usize, points: usize) -> usize {
        lanes.div_ceil(self.lanes) * points.div_ceil(self.points) * self.step_cost
    }
}

/// The number types that the product kernel is compiled for.
pub trait Kernels: Sized + 'static {
    /// The sizes that run well with some instructions, small tiles first.
    #[doc(hidden)]
    fn kernels(isa: Isa) -> &'static [Kernel<Self>];
}

/// The size that computes `lanes` × `points` soonest.
pub(super) fn choose<R: Kernels>(lanes: usize, points: usize) -> &'static Kernel<R> {
    choose_by(|kernel| kernel.cost(lanes, points))
}

/// The size that costs least.
pub(super) fn choose_by<R: Kernels>(cost: impl Fn(&Kernel<R>) -> usize) -> &'static Kernel<R> {
    let kernels = R::kernels(Isa::widest());
    // The larger tile, which stands later, wins a tie: it loads less.
    kernels.iter().rev().min_by_key(|kernel| cost(kernel)).unwrap_or(&kernels[0])
}

#[inline(always)]
unsafe fn product<S: Simd, const VECTORS: usize, const POINTS: usize>(tile: &Tile<S::Real>) {
    debug_assert!(tile.offsets.len() >= POINTS);
    // SAFETY: the caller vouches for every address that the tile describes and for the instructions.
    unsafe {
        let offsets = tile.offsets.as_ptr().cast::<[usize; POINTS]>().read();
        let mut sums: [[S::Vector; VECTORS]; POINTS] = std::array::from_fn(|point| {
            let initial = tile.initial.add(point * tile.initial_stride);
            std::array::from_fn(|vector| S::load(initial.add(vector * S::LANES)))
        });
        for segment in tile.segments {
            let mut vectors = tile.vectors.add(segment.vector);
            let scalars: [*const S::Real; POINTS] = std::array::from_fn(|p| tile.scalars.add(offsets[p] + segment.scalar));
            let mut at = 0;
            for _ in 0..segment.len {
                let loaded: [S::Vector; VECTORS] = std::array::from_fn(|v| S::load(vectors.add(v * S::LANES)));
                for point in 0..POINTS {
                    let scalar = S::splat(*scalars[point].add(at));
                    for vector in 0..VECTORS {
                        sums[point][vector] = S::mul_add(loaded[vector], scalar, sums[point][vector]);
                    }
                }
                vectors = vectors.add(tile.vector_step);
                at += tile.scalar_step;
            }
        }
        for (index, sum) in sums.as_flattened().iter().enumerate() {
            S::store(tile.sums.add(index * S::LANES), *sum);
        }
    }
}

unsafe fn baseline<S: Simd, const VECTORS: usize, const POINTS: usize>(tile: &Tile<S::Real>) {
    // SAFETY: passed on to the caller.
    unsafe { product::<S, VECTORS, POINTS>(tile) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<S: Simd, const VECTORS: usize, const POINTS: usize>(tile: &Tile<S::Real>) {
    // SAFETY: passed on to the caller.
    unsafe { product::<S, VECTORS, POINTS>(tile) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<S: Simd, const VECTORS: usize, const POINTS: usize>(tile: &Tile<S::Real>) {
    // SAFETY: passed on to the caller.
    unsafe { product::<S, VECTORS, POINTS>(tile) }
}

/// A table of kernels, small tiles first. A step costs its multiply-adds or its loads, whichever takes longer: the processors
/// that matter do two of each per cycle.
macro_rules! kernels {
    ($function:ident, $simd:ty, $([$vectors:literal, $points:literal]),+) => {
        const {
            &[$(Kernel {
                lanes: $vectors * <$simd as Simd>::LANES,
                points: $points,
                step_cost: if $vectors * $points > $vectors + $points { $vectors * $points } else { $vectors + $points },
                run: $function::<$simd, $vectors, $points>,
            }),+]
        }
    };
}

macro_rules! implement {
    ($real:ident) => {
        impl Kernels for $real {
            fn kernels(isa: Isa) -> &'static [Kernel<Self>] {
                match isa {
                    Isa::Baseline => kernels!(baseline, Baseline<$real>, [1, 8], [2, 8], [3, 8], [4, 6]),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => kernels!(avx2, super::simd::Avx2<$real>, [1, 8], [2, 6]),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => kernels!(avx512, super::simd::Avx512<$real>, [1, 8], [2, 8], [3, 8], [4, 6]),
                }
            }
        }
    };
}

implement!(f32);
implement!(f64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every size for every instruction set of this processor gives the bits of the sum written out.
    #[test]
    fn kernels_agree_with_the_definition_to_the_bit() {
        const STRIDE: usize = 71;
        let segments = [Segment { vector: 3, scalar: 5, len: 7 }, Segment { vector: 640, scalar: 90, len: 1 }];
        let vectors: Vec<f32> = (0..1500).map(|i| (i as f32 * 0.37).sin()).collect();
        let scalars: Vec<f32> = (0..1500).map(|i| (i as f32 * 0.73).cos()).collect();
        let initial: Vec<f32> = (0..1500).map(|i| (i as f32 * 0.11).sin()).collect();
        for kernel in Isa::present().flat_map(f32::kernels) {
            let offsets: Vec<usize> = (0..kernel.points).map(|point| point * point % 11).collect();
            let mut sums = vec![f32::NAN; kernel.lanes * kernel.points];
            let tile = Tile {
                segments: &segments,
                vectors: vectors.as_ptr(),
                vector_step: STRIDE,
                scalars: scalars.as_ptr(),
                scalar_step: 2,
                offsets: &offsets,
                initial: initial.as_ptr(),
                initial_stride: STRIDE,
                sums: sums.as_mut_ptr(),
            };
            // SAFETY: all operands have 1500 elements, and no index below reaches that.
            unsafe { (kernel.run)(&tile) };
            for (index, sum) in sums.iter().enumerate() {
                let (point, lane) = (index / kernel.lanes, index % kernel.lanes);
                let steps = segments.iter().flat_map(|segment| (0..segment.len).map(move |d| (segment, d)));
                let expected = steps.fold(initial[point * STRIDE + lane], |sum, (segment, d)| {
                    let scalar = scalars[offsets[point] + segment.scalar + 2 * d];
                    vectors[segment.vector + STRIDE * d + lane].mul_add(scalar, sum)
                });
                assert_eq!(sum.to_bits(), expected.to_bits(), "{} × {}, {index}", kernel.lanes, kernel.points);
            }
        }
    }
}
