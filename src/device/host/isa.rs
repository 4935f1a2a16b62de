//! Which vector instructions this processor has.

/// A set of vector instructions that the host code is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// What every processor of the architecture has.
    Baseline,
    /// 256-bit vectors with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The sets that this processor has, the widest last.
    pub(super) fn present() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let wider = [
            (Self::Avx2, is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")),
            (Self::Avx512, is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let wider: [(Self, bool); 0] = [];
        std::iter::once(Self::Baseline).chain(wider.into_iter().filter_map(|(isa, found)| found.then_some(isa)))
    }

    /// The widest set that this processor has.
    pub(super) fn widest() -> Self {
        Self::present().last().unwrap_or(Self::Baseline)
    }

    /// As processors are advertised.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline instructions",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
        }
    }

    /// Runs `body`, compiled for these instructions as far as the compiler inlines it.
    #[inline]
    pub(super) fn run(self, body: impl FnOnce()) {
        match self {
            Self::Baseline => body(),
            // SAFETY: `present`, the only place that makes these values, has seen the features.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2(body) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512(body) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(body: impl FnOnce()) {
    body();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
fn avx512(body: impl FnOnce()) {
    body();
}
