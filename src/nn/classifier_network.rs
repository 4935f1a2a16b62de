//! The model that is trained with labels: encoder and linear head, for some methods a projector, over one parameter arena.

use super::backbone::Backbone;
use super::classifier::Classifier;
use super::network::PROJECTOR;
use super::projector::{Projection, Projector};
use super::topology::Topology;
use super::weights::Weights;
use crate::element::Element;
use crate::{Device, Error, Result, Tensor, ops};

/// Encoder, linear head and, where embeddings are contrasted too, projector, in training form.
pub struct ClassifierNetwork<T: Element> {
    backbone: Backbone<T>,
    head: Classifier<T>,
    projector: Option<Projector<T>>,
    d_features: Tensor<T>,
}

impl<T: Element> ClassifierNetwork<T> {
    /// Allocates the network for passes of up to `max_batch` images, and draws its initial parameters from `seed`. `projection` is where
    /// embeddings are contrasted too.
    pub fn new(
        device: &Device,
        topology: &Topology,
        classes: usize,
        projection: Option<Projection>,
        max_batch: usize,
        seed: u64,
    ) -> Result<Self> {
        let features = topology.features;
        let specs = projection.map(|projection| projection.specs(PROJECTOR, features));
        // The encoder's and the projector's initial parameters are those of a network that is pretrained.
        let heads = specs.into_iter().flatten().chain(Classifier::<T>::specs(features, classes));
        let backbone = Backbone::new(device, topology, heads, max_batch, seed)?;
        let projector = |projection| Projector::of(device, projection, features, backbone.parameters(), PROJECTOR, max_batch);
        let projector = projection.map(projector).transpose()?;
        Self::on(device, backbone, projector, features, max_batch)
    }

    /// Other activations over the same parameters and running statistics, without a projector.
    pub fn twin(&self, device: &Device, topology: &Topology, max_batch: usize) -> Result<Self> {
        Self::on(device, self.backbone.twin(device, topology, max_batch)?, None, topology.features, max_batch)
    }

    fn on(
        device: &Device,
        backbone: Backbone<T>,
        projector: Option<Projector<T>>,
        features: usize,
        max_batch: usize,
    ) -> Result<Self> {
        let head = Classifier::over(device, backbone.parameters(), max_batch)?;
        Ok(Self { backbone, head, projector, d_features: Tensor::zeros(device, [max_batch, features])? })
    }

    /// See [`Backbone::freeze_statistics`].
    pub fn freeze_statistics(&mut self) {
        self.backbone.freeze_statistics();
    }

    /// Encoder and arena.
    pub fn backbone(&self) -> &Backbone<T> {
        &self.backbone
    }

    /// The head, with the scores of the last forward.
    pub fn head(&self) -> &Classifier<T> {
        &self.head
    }

    /// Class scores `[n, classes]` of images `[n, 32, 32, 3]` in [0, 1], with batch statistics; moves the running statistics.
    pub fn forward(&self, images: &Tensor<T::Real>) -> Result<Tensor<T::Real>> {
        self.head.forward(&self.backbone.forward(images)?)
    }

    /// Embeddings `[n, projection]` of the first `n` images of the last forward.
    pub fn embed(&self, n: usize) -> Result<Tensor<T::Real>> {
        self.projector()?.forward(&self.backbone.encoder().features(n)?)
    }

    /// Adds the gradients of all parameters, times the loss scale if there is one, for the images of the last forward: from the
    /// [gradient of their scores](Classifier::d_logits), and that of the embeddings of the first of them, if any.
    pub fn backward(&self, images: &Tensor<T::Real>, d_embeddings: Option<&Tensor<T::Real>>) -> Result<()> {
        let n = images.rows_len();
        let (features, d_features) = (self.backbone.encoder().features(n)?, self.d_features.rows(0..n)?);
        self.head.backward(&features, &d_features)?;
        if let Some(d_embeddings) = d_embeddings {
            let embedded = 0..d_embeddings.rows_len();
            let scale = self.backbone.parameters().loss_scale();
            let contrasted = self.projector()?.backward(&features.rows(embedded.clone())?, d_embeddings, scale)?;
            ops::activation_backward(&d_features.rows(embedded)?, Some(&contrasted), None)?;
        }
        self.backbone.backward(images, &d_features)
    }

    /// The gradient of the images of the last forward, through the batch statistics, from the [gradient of their scores](Classifier::d_logits); times the loss
    /// scale, if there is one. The parameters' gradients are of no use afterwards.
    pub fn backward_images(&self, d_images: &Tensor<T::Real>) -> Result<()> {
        let d_features = self.d_features.rows(0..d_images.rows_len())?;
        self.head.backward_scaled_input(&d_features)?;
        self.backbone.backward_images(&d_features, d_images)
    }

    fn projector(&self) -> Result<&Projector<T>> {
        self.projector.as_ref().ok_or_else(|| Error::shape("classifier network", "it was made without a projector"))
    }
}

impl<T: Element> AsRef<Weights<T>> for ClassifierNetwork<T> {
    fn as_ref(&self) -> &Weights<T> {
        self.backbone.as_ref()
    }
}
