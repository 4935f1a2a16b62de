//! Matrix products by cuBLASLt: those of a linear layer, on raw device addresses.
//!
//! The library is asked once for an algorithm for each [`Product`]; after that a product is one call. Not yet run on a GPU.

mod library;
mod plan;
mod product;

pub use plan::ProductPlan;
#[doc(hidden)]
pub use plan::Simulation;
pub use product::{Product, ProductKind};

use crate::Result;
use library::{Library, Object};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// cuBLASLt on a card, with the plans made so far.
pub struct CublasLt {
    source: Source,
    plans: RefCell<BTreeMap<Product, Rc<ProductPlan>>>,
}

/// Where plans come from.
enum Source {
    Library { library: &'static Library, handle: Rc<Object> },
    Simulated(Rc<Simulation>),
}

impl CublasLt {
    /// On the card of the calling thread's current CUDA context.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when there is no cuBLASLt, or it does not work with the card or its driver.
    pub fn on_current_card() -> Result<Self> {
        let library = Library::load()?;
        let source = Source::Library { library, handle: Rc::new(Object::handle(library)?) };
        Ok(Self { source, plans: RefCell::default() })
    }

    /// Something else that multiplies: for tests without a GPU.
    #[doc(hidden)]
    pub fn simulated(simulation: Rc<Simulation>) -> Self {
        Self { source: Source::Simulated(simulation), plans: RefCell::default() }
    }

    /// The plan for `product`, made when it is first asked for.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the library has no algorithm for it.
    pub fn plan(&self, product: Product) -> Result<Rc<ProductPlan>> {
        if let Some(plan) = self.plans.borrow().get(&product) {
            return Ok(plan.clone());
        }
        let plan = Rc::new(match &self.source {
            Source::Library { library, handle } => ProductPlan::new(library, handle, product)?,
            Source::Simulated(simulation) => ProductPlan::simulated(simulation, product),
        });
        self.plans.borrow_mut().insert(product, plan.clone());
        Ok(plan)
    }
}
