//! The sections of a recipe, one struct each, with the names of the TOML keys.

use serde::{Deserialize, Serialize};

use super::{Method, Number};
pub use crate::data::augmentation::AugmentationSettings as Augment;
pub use crate::nn::{Architecture, Normalization};
pub use crate::optim::OptimizerSettings as Optimizer;

/// `[network]`: encoder and projector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// The encoder.
    pub architecture: Architecture,
    /// Channels of the first stage, w; those that follow have 2w, 4w, and but for a WRN 8w. The stem has w too, that of a WRN 16. The paper's networks have
    /// 64, WRN-34-10 has 160.
    pub width: u32,
    /// Whether there is a projector; without one the losses see the encoder's features.
    pub projector: bool,
    /// Units of the projector's hidden layer; 32 · `width` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_hidden: Option<u32>,
    /// Dimension of the embedding that comes out of the projector.
    pub projection: u32,
    /// What images are normalised by before the stem; they are not when absent. ε and step sizes are in units of [0, 1] all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalization>,
}

/// `[train]`: the training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// What is learnt.
    pub method: Method,
    /// Passes over the training images.
    pub epochs: u32,
    /// Images per step, B; the loss sees one to three views of each.
    pub batch_size: u32,
    /// Seed of everything random; 0 is a seed like any other.
    pub seed: u64,
}

/// `[attack]`: the instance-wise attack of pretraining (equation 3 of the paper), PGD in the L∞ ball.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// Radius of the ball, ε, for pixels in [0, 1].
    pub epsilon: Number,
    /// Step size, α.
    pub step_size: Number,
    /// Steps, k.
    pub steps: u32,
    /// Start at a uniformly random point of the ball instead of at the image.
    pub random_start: bool,
    /// What the attack maximises.
    pub loss: AttackLoss,
    /// The view that the adversary is driven away from.
    pub attack_to: View,
    /// Images that see each other as negatives in the attack and in the regulariser; 0 is the whole batch. The batch is a
    /// multiple of it. The released code has the images of one GPU, 256 of a batch of 512.
    pub group: u32,
    /// Embed the target once, not in every step: the same adversary, bit for bit, for little more than half the work. False runs the
    /// released code's own sequence.
    pub reuse_target: bool,
    /// Fold batch normalisation into the convolutions: the same gradients to rounding. False runs the released code's own sequence.
    pub fold_batch_norm: bool,
}

/// What the instance-wise attack maximises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttackLoss {
    /// NT-Xent of the attacked view and its target.
    Similarity,
    /// The mean squared difference of their embeddings.
    Mse,
    /// The mean absolute difference of their embeddings.
    L1,
    /// One minus the cosine of the angle between their embeddings.
    Cosine,
}

/// One of the two random views of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The view that is attacked.
    Original,
    /// The second view.
    Other,
}

/// `[loss]`: NT-Xent and RoCL's regulariser (equations 2 and 5 of the paper).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Temperature, τ. The loss subtracts no maximum before its exponential, hence the lower limit of 0.02.
    pub temperature: f64,
    /// The regulariser's weight is 1/λ.
    pub lambda: f64,
    /// The view that the regulariser draws the adversary towards.
    pub regularize_to: View,
    /// Send no gradient through the key side of the similarity, as the released code does.
    pub detach_keys: bool,
}

/// `[supervised]`: training with labels, from scratch or of a pretrained encoder, and the attack on labels that adversarial methods and robust linear
/// evaluation train against: PGD in the L∞ ball.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Supervised {
    /// Radius of the ball, ε, for pixels in [0, 1].
    pub epsilon: Number,
    /// Step size, α.
    pub step_size: Number,
    /// Steps, k.
    pub steps: u32,
    /// Start at a uniformly random point of the ball instead of at the image.
    pub random_start: bool,
    /// What normalises batches while they are attacked. In evaluation mode, as TRADES and the released code of RoCL have it, clean accuracy is higher at like
    /// robustness (Pang et al. 2021).
    pub attack_mode: BatchNormMode,
    /// The weight of TRADES's divergence, 1/λ in Zhang et al. 2019.
    pub beta: f64,
    /// Train with the running statistics of batch normalisation, and leave them as they are. The released code of RoCL fine-tunes so, since its attack leaves
    /// the model in evaluation mode.
    pub freeze_bn: bool,
}

/// What batch normalisation normalises by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNormMode {
    /// Running statistics.
    Eval,
    /// The batch's own statistics, which move the running ones, as PyTorch's train mode has it.
    Train,
}

/// `[linear_eval]`: a linear classifier on the frozen encoder, trained by SGD on un-augmented images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearEval {
    /// Learning rate of the first epochs.
    pub learning_rate: f64,
    /// Momentum.
    pub momentum: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Images per step.
    pub batch_size: u32,
    /// Passes over the training images.
    pub epochs: u32,
    /// Epochs after which the learning rate is multiplied by `decay`.
    pub milestones: Vec<u32>,
    /// The factor at each milestone.
    pub decay: f64,
}

/// `[evaluate]`: clean accuracy, and accuracy under PGD on the cross-entropy in the L∞ ball.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluate {
    /// Radius of the ball, ε, for pixels in [0, 1].
    pub epsilon: Number,
    /// Step size, α.
    pub step_size: Number,
    /// Steps, k.
    pub steps: u32,
    /// Start at a uniformly random point of the ball instead of at the image.
    pub random_start: bool,
    /// Images per pass; changes the speed, not the result's meaning.
    pub batch_size: u32,
}
