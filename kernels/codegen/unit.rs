//! Translation units: written where they have changed, and compiled where what they are made of has.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

/// Where the files of this package look for what they include.
const FOLDERS: [&str; 3] = [".", "kernels", "kernels/include"];

/// Writes a file, unless it is there with these contents.
///
/// # Errors
/// A sentence, when it cannot be written.
pub fn write(path: &Path, contents: &str) -> Result<(), String> {
    if fs::read_to_string(path).is_ok_and(|old| old == contents) {
        return Ok(());
    }
    fs::write(path, contents).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The text of a unit and of all files that it includes, but the compiler's own.
///
/// # Errors
/// A sentence, when one cannot be read.
pub fn with_includes(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    append(path, &mut Vec::new(), &mut text)?;
    Ok(text)
}

fn append(path: &Path, seen: &mut Vec<PathBuf>, text: &mut String) -> Result<(), String> {
    let own = fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let beside = path.parent().unwrap_or(Path::new("."));
    for name in own.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"')) {
        let folders = std::iter::once(beside).chain(FOLDERS.iter().map(Path::new));
        let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
        if let Some(found) = found.filter(|found| !seen.contains(found)) {
            seen.push(found.clone());
            append(&found, seen, text)?;
        }
    }
    text.push_str(&own);
    Ok(())
}

/// What something was made of, beside it.
pub struct Stamp {
    made: PathBuf,
    content: String,
}

impl Stamp {
    /// For the file `made` of `what`.
    pub fn new(made: &Path, what: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Self { made: made.to_owned(), content: format!("{:016x}", hasher.finish()) }
    }

    fn path(&self) -> PathBuf {
        self.made.with_extension("stamp")
    }

    /// Whether the file is there, and was made of this.
    pub fn is_current(&self) -> bool {
        self.made.is_file() && fs::read_to_string(self.path()).is_ok_and(|old| old == self.content)
    }

    /// Notes that it is.
    ///
    /// # Errors
    /// A sentence, when that cannot be written.
    pub fn renew(&self) -> Result<(), String> {
        let path = self.path();
        fs::write(&path, &self.content).map_err(|e| format!("cannot write {}: {e}", path.display()))
    }
}
