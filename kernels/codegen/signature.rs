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

    /// What is made of one kernel file for this variant, as a name without an ending.
    pub fn image(&self, file: &str) -> String {
        format!("{}_{}", file.trim_end_matches(".cu").replace('/', "_"), self.suffix)
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

/// All kernels declared in one file's source.
///
/// # Errors
/// On a signature that cannot be launched, with the file, the kernel and the reason.
pub fn parse(file: &str, source: &str) -> Result<Vec<Kernel>, String> {
    let code: String = source.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut kernels = Vec::new();
    for (start, _) in code.match_indices("KERNEL(") {
        let cooperative = code[..start].ends_with("COOPERATIVE_");
        let before = &code[..start - if cooperative { "COOPERATIVE_".len() } else { 0 }];
        if !before.is_empty() && !before.ends_with('\n') {
            return Err(format!("{file}: KERNEL must stand at the beginning of its line"));
        }
        let rest = &code[start + "KERNEL(".len()..];
        let (name, rest) = rest.split_once(')').ok_or_else(|| format!("{file}: unfinished KERNEL(name)"))?;
        let rest = rest.trim_start().strip_prefix('(').ok_or_else(|| format!("{file}: {name}: no parameter list"))?;
        let (list, _) = rest.split_once(')').ok_or_else(|| format!("{file}: {name}: unfinished parameter list"))?;
        let body = rest.split("KERNEL(").next().unwrap_or(rest);
        if !cooperative && body.contains("SHARED(") {
            return Err(format!("{file}: {name}: shared memory is for a COOPERATIVE_KERNEL"));
        }
        let parameters = list.split(',').map(|text| parameter(file, name, text)).collect::<Result<_, _>>()?;
        kernels.push(Kernel { name: name.trim().to_owned(), cooperative, parameters });
    }
    if kernels.is_empty() { Err(format!("{file}: declares no KERNEL")) } else { Ok(kernels) }
}

fn parameter(file: &str, kernel: &str, text: &str) -> Result<Parameter, String> {
    let spaced = text.replace('*', " * ");
    let mut words: Vec<&str> = spaced.split_whitespace().collect();
    let name = words.pop().ok_or_else(|| format!("{file}: {kernel}: empty parameter"))?.to_owned();
    let mut take = |word: &str| {
        let found = words.iter().position(|w| *w == word);
        found.map(|at| words.remove(at)).is_some()
    };
    let (optional, in_place, pointer, constant) = (take("OPTIONAL"), take("INPLACE"), take("*"), take("const"));
    let ty = match words[..] {
        [one] => Type::parse(one),
        _ => None,
    };
    let ty = ty.ok_or_else(|| format!("{file}: {kernel}: `{}` is not a type the launcher knows", text.trim()))?;
    if !pointer && (optional || constant) {
        return Err(format!("{file}: {kernel}: {name}: OPTIONAL and const are for pointers"));
    }
    if in_place && (!pointer || constant) {
        return Err(format!("{file}: {kernel}: {name}: INPLACE is for pointers that are written"));
    }
    Ok(Parameter { name, ty, pointer, constant, optional, in_place })
}
