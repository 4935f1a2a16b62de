//! From text to a checked [`Recipe`].

use toml::{Table, Value};

use super::{Recipe, SCHEMA, keys, presets};
use crate::{Error, Result};

/// The key that names the preset that supplies the others.
const BASE: &str = "base";

/// Reads TOML; see [`Recipe::from_toml`].
pub(super) fn from_toml(text: &str) -> Result<Recipe> {
    from_table(parse(text)?)
}

/// Reads JSON; see [`Recipe::from_json`].
pub(super) fn from_json(text: &str) -> Result<Recipe> {
    from_table(
        serde_json::from_str(text)
            .map_err(|error| Error::Usage(format!("the recipe is not valid JSON ({error}); give one that `rocl` wrote")))?,
    )
}

/// A recipe with other values of keys, given by their full path; see [`Recipe::with_keys`].
pub(super) fn with_keys<'a>(recipe: &Recipe, changes: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Result<Recipe> {
    let changes = nested(changes)?;
    let given = keys::flatten(&changes);
    let recipe: Recipe = overlay(as_table(recipe)?, changes).try_into().map_err(wrong_type)?;
    recipe.check()?;
    refuse_unused(&recipe, given.keys())?;
    Ok(recipe)
}

/// A recipe that was checked has this form.
fn as_table(recipe: &Recipe) -> Result<Table> {
    let refuse = |error| Error::Usage(format!("the recipe cannot be written as TOML ({error}); please report it"));
    Table::try_from(recipe).map_err(refuse)
}

/// As sections of a recipe, what is given by full paths. Refuses paths of no key, and those that say what a recipe is rather than what it does.
fn nested<'a>(changes: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Result<Table> {
    let mut table = Table::new();
    for (path, value) in changes {
        if keys::KEYS[0].1.contains(&path) {
            return Err(Error::Usage(format!("{path} is no setting that could be another; leave it out")));
        }
        match path.split_once('.') {
            Some((section, key)) => {
                if let Value::Table(section) = table.entry(section).or_insert_with(|| Value::Table(Table::new())) {
                    section.insert(key.to_owned(), value.clone());
                }
            }
            None => drop(table.insert(path.to_owned(), value.clone())),
        }
    }
    keys::refuse_unknown(&table)?;
    Ok(table)
}

/// Reads TOML; a mistake is named with its line.
pub(in crate::recipe) fn parse(text: &str) -> Result<Table> {
    text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        Error::Usage(format!("line {line} is not valid TOML ({}); correct it", error.message().replace('\n', "; ")))
    })
}

fn from_table(table: Table) -> Result<Recipe> {
    check_schema(&table, SCHEMA)?;
    keys::refuse_unknown(&table)?;
    if !table.contains_key("name") {
        return Err(Error::Usage("name is missing; add a line such as name = \"mine\" at the top".to_owned()));
    }
    let mut given = keys::flatten(&table);
    given.remove(BASE);
    let recipe: Recipe = complete(table)?.try_into().map_err(wrong_type)?;
    recipe.check()?;
    refuse_unused(&recipe, given.keys())?;
    Ok(recipe)
}

/// `table` with the keys that it leaves out, from the preset that it names as its base.
fn complete(mut table: Table) -> Result<Table> {
    let name = match table.remove(BASE) {
        None => presets::REFERENCE.to_owned(),
        Some(Value::String(name)) => name,
        Some(other) => {
            return Err(Error::Usage(format!("base is {other}; write the name of a preset, such as base = \"paper@1\"")));
        }
    };
    let preset = presets::preset(&name).ok_or_else(|| presets::unknown(&name, ", and a base is one of them"))?;
    let base = parse(preset.text)?;
    // A preset without a base is complete.
    let base = if base.contains_key(BASE) { complete(base)? } else { base };
    Ok(overlay(base, table))
}

/// Makes sure that a file is of the `newest` format, the only one that there was.
pub(in crate::recipe) fn check_schema(table: &Table, newest: u32) -> Result<()> {
    let message = match table.get("schema") {
        Some(Value::Integer(schema)) if *schema == i64::from(newest) => return Ok(()),
        Some(Value::Integer(schema)) if *schema > i64::from(newest) => {
            format!("schema {schema} is newer than this version of rocl reads ({newest}); update rocl")
        }
        Some(other) => format!("schema is {other}; write schema = {newest} at the top"),
        None => format!("schema is missing; add the line schema = {newest} at the top"),
    };
    Err(Error::Usage(message))
}

/// `base` with the values of `changes`. A section whose `kind` changes is taken as it stands: the keys of one kind mean
/// nothing to another.
fn overlay(mut base: Table, changes: Table) -> Table {
    for (name, change) in changes {
        match (base.get_mut(&name), change) {
            (Some(Value::Table(old)), Value::Table(new)) if new.get("kind").is_none_or(|kind| old.get("kind") == Some(kind)) => {
                old.extend(new);
            }
            (_, change) => drop(base.insert(name, change)),
        }
    }
    base
}

/// Refuses keys that have no effect, such as `optimizer.trust` with AdamW: none survives into the recipe.
fn refuse_unused<'a>(recipe: &Recipe, given: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let used = keys::flatten(&as_table(recipe)?);
    let Some(path) = given.into_iter().find(|path| !used.contains_key(*path)) else { return Ok(()) };
    let section = path.split('.').next().unwrap_or(path);
    let kind = used.get(&format!("{section}.kind")).map_or_else(String::new, ToString::to_string);
    Err(Error::Usage(format!("{path} has no effect with {section}.kind = {kind}; remove it or change the kind")))
}

/// serde's sentence, with the key in front and the types in the words of TOML.
fn wrong_type(error: toml::de::Error) -> Error {
    let text = error.to_string();
    let path = text.split_once("\nin `").and_then(|(_, rest)| rest.split_once('`')).map_or("recipe", |(path, _)| path);
    let mut message = error.message().replace('\n', "; ");
    for (rust, words) in [("u32", "a whole number from 0 to 4294967295"), ("u64", "a whole number from 0"), ("f64", "a number")] {
        message = message.replace(&format!("expected {rust}"), &format!("expected {words}"));
    }
    let remedy = if message.starts_with("missing field") { "; state every key of this kind" } else { "" };
    Error::Usage(format!("{path}: {message}{remedy}"))
}
