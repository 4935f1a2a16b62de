//! The networks: layers with `forward` and `backward` written out, over buffers allocated once.
//!
//! [`Topology`] says what a network consists of; [`Network`] is its training form (batch statistics, parameter gradients) and
//! [`Folded`] its inference form, in which batch normalisation is folded into the convolutions and only the input has a gradient: the form
//! attacks run on. Both read the same [`Parameters`].

mod batch_norm;
mod classifier;
mod conv;
mod folded;
mod init;
mod linear;
mod network;
mod parameters;
mod projector;
mod resnet;
mod scratch;
mod staging;
mod topology;

pub use batch_norm::BatchNorm;
pub use classifier::{Classifier, LINEAR};
pub use conv::Conv2d;
pub use folded::Folded;
pub use init::initialize;
pub use linear::Linear;
pub use network::{Encoder, MODEL, Network, PROJECTOR};
pub use parameters::{Parameter, ParameterSpec, Parameters};
pub use projector::Projector;
pub use staging::Staging;
pub use topology::{Architecture, BlockSpec, ConvSpec, Topology};
