//! What known GPUs can do, for predictions: `benches/cards/*.toml`.

use super::ceilings::Ceilings;
use crate::{Error, Result};
use serde::Deserialize;

/// A card's ceilings, and where they are from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// As NVIDIA calls it.
    pub name: String,
    /// As its driver calls it, letter for letter: of the same chip there are cards with other memory or less power.
    pub driver_name: String,
    /// Compute capability, e.g. 9.0.
    pub compute_capability: f64,
    /// Where the figures are from, and whether they can be reached.
    pub source: String,
    /// Bytes a second, read and written together.
    pub bytes_per_second: f64,
    /// Dense floating-point operations a second by precision.
    pub flops_per_second: FlopsByPrecision,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// Dense matrix products, f32 accumulation.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlopsByPrecision {
    /// f32 on the ordinary units.
    pub fp32: f64,
    /// TF32 on tensor cores; absent before Ampere.
    pub tf32: Option<f64>,
    /// f16 on tensor cores.
    pub fp16: f64,
    /// bf16 on tensor cores; absent before Ampere.
    pub bf16: Option<f64>,
}

const CARDS: &[(&str, &str)] = &[
    ("t4", include_str!("../../benches/cards/t4.toml")),
    ("4090", include_str!("../../benches/cards/4090.toml")),
    ("a100", include_str!("../../benches/cards/a100.toml")),
    ("l40s", include_str!("../../benches/cards/l40s.toml")),
    ("h100", include_str!("../../benches/cards/h100.toml")),
    ("h200", include_str!("../../benches/cards/h200.toml")),
];

impl Card {
    /// The short names there are.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CARDS.iter().map(|(name, _)| *name)
    }

    /// The card of that short name, in any case.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none.
    pub fn named(name: &str) -> Result<Self> {
        let list = || Self::names().collect::<Vec<_>>().join(", ");
        let unknown = || Error::Usage(format!("there is no card `{name}`; give one of {}", list()));
        let (_, text) = CARDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).ok_or_else(unknown)?;
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let what = error.message().replace('\n', "; ");
            Error::Usage(format!("benches/cards/{name}.toml cannot be read ({what}); please report it"))
        })
    }

    /// The card that a driver calls so.
    pub fn reported_as(driver_name: &str) -> Option<Self> {
        Self::names().filter_map(|name| Self::named(name).ok()).find(|card| card.driver_name == driver_name)
    }

    /// The ceilings in a precision; none where the card lacks it.
    pub fn ceilings(&self, precision: &str) -> Option<Ceilings> {
        let flops = self.flops_per_second;
        let flops_per_second = match precision {
            "fp32" => Some(flops.fp32),
            "tf32" => flops.tf32,
            "fp16" => Some(flops.fp16),
            "bf16" => flops.bf16,
            _ => None,
        }?;
        Some(Ceilings { bytes_per_second: self.bytes_per_second, flops_per_second })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file is read, newer or larger cards are not slower than smaller ones of their line, and precisions are ordered.
    #[test]
    fn cards_are_plausible() {
        for name in Card::names() {
            let card = Card::named(name).unwrap();
            let flops = card.flops_per_second;
            assert!(flops.fp32 < flops.fp16 && flops.tf32.is_none_or(|tf32| tf32 < flops.fp16), "{name}");
            assert!((1e11..1e13).contains(&card.bytes_per_second) && (1e12..1e15).contains(&flops.fp16), "{name}");
            assert_eq!(flops.bf16.is_some(), card.compute_capability >= 8.0, "{name}");
        }
        assert!(Card::named("H200").unwrap().bytes_per_second > Card::named("t4").unwrap().bytes_per_second);
        assert!(Card::named("abacus").is_err());
    }

    /// A card is known by its driver's name for it, and one of the same chip with other memory is not.
    #[test]
    fn cards_are_known_by_their_drivers_names() {
        let name = |driver_name| Card::reported_as(driver_name).map(|card| card.name);
        assert_eq!(name("NVIDIA H200").as_deref(), Some("H200 SXM"));
        assert_eq!(name("NVIDIA A100-SXM4-80GB").as_deref(), Some("A100 SXM 80 GB"));
        assert_eq!([name("NVIDIA A100-SXM4-40GB"), name("NVIDIA H100 PCIe"), name("")], [None, None, None]);
    }
}
