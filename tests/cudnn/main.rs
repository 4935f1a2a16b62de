//! cuDNN's plans, made for cards that are only described: no GPU is needed, and nothing is run on one.

mod engines;
mod meaning;
mod networks;
mod refusals;
mod table;

use rocl::device::conv::ConvShape;
use rocl::device::cudnn::Cudnn;

/// Architecture, name, and description as cuDNN wants it.
const CARDS: [(&str, &str, &str); 2] =
    [("sm_80", "NVIDIA A100-SXM4-80GB", include_str!("a100.json")), ("sm_90", "NVIDIA H200", include_str!("h200.json"))];

/// cuDNN for one of [`CARDS`]; none, said aloud, where the library is missing.
fn cudnn(architecture: &str) -> Option<Cudnn> {
    let (_, name, properties) = CARDS.into_iter().find(|card| card.0 == architecture).unwrap();
    match Cudnn::for_described_card(name, properties) {
        Ok(cudnn) => Some(cudnn),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// The second convolution of ResNet-18.
const SHAPE: ConvShape = ConvShape { n: 256, h: 32, w: 32, c: 64, k: 64, r: 3, s: 3, stride: 1, pad: 1 };
