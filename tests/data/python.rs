//! Files that Python and NumPy themselves write.

use crate::common::python::Python;
use crate::{holds, open};
use rocl::data::Split;
use std::process::Command;
use tempfile::TempDir;

/// Writes four images with the pixels of `formats` and these labels in each format, into folders named after the protocol.
const SCRIPT: &str = r#"
import pickle, sys, pathlib
import numpy as np
root = pathlib.Path(sys.argv[1])
i, r, c, k = np.ogrid[:4, :32, :32, :3]
images = ((7 * i + 3 * r + 5 * c + 101 * k) % 256).astype("uint8")
labels = [3, 9, 0, 77]
rows = images.transpose(0, 3, 1, 2).reshape(4, 3072)
for protocol in 2, 3, 4:
    for name, data, numbers in [
        ("lists", rows, labels),
        ("arrays", np.asfortranarray(rows), np.array(labels)),
        ("big", rows, np.array(labels, ">i4")),
    ]:
        folder = root / str(protocol) / name
        folder.mkdir(parents=True)
        content = {"data": data, "fine_labels": numbers, "filenames": ["a.png"] * 4, "batch_label": "testing batch 1 of 1"}
        if name == "big":
            content = {key.encode(): value for key, value in content.items()}
        (folder / "test").write_bytes(pickle.dumps(content, protocol))
(root / "npz").mkdir()
np.savez(root / "npz" / "train.npz", images=images, labels=labels)
np.savez_compressed(root / "npz" / "test.npz", x=images, y=np.array(labels, "uint8")[:, None])
"#;

#[test]
fn what_numpy_writes_is_read() {
    let Some(python) = Python::with("numpy") else { return };
    let dir = TempDir::new().unwrap();
    let output = Command::new(&python.0).arg("-c").arg(SCRIPT).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let labels = [3, 9, 0, 77];
    for protocol in ["2", "3", "4"] {
        for name in ["lists", "arrays", "big"] {
            holds(&open(dir.path().join(protocol).join(name), Split::Test), 0, &labels);
        }
    }
    for split in [Split::Train, Split::Test] {
        holds(&open(dir.path().join("npz"), split), 0, &labels);
    }
}
