//! The one kind of object cuDNN's graph API has: a descriptor, which is given attributes and then finalised.

use super::library::{Library, RawDescriptor, RawHandle, Refusal};
pub(super) use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as AttributeType, cudnnBackendDescriptorType_t as Kind,
    cudnnBackendHeurMode_t as HeuristicMode, cudnnConvolutionMode_t as ConvolutionMode, cudnnDataType_t as DataType,
    cudnnGenStatsMode_t as StatisticsMode, cudnnPointwiseMode_t as PointwiseMode,
};
use std::ffi::c_void;
use std::rc::Rc;

/// A type that attributes are set from.
///
/// # Safety
/// [`Self::TYPE`] is the library's name for this type.
pub(super) unsafe trait Value: Copy {
    const TYPE: AttributeType;
}

/// A type that attributes are read into: any bits make a value.
///
/// # Safety
/// As [`Value`], but the library may write whatever it likes.
pub(super) unsafe trait Readable: Copy + Default {
    const TYPE: AttributeType;
}

/// A raw number of one of the library's enumerations, whose newer versions have more values than the bindings.
macro_rules! enumeration {
    ($(#[$meta:meta])* $name:ident, $type:ident) => {
        $(#[$meta])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) struct $name(pub i32);
        // SAFETY: a C enumeration is an `int`.
        unsafe impl Readable for $name {
            const TYPE: AttributeType = AttributeType::$type;
        }
    };
}
enumeration!(/** What an engine does to numbers. */ NumericalNote, CUDNN_TYPE_NUMERICAL_NOTE);
enumeration!(/** What else is to know of an engine. */ BehaviorNote, CUDNN_TYPE_BEHAVIOR_NOTE);
enumeration!(/** Something that can be set on an engine. */ KnobType, CUDNN_TYPE_KNOB_TYPE);

macro_rules! values {
    ($($rust:ty => $type:ident),* $(,)?) => {
        // SAFETY: the pairs of the library's documentation.
        $(unsafe impl Value for $rust { const TYPE: AttributeType = AttributeType::$type; })*
    };
}
values! {
    bool => CUDNN_TYPE_BOOLEAN, u8 => CUDNN_TYPE_CHAR, i64 => CUDNN_TYPE_INT64, f32 => CUDNN_TYPE_FLOAT, *mut c_void => CUDNN_TYPE_VOID_PTR,
    DataType => CUDNN_TYPE_DATA_TYPE, ConvolutionMode => CUDNN_TYPE_CONVOLUTION_MODE, PointwiseMode => CUDNN_TYPE_POINTWISE_MODE,
    StatisticsMode => CUDNN_TYPE_GENSTATS_MODE, HeuristicMode => CUDNN_TYPE_HEUR_MODE, KnobType => CUDNN_TYPE_KNOB_TYPE,
}
// SAFETY: as above; any bits are a number.
unsafe impl Readable for i64 {
    const TYPE: AttributeType = AttributeType::CUDNN_TYPE_INT64;
}
// SAFETY: as above; any bits are a number.
unsafe impl Readable for u8 {
    const TYPE: AttributeType = AttributeType::CUDNN_TYPE_CHAR;
}

/// A descriptor within another.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Part(RawDescriptor);
impl Default for Part {
    fn default() -> Self {
        Self(std::ptr::null_mut())
    }
}
// SAFETY: as above; what the library writes is never followed.
unsafe impl Readable for Part {
    const TYPE: AttributeType = AttributeType::CUDNN_TYPE_BACKEND_DESCRIPTOR;
}

/// A descriptor that is still being described.
pub(super) struct Draft(Descriptor);

impl Draft {
    pub fn new(library: &'static Library, kind: Kind) -> Result<Self, Refusal> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the library writes one pointer.
        library.check("a new descriptor", unsafe { (library.create)(kind, &mut raw) })?;
        Ok(Self(Descriptor { library, raw, parts: Vec::new() }))
    }

    /// Sets an attribute to one or more values.
    pub fn set<V: Value>(self, attribute: Attribute, values: &[V]) -> Result<Self, Refusal> {
        // SAFETY: the values are of the type that is announced.
        unsafe { self.set_raw(attribute, V::TYPE, values.len(), values.as_ptr().cast()) }
    }

    /// Sets an attribute to other descriptors, which live on as long as this one.
    pub fn set_parts(mut self, attribute: Attribute, parts: &[Rc<Descriptor>]) -> Result<Self, Refusal> {
        let raw: Vec<RawDescriptor> = parts.iter().map(|part| part.raw).collect();
        self.0.parts.extend_from_slice(parts);
        // SAFETY: the descriptors are alive.
        unsafe { self.set_raw(attribute, Part::TYPE, raw.len(), raw.as_ptr().cast()) }
    }

    /// Sets an attribute to a handle, which has to outlive the descriptor.
    pub fn set_handle(self, attribute: Attribute, handle: RawHandle) -> Result<Self, Refusal> {
        // SAFETY: one handle.
        unsafe { self.set_raw(attribute, AttributeType::CUDNN_TYPE_HANDLE, 1, (&raw const handle).cast()) }
    }

    /// # Safety
    /// `values` are `count` of the announced type.
    unsafe fn set_raw(
        self,
        attribute: Attribute,
        kind: AttributeType,
        count: usize,
        values: *const c_void,
    ) -> Result<Self, Refusal> {
        let Descriptor { library, raw, .. } = self.0;
        // SAFETY: as the caller promises; the library copies what it reads.
        library.check("an attribute", unsafe { (library.set)(raw, attribute, kind, count as i64, values) })?;
        Ok(self)
    }

    /// The finished descriptor, if `step`'s attributes make sense to the library.
    pub fn finish(self, step: &'static str) -> Result<Rc<Descriptor>, Refusal> {
        let Descriptor { library, raw, .. } = self.0;
        // SAFETY: the descriptor is alive and not yet finalised.
        library.check(step, unsafe { (library.finalize)(raw) })?;
        Ok(Rc::new(self.0))
    }
}

/// A finished descriptor.
pub(super) struct Descriptor {
    library: &'static Library,
    raw: RawDescriptor,
    parts: Vec<Rc<Descriptor>>,
}

impl Descriptor {
    pub fn raw(&self) -> RawDescriptor {
        self.raw
    }

    /// How many values the library says that an attribute has: right for results and text, but 0 for knobs.
    pub fn count<R: Readable>(&self, attribute: Attribute) -> Result<usize, Refusal> {
        let mut count = 0;
        // SAFETY: nothing is asked for but the count.
        let status = unsafe { (self.library.get)(self.raw, attribute, R::TYPE, 0, &mut count, std::ptr::null_mut()) };
        self.library.check("the count of an attribute", status)?;
        Ok(count.max(0) as usize)
    }

    /// The values of an attribute, of which there are at most `room`.
    pub fn get<R: Readable>(&self, attribute: Attribute, room: usize) -> Result<Vec<R>, Refusal> {
        let mut values = vec![R::default(); room];
        let mut count = 0;
        // SAFETY: there is room for as many values as are asked for, and any bits the library writes make values.
        let status =
            unsafe { (self.library.get)(self.raw, attribute, R::TYPE, room as i64, &mut count, values.as_mut_ptr().cast()) };
        self.library.check("a value of an attribute", status)?;
        values.truncate(count.max(0) as usize);
        Ok(values)
    }

    /// The descriptors in an attribute, all of one kind, of which there are at most `room`.
    pub fn get_parts(&self, attribute: Attribute, kind: Kind, room: usize) -> Result<Vec<Rc<Descriptor>>, Refusal> {
        // The library fills in descriptors that exist, and counts those that it has filled.
        let parts = (0..room).map(|_| Ok(Draft::new(self.library, kind)?.0)).collect::<Result<Vec<_>, Refusal>>()?;
        let mut raw: Vec<Part> = parts.iter().map(|part| Part(part.raw)).collect();
        let mut count = 0;
        // SAFETY: there is room for as many descriptors as are asked for, each of the right kind.
        let status =
            unsafe { (self.library.get)(self.raw, attribute, Part::TYPE, room as i64, &mut count, raw.as_mut_ptr().cast()) };
        self.library.check("the parts of a descriptor", status)?;
        Ok(parts.into_iter().take(count.max(0) as usize).map(Rc::new).collect())
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the descriptor is alive, and nothing refers to it any more. A failure leaves nothing to be done.
        let _ = unsafe { (self.library.destroy)(self.raw) };
    }
}
