//! cuDNN's plans, made for cards that are only described: no GPU is needed, and nothing is run on one.

mod engines;
mod meaning;
mod networks;
#[path = "../plan_interpreter/mod.rs"]
mod plan_interpreter;
mod refusals;
#[path = "../common/skipped.rs"]
mod skipped;
mod table;

use rocl::device::conv::ConvShape;
use rocl::device::cudnn::{CARDS, Cudnn};
use skipped::missing;

/// cuDNN for one of [`CARDS`]; none, said aloud, where the library is missing.
fn cudnn(architecture: &str) -> Option<Cudnn> {
    let card = CARDS.iter().find(|card| card.architecture == architecture).unwrap();
    match Cudnn::for_described_card(card.name, card.properties) {
        Ok(cudnn) => Some(cudnn),
        Err(error) => {
            missing(error);
            None
        }
    }
}

/// The second convolution of ResNet-18.
const SHAPE: ConvShape = ConvShape { n: 256, h: 32, w: 32, c: 64, k: 64, r: 3, s: 3, stride: 1, pad: 1 };
