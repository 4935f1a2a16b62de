//! A grid in a folder: which cell is in which folder, and whether what is there already is of the same images.

use super::cell::RECIPE;
use super::document::{DOCUMENT, Data};
use super::grid::{Cell, shown};
use crate::recipe::Recipe;
use crate::run::file;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Longer names of folders are cut.
const MOST_LETTERS: usize = 100;

/// The folders of `cells` below `out`, by name. A cell has the folder that holds its very recipe, from whichever grid; otherwise a new one, named after its
/// values.
pub fn folders(out: &Path, cells: &[Cell]) -> Vec<String> {
    let mut there: BTreeMap<String, Option<Recipe>> = BTreeMap::new();
    for entry in fs::read_dir(out).into_iter().flatten().flatten() {
        let recipe = file::read_text(&entry.path().join(RECIPE)).ok().and_then(|text| Recipe::from_toml(&text).ok());
        there.insert(entry.file_name().to_string_lossy().into_owned(), recipe);
    }
    let folder = |cell: &Cell| {
        let known = there.iter().find(|(_, recipe)| recipe.as_ref() == Some(&cell.recipe)).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| {
            let name = folder_name(cell);
            let numbered = (2..).map(|number| format!("{name}-{number}"));
            std::iter::once(name.clone()).chain(numbered).find(|name| !there.contains_key(name)).unwrap_or_default()
        });
        there.insert(name.clone(), Some(cell.recipe.clone()));
        name
    };
    cells.iter().map(folder).collect()
}

/// `attack.epsilon=8_255,loss.lambda=16`: letters that a shell or a file system takes for something else are left out.
fn folder_name(cell: &Cell) -> String {
    let values = cell.values.iter().map(|(key, value)| format!("{key}={}", shown(value)));
    let plain = |c: char| if c.is_ascii_alphanumeric() || "=.,+-".contains(c) { c } else { '_' };
    values.collect::<Vec<_>>().join(",").chars().map(plain).take(MOST_LETTERS).collect()
}

/// Refuses to go on in a folder with cells of other images, or in another precision.
///
/// # Errors
/// [`Error::Usage`] then, [`Error::File`] when what is there cannot be read.
pub fn check_same(out: &Path, data: &Data, precision: &str) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct There {
        data: Data,
        precision: String,
    }
    let path = out.join(DOCUMENT);
    let remedy = "choose another --out";
    let text = file::read_text(&path).map_err(|error| Error::file(&path, format!("cannot be read ({error}); {remedy}")))?;
    let there: There =
        serde_json::from_str(&text).map_err(|error| Error::file(&path, format!("is not of an ablation ({error}); {remedy}")))?;
    if there.data != *data {
        return Err(Error::Usage(format!(
            "the cells in {} are of {}, not of {data}; give the same --data, --limit and --val, or {remedy}",
            out.display(),
            there.data
        )));
    }
    if there.precision != precision {
        let (out, there) = (out.display(), there.precision);
        return Err(Error::Usage(format!(
            "the cells in {out} are in {there}, not in {precision}; give --precision {there}, or {remedy}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::ablation::Grid;

    fn cells(grid: &str) -> Vec<Cell> {
        Grid::from_toml(&format!("schema = 1\nrecipe = \"demo\"\n[grid]\n{grid}")).unwrap().cells
    }

    #[test]
    fn folders_are_named_after_values_and_found_by_recipe() {
        let out = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            fs::create_dir(out.path().join(name)).unwrap();
            fs::write(out.path().join(name).join(RECIPE), text).unwrap();
        };
        let grid = "attack.epsilon = [\"4/255\", \"8/255\"]\nattack.steps = [3]";
        let names = ["attack.epsilon=4_255,attack.steps=3", "attack.epsilon=8_255,attack.steps=3"];
        assert_eq!(folders(out.path(), &cells(grid)), names);
        // The first cell under another name, and another recipe under the second's.
        put("elsewhere", &cells(grid)[0].recipe.to_toml().unwrap());
        put(names[1], "of something else");
        assert_eq!(folders(out.path(), &cells(grid)), ["elsewhere".to_owned(), format!("{}-2", names[1])]);
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let out = tempfile::tempdir().unwrap();
        let steps = "linear_eval.milestones = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]]";
        let names = folders(out.path(), &cells(&format!("{steps}\ntrain.seed = [1, 2]")));
        assert!(names.iter().all(|name| name.len() <= MOST_LETTERS + 2) && names[0] != names[1], "{names:?}");
    }
}
