//! Reading a recording.

use rocl::{Device, Tensor};
use safetensors::SafeTensors;
use std::path::PathBuf;

pub struct Recording {
    bytes: Vec<u8>,
}

impl Recording {
    pub fn open() -> Self {
        let root = std::env::var_os("ROCL_ROOT").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let path = root.join("tests/golden/resnet18_w8_b4.safetensors");
        Self { bytes: std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) }
    }

    /// Shape and values; integers are not read.
    pub fn get(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (view.shape().to_vec(), values)
    }

    /// A parameter in this engine's layout.
    pub fn parameter(&self, name: &str) -> Vec<f32> {
        let (shape, values) = self.get(name);
        match shape[..] {
            [k, c, r, s] => nhwc(&values, [k, c, r, s]),
            _ => values,
        }
    }

    /// One batch out of a stack of batches `[steps, n, c, h, w]`.
    pub fn images(&self, device: &Device, name: &str, step: usize) -> Tensor<f32> {
        let (shape, values) = self.get(name);
        let [_, n, c, h, w] = shape[..] else { panic!("{name} is no stack of batches") };
        let len = n * c * h * w;
        Tensor::from_slice(device, [n, h, w, c], &nhwc(&values[step * len..][..len], [n, c, h, w])).unwrap()
    }
}

/// NCHW to NHWC (and OIHW to KRSC).
pub fn nhwc(values: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (i, &value) in values.iter().enumerate() {
        let (image, channel, pixel) = (i / (c * h * w), i / (h * w) % c, i % (h * w));
        out[(image * h * w + pixel) * c + channel] = value;
    }
    assert_eq!(out.len(), n * c * h * w);
    out
}

/// |found − expected|₂ / |expected|₂; a quantity recorded as zero must be found as zero.
pub fn relative_l2(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| square(f64::from(*f) - f64::from(*e))).sum();
    let norm: f64 = expected.iter().map(|e| square(f64::from(*e))).sum();
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}
