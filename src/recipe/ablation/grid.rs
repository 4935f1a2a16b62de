//! A grid of recipes, read from TOML: a recipe, and keys with the values that they are to take.

use crate::recipe::Recipe;
use crate::recipe::settings::{NamedAttack, check_schema, nearest, parse};
use crate::run::file;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;
use toml::{Table, Value};

/// The grid format that this version reads.
const SCHEMA: u32 = 1;
/// More than anybody waits for; a list with a zero too many is found out.
const MOST_CELLS: usize = 1000;
/// The key whose values are averaged over.
pub const SEED: &str = "train.seed";

const KEYS: [&str; 7] = ["schema", "recipe", "attacks", "robust", "fixed", "grid", "cell"];

/// Values of keys, by the keys' full path.
type Values = Vec<(String, Value)>;

/// Recipes that differ in some keys, and how what they give is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// What all cells begin with.
    pub base: Recipe,
    /// The keys in which they differ, by their full path.
    pub keys: Vec<String>,
    /// The recipes.
    pub cells: Vec<Cell>,
    /// The attacks on every cell; none for the one of each cell's `[evaluate]`.
    pub attacks: Vec<NamedAttack>,
    /// Whether a head is fitted on adversarial images, too.
    pub robust: bool,
}

/// One recipe of a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The values of the grid's keys, in the order of these.
    pub values: Values,
    /// What they lead to.
    pub recipe: Recipe,
}

impl Grid {
    /// Reads the file, and checks every cell.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read; otherwise those of [`Grid::from_toml`].
    pub fn load(path: &Path) -> Result<Self> {
        let text = file::read_text(path)
            .map_err(|error| Error::file(path, format!("cannot be read as a grid ({error}); give a TOML file")))?;
        Self::from_toml(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
    }

    /// Reads TOML, and checks every cell.
    ///
    /// # Errors
    /// [`Error::Usage`] with the key, and the cell where it is of one.
    pub fn from_toml(text: &str) -> Result<Self> {
        let file = parse(text)?;
        check_schema(&file, SCHEMA)?;
        if let Some(key) = file.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let remedy = match nearest(key, KEYS) {
                Some(known) => format!("did you mean {known}?"),
                None => "hyper-parameters belong into [fixed] or [grid]".to_owned(),
            };
            return refuse(format!("{key} is no key of a grid; {remedy}"));
        }
        let Some(Value::String(recipe)) = file.get("recipe") else {
            return refuse("recipe is missing; add a line such as recipe = \"cifar-small\"".to_owned());
        };
        let fixed = leaves(section(&file, "fixed")?);
        let base = Recipe::load(recipe)?.with_keys(pairs(&fixed)).map_err(|error| at("[fixed]", &error))?;
        let (given, lists) = (explicit(&file)?, lists(section(&file, "grid")?)?);
        let keys = keys(&fixed, &given, &lists)?;
        let cells = product(given, &lists)?.into_iter().map(|values| Cell::new(&base, values)).collect::<Result<Vec<_>>>()?;
        all_different(&cells)?;
        Ok(Self { attacks: attacks(&file)?, robust: robust(&file)?, base, keys, cells })
    }

    /// The attacks on a cell.
    pub fn attacks_on(&self, cell: &Cell) -> Vec<NamedAttack> {
        match self.attacks.is_empty() {
            true => vec![NamedAttack::from(&cell.recipe.evaluate)],
            false => self.attacks.clone(),
        }
    }
}

impl Cell {
    fn new(base: &Recipe, values: Values) -> Result<Self> {
        let name = described(&values);
        let recipe = base.with_keys(pairs(&values)).map_err(|error| at(&format!("cell {name}"), &error))?;
        if recipe.train.method.trains_a_classifier() {
            let method = recipe.train.method.name();
            return refuse(format!(
                "cell {name}: {method} trains a classifier, and a grid pretrains; choose rocl, simclr or scl"
            ));
        }
        Ok(Self { values, recipe })
    }

    /// Its values, such as `attack.steps=7, loss.lambda=16`.
    pub fn name(&self) -> String {
        described(&self.values)
    }

    /// The values but for the seed.
    pub fn without_seed(&self) -> impl Iterator<Item = &(String, Value)> {
        self.values.iter().filter(|(key, _)| key != SEED)
    }
}

/// `8/255` of `"8/255"`; anything else as TOML has it.
pub fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn described(values: &[(String, Value)]) -> String {
    values.iter().map(|(key, value)| format!("{key}={}", shown(value))).collect::<Vec<_>>().join(", ")
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::Usage(message))
}

fn at(place: &str, error: &Error) -> Error {
    Error::Usage(format!("{place}: {error}"))
}

fn section<'a>(file: &'a Table, name: &str) -> Result<Option<&'a Table>> {
    match file.get(name) {
        None => Ok(None),
        Some(Value::Table(table)) => Ok(Some(table)),
        Some(_) => refuse(format!("{name} is a section; write [{name}] with its keys below")),
    }
}

/// The keys of a section by their full path, whether they are written as `"loss.lambda"` or as `loss.lambda`.
fn leaves(section: Option<&Table>) -> Values {
    let mut all = Vec::new();
    for (name, value) in section.into_iter().flatten() {
        match value {
            Value::Table(inner) if !name.contains('.') => {
                all.extend(inner.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone())));
            }
            value => all.push((name.clone(), value.clone())),
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

fn pairs(values: &[(String, Value)]) -> impl Iterator<Item = (&str, &Value)> {
    values.iter().map(|(key, value)| (key.as_str(), value))
}

/// The keys of `[grid]` with their values.
fn lists(section: Option<&Table>) -> Result<Vec<(String, Vec<Value>)>> {
    let list = |(key, value): (String, Value)| match value {
        Value::Array(values) if values.is_empty() => refuse(format!("{key} has no values; list some, or leave it out")),
        Value::Array(values) => {
            let twice = values.iter().enumerate().find(|(place, value)| values[..*place].contains(value));
            match twice.map(|(_, value)| shown(value)) {
                Some(value) => refuse(format!("{key} has {value} twice; leave one out")),
                None => Ok((key, values)),
            }
        }
        other => refuse(format!("{key} is {other}, but [grid] has lists of values; write [{other}], or move it into [fixed]")),
    };
    leaves(section).into_iter().map(list).collect()
}

/// The values of each `[[cell]]`, all of the same keys; of one without any where there is none.
fn explicit(file: &Table) -> Result<Vec<Values>> {
    let cells = match file.get("cell") {
        None => return Ok(vec![Vec::new()]),
        Some(Value::Array(cells)) => cells,
        Some(_) => return refuse("cell is a list; write [[cell]] above the values of each".to_owned()),
    };
    let values = |cell: &Value| match cell {
        Value::Table(table) if !table.is_empty() => Ok(leaves(Some(table))),
        _ => refuse("a cell has no values; write some below its [[cell]], or leave it out".to_owned()),
    };
    let cells = cells.iter().map(values).collect::<Result<Vec<_>>>()?;
    let names = |cell: &[(String, Value)]| cell.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    if let Some(other) = cells.iter().find(|cell| names(cell) != names(&cells[0])) {
        let (first, other) = (names(&cells[0]).join(", "), names(other).join(", "));
        return refuse(format!("one [[cell]] has values of {first}, another of {other}; give all of them the same keys"));
    }
    Ok(cells)
}

/// The keys in which cells differ; each is in one place only.
fn keys(fixed: &[(String, Value)], given: &[Values], lists: &[(String, Vec<Value>)]) -> Result<Vec<String>> {
    let of_cells = given.first().into_iter().flatten().map(|(key, _)| ("[[cell]]", key));
    let mut seen = BTreeSet::new();
    for (place, key) in of_cells.chain(lists.iter().map(|(key, _)| ("[grid]", key))) {
        if fixed.iter().any(|(other, _)| other == key) {
            return refuse(format!("{key} is in [fixed] and in {place}; leave it in one of them"));
        }
        if !seen.insert(key.clone()) {
            return refuse(format!("{key} is there twice; leave it in one place"));
        }
    }
    if seen.is_empty() {
        return refuse("there is no cell; add a section [grid] with a line such as \"loss.lambda\" = [16, 256]".to_owned());
    }
    Ok(seen.into_iter().collect())
}

/// Every explicit cell with every combination of the lists' values; the last list's changes fastest.
fn product(given: Vec<Values>, lists: &[(String, Vec<Value>)]) -> Result<Vec<Values>> {
    let count = lists.iter().try_fold(given.len(), |count, (_, values)| count.checked_mul(values.len()));
    match count {
        Some(0) => return refuse("there is no cell; write [[cell]] above the values of one".to_owned()),
        Some(count) if count <= MOST_CELLS => {}
        count => {
            let count = count.map_or("more than can be counted".to_owned(), |count| count.to_string());
            return refuse(format!("the cells are {count}, but at most {MOST_CELLS} are run; shorten the lists of [grid]"));
        }
    }
    let with_list = |cells: Vec<Values>, (key, values): &(String, Vec<Value>)| -> Vec<Values> {
        let with = |cell: &Values, value: &Value| {
            let mut cell = cell.clone();
            cell.push((key.clone(), value.clone()));
            cell
        };
        cells.iter().flat_map(|cell| values.iter().map(|value| with(cell, value)).collect::<Vec<_>>()).collect()
    };
    let mut cells: Vec<Values> = lists.iter().fold(given, with_list);
    cells.iter_mut().for_each(|cell| cell.sort_by(|(a, _), (b, _)| a.cmp(b)));
    Ok(cells)
}

/// Values that are written in two ways, such as 16 and 16.0, lead to the same recipe.
fn all_different(cells: &[Cell]) -> Result<()> {
    for (place, cell) in cells.iter().enumerate() {
        if let Some(same) = cells[..place].iter().find(|other| other.recipe == cell.recipe) {
            return refuse(format!("the cells {} and {} are the same; leave one out", same.name(), cell.name()));
        }
    }
    Ok(())
}

fn attacks(file: &Table) -> Result<Vec<NamedAttack>> {
    let wrong = || Error::Usage("attacks has to be a list of names such as [\"pgd:linf:8/255:20\"]".to_owned());
    let list = match file.get("attacks") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(_) => return Err(wrong()),
    };
    let attack = |value: &Value| value.as_str().ok_or_else(wrong)?.parse::<NamedAttack>();
    let attacks = list.iter().map(attack).collect::<Result<Vec<_>>>()?;
    if let Some(attack) = attacks.iter().find(|attack| attack.expectation) {
        return refuse(format!("attack `{attack}` goes through random views, and a grid has none; leave out :eot"));
    }
    NamedAttack::all_different(&attacks)?;
    Ok(attacks)
}

fn robust(file: &Table) -> Result<bool> {
    match file.get("robust") {
        None => Ok(false),
        Some(Value::Boolean(robust)) => Ok(*robust),
        Some(other) => refuse(format!("robust is {other}; write true or false")),
    }
}
