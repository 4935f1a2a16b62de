//! What a kernel's source promises.

use std::path::Path;

/// A kernel's signature and body.
pub struct Source {
    parameters: Vec<String>,
    body: String,
}

/// The kernel's source, from `KERNEL(name)` to the brace that closes it.
pub fn read(file: &str, name: &str) -> Source {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("KERNEL({name})(")).unwrap();
    let (parameters, rest) = rest.split_once(')').unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    Source { parameters: parameters.split(',').map(str::to_owned).collect(), body: body.to_owned() }
}

impl Source {
    /// Whether `T` is in the signature, so that there is a kernel for each storage type.
    pub fn names_storage_type(&self) -> bool {
        self.parameters.iter().any(|parameter| words(parameter).any(|word| word == "T"))
    }

    /// How many floating-point arguments the body moves as vectors, by calling `load` or `store` on them. Of what is loaded at a position with a
    /// number of lanes of its own, `At<N>`, the compiler leaves out the lanes that are not used.
    pub fn vectors_by(&self, operation: &str) -> usize {
        let floating = self.parameters.iter().filter(|p| p.contains('*') && words(p).any(|word| word == "T" || word == "Real"));
        let calls = |name: &str| {
            let call = format!("{operation}({name}, ");
            self.body.match_indices(&call).any(|(at, _)| {
                let whole_word = !self.body[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                whole_word && !(operation == "load" && self.body[at + call.len()..].starts_with("At<"))
            })
        };
        floating.filter(|p| words(p).last().is_some_and(calls)).count()
    }
}

fn words(parameter: &str) -> impl Iterator<Item = &str> {
    parameter.split(|c: char| c.is_whitespace() || c == '*').filter(|word| !word.is_empty())
}
