//! Transfer: heads of one data set on the encoder of another, measured as they are and under attacks.
//!
//! ```no_run
//! # use rocl::recipe::{accuracies::Accuracies, head::HeadKind, transfer::Transfer};
//! # fn all(transfer: Transfer) -> rocl::Result<()> {
//! for kind in HeadKind::ALL {
//!     let (head, fit) = transfer.head(kind).run::<f32>(|_, _| Ok(()))?;
//!     let right = transfer.measure::<f32>(&head, |_| Ok(()))?;
//!     println!("{kind:?}: {fit:?}, {:?}", Accuracies::new(transfer.attacks, &right));
//! }
//! # Ok(())
//! # }
//! ```

use super::evaluate::{Evaluation, Right};
use super::head::{HeadJob, HeadKind};
use super::rehearsal::one_step_each;
use super::settings::{NamedAttack, Recipe};
use super::trained::Encoder;
use crate::data::Dataset;
use crate::element::Element;
use crate::nn::Classifier;
use crate::run::checkpoint::Checkpoint;
use crate::{Device, Result};

/// An encoder, the data set that it gets heads of, and attacks on both.
#[derive(Clone, Copy)]
pub struct Transfer<'a> {
    /// Where to compute.
    pub device: &'a Device,
    /// The encoder's network; `[linear_eval]` and `[supervised]` for the heads, as [`HeadJob`] has them; `evaluate.batch_size`.
    pub recipe: &'a Recipe,
    /// The encoder. A classifier that was trained with it is not looked at.
    pub encoder: &'a Checkpoint,
    /// What heads are fitted on.
    pub train: &'a Dataset,
    /// What they are measured on; of the same classes.
    pub test: &'a Dataset,
    /// What they are measured under.
    pub attacks: &'a [NamedAttack],
    /// Of the heads, and of the first run of the attacks.
    pub seed: u64,
    /// How often each attack runs, with a seed more each time.
    pub seeds: u32,
}

impl<'a> Transfer<'a> {
    /// The fit of a head.
    pub fn head(&self, kind: HeadKind) -> HeadJob<'a> {
        let Self { device, recipe, encoder, train: data, seed, .. } = *self;
        HeadJob { device, recipe, encoder, data, kind, seed }
    }

    /// Which images encoder and `head` get right, by seed. `progress` is told how many images an attack is done with.
    ///
    /// # Errors
    /// [`crate::Error::File`] when the head does not fit encoder and classes; those of `progress`.
    pub fn measure<T: Element>(&self, head: &Checkpoint, mut progress: impl FnMut(usize) -> Result<()>) -> Result<Vec<Right>> {
        let encoder = Encoder::<T>::load(self.device, self.recipe, self.encoder)?;
        let head = encoder.load_head(head, self.test.classes.len(), self.recipe.evaluate.batch_size as usize)?;
        let seeds = (0..u64::from(self.seeds)).map(|more| self.seed.wrapping_add(more));
        seeds.map(|seed| self.evaluation(self.device, &encoder, &head, self.attacks, seed)?.run(&mut progress)).collect()
    }

    /// How many images [`Transfer::measure`] tells of, in all.
    pub fn attacked_images(&self) -> u64 {
        self.test.len() as u64 * self.attacks.len() as u64 * u64::from(self.seeds)
    }

    /// Fitting these heads and measuring them, in name only, on a device that counts what is allocated.
    pub(super) fn rehearse<T: Element>(&self, dry: &Device, kinds: &[HeadKind]) -> Result<()> {
        kinds.iter().try_for_each(|&kind| self.head(kind).rehearse::<T>(dry))?;
        let encoder = Encoder::<T>::untrained(dry, self.recipe)?;
        let head = encoder.new_head(self.test.classes.len(), self.recipe.evaluate.batch_size as usize, 0)?;
        self.evaluation(dry, &encoder, &head, &one_step_each(self.attacks), 0)?.run(|_| Ok(())).map(drop)
    }

    fn evaluation<'b, T: Element>(
        &self,
        device: &Device,
        encoder: &'b Encoder<T>,
        head: &'b Classifier<T>,
        attacks: &[NamedAttack],
        seed: u64,
    ) -> Result<Evaluation<'b, T>> {
        let batch = self.recipe.evaluate.batch_size as usize;
        Evaluation::new(device, encoder.inference(), head, self.test, attacks, batch, seed)
    }
}
