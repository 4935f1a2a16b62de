//! Reads kernel signatures out of `.cu` files: the single source of the host table and of the Rust launch functions.

/// The C type of a parameter, as written in a kernel's signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// The storage type of the variant.
    Storage,
    /// The arithmetic type of the variant.
    Real,
    F32,
    U8,
    I32,
    I64,
    U64,
}

impl Type {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "T" => Self::Storage,
            "Real" => Self::Real,
            "float" => Self::F32,
            "uint8_t" => Self::U8,
            "int32_t" => Self::I32,
            "int64_t" => Self::I64,
            "uint64_t" => Self::U64,
            _ => return None,
        })
    }

    pub fn c_name(self) -> &'static str {
        match self {
            Self::Storage => "T",
            Self::Real => "Real",
            Self::F32 => "float",
            Self::U8 => "uint8_t",
            Self::I32 => "int32_t",
            Self::I64 => "int64_t",
            Self::U64 => "uint64_t",
        }
    }
}

pub struct Parameter {
    pub name: String,
    pub ty: Type,
    pub pointer: bool,
    pub constant: bool,
    pub optional: bool,
    pub in_place: bool,
}

pub struct Kernel {
    pub name: String,
    pub cooperative: bool,
    pub parameters: Vec<Parameter>,
}

impl Kernel {
    fn mentions(&self, ty: Type) -> bool {
        self.parameters.iter().any(|p| p.ty == ty)
    }

    /// Compiled once per storage type.
    pub fn is_typed(&self) -> bool {
        self.mentions(Type::Storage)
    }

    /// Arithmetic type varies (f32, or f64 in host tests).
    pub fn is_real(&self) -> bool {
        self.mentions(Type::Real)
    }
}

/// A storage type a kernel file is compiled for.
pub struct Variant {
    pub suffix: &'static str,
    pub storage: &'static str,
    pub real: &'static str,
}

impl Variant {
    /// Double precision is for tests, on the host.
    pub fn exists_on_gpu(&self) -> bool {
        self.real == "float"
    }
}

/// In the order of `Element::SLOT`.
pub const VARIANTS: [Variant; 4] = [
    Variant { suffix: "f32", storage: "float", real: "float" },
    Variant { suffix: "f16", storage: "f16", real: "float" },
    Variant { suffix: "bf16", storage: "bf16", real: "float" },
    Variant { suffix: "f64", storage: "double", real: "double" },
];

impl Kernel {
    /// Whether the kernel exists for the variant: typed ones for all, real ones for f32 and f64, the rest once, as f32.
    pub fn exists_for(&self, variant: &Variant) -> bool {
        match variant.suffix {
            "f32" => true,
            "f64" => self.is_typed() || self.is_real(),
            _ => self.is_typed(),
        }
    }
}

/// Words that a name in the generated Rust cannot be: the language's, and what the launch functions call their own.
const TAKEN: [&str; 55] = [
    "abstract",
    "arguments",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "struct",
    "super",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "work",
    "yield",
    "_",
];

/// Whether a name is a small-letter one of both C++ and Rust.
pub fn is_identifier(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(letters) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && !TAKEN.contains(&name)
}

/// All kernels declared in one file's source.
///
/// # Errors
/// On a signature that cannot be launched: one sentence, with the file, the kernel and the remedy.
pub fn parse(file: &str, source: &str) -> Result<Vec<Kernel>, String> {
    let code: String = source.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut kernels: Vec<Kernel> = Vec::new();
    for (start, _) in code.match_indices("KERNEL(") {
        let cooperative = code[..start].ends_with("COOPERATIVE_");
        let before = &code[..start - if cooperative { "COOPERATIVE_".len() } else { 0 }];
        if !before.is_empty() && !before.ends_with('\n') {
            return Err(format!("{file}: a KERNEL does not stand at the beginning of its line; put it there"));
        }
        let kernel = kernel(file, cooperative, &code[start + "KERNEL(".len()..])?;
        if kernels.iter().any(|other| other.name == kernel.name) {
            return Err(format!("{file}: there are two kernels `{}`; give one another name", kernel.name));
        }
        kernels.push(kernel);
    }
    if kernels.is_empty() {
        return Err(format!("{file}: declares no KERNEL; write one, or call a file that others include .cuh"));
    }
    Ok(kernels)
}

/// The kernel whose source begins with `name)(parameters)`.
fn kernel(file: &str, cooperative: bool, source: &str) -> Result<Kernel, String> {
    let unfinished = || format!("{file}: a signature cannot be read; write KERNEL(name)(parameters), as kernels/README.md shows");
    let (name, rest) = source.split_once(')').ok_or_else(unfinished)?;
    let (list, rest) = rest.trim_start().strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(unfinished)?;
    let name = name.trim();
    if !is_identifier(name) {
        return Err(format!(
            "{file}: a kernel cannot be called `{name}`; use small letters, digits and underscores, and no word of Rust"
        ));
    }
    let body = rest.split("KERNEL(").next().unwrap_or(rest);
    if !cooperative && body.contains("SHARED(") {
        return Err(format!("{file}: {name}: only threads that cooperate share memory; declare it as a COOPERATIVE_KERNEL"));
    }
    let parameters: Vec<_> = list.split(',').map(|text| parameter(file, name, text)).collect::<Result<_, _>>()?;
    if !parameters.iter().any(|parameter| parameter.pointer) {
        return Err(format!("{file}: {name}: a kernel that is given no pointer has nothing to work on; add one"));
    }
    Ok(Kernel { name: name.to_owned(), cooperative, parameters })
}

fn parameter(file: &str, kernel: &str, text: &str) -> Result<Parameter, String> {
    let refuse =
        |what: &str| Err(format!("{file}: {kernel}: `{}` {what}", text.split_whitespace().collect::<Vec<_>>().join(" ")));
    let spaced = text.replace('*', " * ");
    let mut words: Vec<&str> = spaced.split_whitespace().collect();
    let name = words.pop().unwrap_or_default();
    let mut take = |word: &str| {
        let found = words.iter().position(|w| *w == word);
        found.map(|at| words.remove(at)).is_some()
    };
    let (optional, in_place, pointer, constant) = (take("OPTIONAL"), take("INPLACE"), take("*"), take("const"));
    let ty = match words[..] {
        [one] => Type::parse(one),
        _ => None,
    };
    let Some(ty) = ty else {
        return refuse(
            "is no parameter of a kernel; use T, Real, float, uint8_t, int32_t, int64_t or uint64_t, or a pointer to one, and a name",
        );
    };
    if !is_identifier(name) {
        return refuse("has a name that cannot be had in Rust; use small letters, digits and underscores, and no word of Rust");
    }
    if !pointer && (optional || constant) {
        return refuse("is no pointer; leave out OPTIONAL and const, which are for pointers");
    }
    if in_place && (!pointer || constant) {
        return refuse("is not written; leave out INPLACE, which is for pointers that are");
    }
    Ok(Parameter { name: name.to_owned(), ty, pointer, constant, optional, in_place })
}
