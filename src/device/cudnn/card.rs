//! Cards that plans can be made for without having one.

/// A card, as cuDNN wants it described.
#[derive(Clone, Copy, Debug)]
pub struct DescribedCard {
    /// Such as `sm_90`.
    pub architecture: &'static str,
    /// As its driver says it.
    pub name: &'static str,
    /// The properties that cuDNN asks of a driver, in JSON.
    pub properties: &'static str,
}

/// One card each of the architectures that are most used for training.
pub const CARDS: [DescribedCard; 2] = [
    DescribedCard { architecture: "sm_80", name: "NVIDIA A100-SXM4-80GB", properties: include_str!("cards/a100.json") },
    DescribedCard { architecture: "sm_90", name: "NVIDIA H200", properties: include_str!("cards/h200.json") },
];
