//! Matrix products by cuBLASLt: those of a linear layer, on raw device addresses.
//!
//! The library is asked once for an algorithm for each [`Product`]; after that a product is one call. Not yet run on a GPU.

mod library;
mod plan;
mod product;

pub use plan::ProductPlan;
pub use product::{Product, ProductKind};

use crate::Result;
use library::{Library, Object};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// cuBLASLt on a card, with the plans made so far.
pub struct CublasLt {
    library: &'static Library,
    handle: Rc<Object>,
    plans: RefCell<BTreeMap<Product, Rc<ProductPlan>>>,
}

impl CublasLt {
    /// On the card of the calling thread's current CUDA context.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when there is no cuBLASLt, or it does not work with the card or its driver.
    pub fn on_current_card() -> Result<Self> {
        let library = Library::load()?;
        Ok(Self { library, handle: Rc::new(Object::handle(library)?), plans: RefCell::default() })
    }

    /// 10000 · major + 100 · minor + patch.
    pub fn version(&self) -> usize {
        // SAFETY: the function has no preconditions.
        unsafe { (self.library.version)() }
    }

    /// The plan for `product`, made when it is first asked for.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the library has no algorithm for it.
    pub fn plan(&self, product: Product) -> Result<Rc<ProductPlan>> {
        if let Some(plan) = self.plans.borrow().get(&product) {
            return Ok(plan.clone());
        }
        let plan = Rc::new(ProductPlan::new(self.library, &self.handle, product)?);
        self.plans.borrow_mut().insert(product, plan.clone());
        Ok(plan)
    }

    /// The workspace that all plans made so far can share.
    pub fn workspace_bytes(&self) -> usize {
        self.plans.borrow().values().map(|plan| plan.workspace_bytes()).max().unwrap_or(0)
    }
}
