//! The networks: layers with `forward` and `backward` written out, over buffers allocated once.
//!
//! [`Topology`] says what a network consists of, and [`Weights`] are what it has learnt. [`Backbone`] is its training form (batch statistics, parameter
//! gradients), with a projector on it [`Network`], and with a linear head [`ClassifierNetwork`]. [`Inference`] is its inference form (running statistics, in
//! general folded into the convolutions; only the images have a gradient): the form attacks run on, with a copy of the [`Weights`].

mod architecture;
mod backbone;
pub(crate) mod batch_norm;
mod classifier;
mod classifier_network;
mod conv;
mod image_input;
mod inference;
mod init;
mod linear;
mod network;
mod parameters;
mod projector;
mod resnet;
mod scratch;
mod staging;
mod statistics;
mod stem_filter;
mod topology;
mod weights;

pub use architecture::Architecture;
pub use backbone::{Backbone, Encoder};
pub use batch_norm::BatchNorm;
pub use classifier::{Classifier, LINEAR};
pub use classifier_network::ClassifierNetwork;
pub use conv::Conv2d;
pub use inference::Inference;
pub use init::initialize;
pub use linear::Linear;
pub use network::{Network, PROJECTOR};
pub use parameters::{Parameter, ParameterSpec, Parameters};
pub use projector::{Projection, Projector};
pub use staging::{RowScaled, Staging};
pub use topology::{ActivationSpec, BlockSpec, ConvSpec, Normalization, Topology};
pub use weights::{MODEL, Weights};
