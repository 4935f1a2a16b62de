//! The stack machine.

use super::operation::*;
use super::value::{Array, Function, Id, Pickle, Value};
use crate::data::numpy::IntegerType;
use std::borrow::Cow;
use std::collections::HashMap;

/// The newest protocol understood.
const NEWEST_PROTOCOL: u8 = 4;

/// Values in a pickle. CIFAR-100's training file has 150,000; a file that has far more is none of CIFAR's, and a short one could ask for many.
const MOST_VALUES: usize = 1 << 20;

/// Tuples within tuples. An array has three.
const MOST_NESTED: usize = 16;

/// Dimensions of an array; images and labels have two at most.
const MOST_DIMENSIONS: usize = 4;

/// Reads a pickle operation by operation.
pub(super) struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Bytes that were made by encoding text anew.
    encoded: usize,
}

impl<'a> Machine<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), encoded: 0 }
    }

    /// Runs to the end.
    pub fn run(mut self) -> Result<Pickle<'a>, String> {
        if self.input.first() != Some(&PROTO) {
            return Err("is no pickle of protocol 2 or later".to_owned());
        }
        loop {
            let code = self.byte()?;
            if code == STOP {
                let root = self.pop()?;
                return Pickle::new(self.values, root);
            }
            self.execute(code)?;
        }
    }

    fn execute(&mut self, code: u8) -> Result<(), String> {
        match code {
            PROTO => self.protocol(),
            // The length of what follows, which is read as it comes.
            FRAME => self.bytes(8).map(drop),

            MARK => self.mark(),
            BINPUT => self.unsigned(1).and_then(|key| self.memoize(key as u32)),
            LONG_BINPUT => self.unsigned(4).and_then(|key| self.memoize(key as u32)),
            MEMOIZE => self.memoize(self.memo.len() as u32),
            BINGET => self.unsigned(1).and_then(|key| self.recall(key as u32)),
            LONG_BINGET => self.unsigned(4).and_then(|key| self.recall(key as u32)),

            NONE => self.push(Value::None),
            NEWTRUE => self.push(Value::Bool(true)),
            NEWFALSE => self.push(Value::Bool(false)),
            BININT1 | BININT2 | BININT => self.integer(code),

            SHORT_BINSTRING | SHORT_BINBYTES | SHORT_BINUNICODE => self.string(1),
            BINSTRING | BINBYTES | BINUNICODE => self.string(4),
            BINBYTES8 => self.string(8),

            EMPTY_TUPLE => self.push(Value::Tuple(Vec::new())),
            TUPLE1 => self.tuple(1),
            TUPLE2 => self.tuple(2),
            TUPLE3 => self.tuple(3),
            TUPLE => self.pop_to_mark().and_then(|items| self.push(Value::Tuple(items))),
            EMPTY_LIST => self.push(Value::List(Vec::new())),
            APPEND => self.pop().and_then(|item| self.append(vec![item])),
            APPENDS => self.pop_to_mark().and_then(|items| self.append(items)),
            EMPTY_DICT => self.push(Value::Dict(Vec::new())),
            SETITEM => self.take(2).and_then(|items| self.set_items(items)),
            SETITEMS => self.pop_to_mark().and_then(|items| self.set_items(items)),

            GLOBAL => self.named_function(),
            STACK_GLOBAL => self.function_on_stack(),
            REDUCE => self.call(),
            BUILD => self.build(),
            other => {
                Err(format!("has the pickle operation 0x{other:02x} at byte {}, which CIFAR's files do not use", self.at - 1))
            }
        }
    }

    fn protocol(&mut self) -> Result<(), String> {
        match self.byte()? {
            2..=NEWEST_PROTOCOL => Ok(()),
            version => Err(format!("is a pickle of protocol {version}, but 2 to {NEWEST_PROTOCOL} are read")),
        }
    }

    // Input.

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.input[self.at..];
        let bytes = rest.get(..count).ok_or("ends in the middle of a pickle")?;
        self.at += count;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.bytes(1)?[0])
    }

    /// A little-endian number of that many bytes.
    fn unsigned(&mut self, count: usize) -> Result<u64, String> {
        Ok(self.bytes(count)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = &self.input[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or("ends in the middle of a name")?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    // Stack and memo.

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        let id = self.values.len() as Id;
        self.values.push(value);
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), String> {
        if self.values.len() > MOST_VALUES || self.stack.len() >= MOST_VALUES {
            return Err(format!("holds more than {MOST_VALUES} values"));
        }
        self.stack.push(id);
        Ok(())
    }

    /// Takes the uppermost values off the stack, but none below the last mark.
    fn take(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(count).filter(|&from| from >= floor);
        Ok(self.stack.split_off(from.ok_or("takes a value from an empty stack")?))
    }

    fn pop(&mut self) -> Result<Id, String> {
        Ok(self.take(1)?[0])
    }

    fn mark(&mut self) -> Result<(), String> {
        if self.marks.len() == MOST_NESTED {
            return Err(format!("nests more than {MOST_NESTED} values"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("ends a sequence that it has not begun")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "uses a value of an empty stack".to_owned())
    }

    fn memoize(&mut self, key: u32) -> Result<(), String> {
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let id = self.memo.get(&key).copied();
        self.push_id(id.ok_or_else(|| format!("recalls value {key}, which it has not kept"))?)
    }

    fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    fn bytes_of(&self, id: Id) -> Result<&[u8], String> {
        match self.value(id) {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(format!("has {} where a string is needed", other.kind())),
        }
    }

    fn tuple_of(&self, id: Id) -> Result<&[Id], String> {
        match self.value(id) {
            Value::Tuple(items) => Ok(items),
            other => Err(format!("has {} where a tuple is needed", other.kind())),
        }
    }

    // Values.

    fn integer(&mut self, code: u8) -> Result<(), String> {
        let number = match code {
            BININT1 => self.unsigned(1)? as i32,
            BININT2 => self.unsigned(2)? as i32,
            // The one with a sign.
            _ => self.unsigned(4)? as u32 as i32,
        };
        self.push(Value::Integer(number))
    }

    /// A string behind its length in `prefix` bytes.
    fn string(&mut self, prefix: usize) -> Result<(), String> {
        let length = usize::try_from(self.unsigned(prefix)?).map_err(|_| "has a string longer than itself")?;
        let bytes = self.bytes(length)?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)))
    }

    fn tuple(&mut self, len: usize) -> Result<(), String> {
        let items = self.take(len)?;
        self.push(Value::Tuple(items))
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        let list = self.top()? as usize;
        match &mut self.values[list] {
            Value::List(list) => list.extend(items),
            other => return Err(format!("appends to {}", other.kind())),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Id>) -> Result<(), String> {
        let dict = self.top()? as usize;
        let (pairs, rest) = items.as_chunks();
        match &mut self.values[dict] {
            Value::Dict(dict) if rest.is_empty() => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Value::Dict(_) => return Err("has a key without a value".to_owned()),
            other => return Err(format!("sets a key of {}", other.kind())),
        }
        Ok(())
    }

    // Functions.

    fn named_function(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        self.function(module, name)
    }

    fn function_on_stack(&mut self) -> Result<(), String> {
        let names = self.take(2)?;
        let [module, name] = [self.bytes_of(names[0])?.to_vec(), self.bytes_of(names[1])?.to_vec()];
        self.function(&module, &name)
    }

    fn function(&mut self, module: &[u8], name: &[u8]) -> Result<(), String> {
        let function = Function::named(module, name).ok_or_else(|| {
            // Enough of a name to recognise it by, on one line.
            let shown = |bytes: &[u8]| bytes[..bytes.len().min(40)].escape_ascii().to_string();
            format!("asks for {}.{}, which CIFAR's files do not, so it was not trusted", shown(module), shown(name))
        })?;
        self.push(Value::Function(function))
    }

    fn call(&mut self) -> Result<(), String> {
        let operands = self.take(2)?;
        let function = match self.value(operands[0]) {
            Value::Function(function) => *function,
            other => return Err(format!("calls {}", other.kind())),
        };
        let arguments = self.tuple_of(operands[1])?;
        let made = match (function, arguments) {
            // Its other arguments, an empty shape and type, are replaced by its state.
            (Function::Reconstruct, [class, ..]) if matches!(self.value(*class), Value::Function(Function::Ndarray)) => {
                Value::Array(None)
            }
            (Function::Dtype, [name, ..]) => Value::Type(self.integer_type(*name)?),
            (Function::Encode, [text, encoding]) => Value::Bytes(self.encode(*text, *encoding)?.into()),
            _ => return Err("calls a function with arguments that CIFAR's files do not give it".to_owned()),
        };
        if let Value::Bytes(bytes) = &made {
            // One text can be encoded again and again.
            self.encoded += bytes.len();
            if self.encoded > self.input.len() {
                return Err("encodes the same text more than once".to_owned());
            }
        }
        self.push(made)
    }

    fn integer_type(&self, name: Id) -> Result<IntegerType, String> {
        let name = str::from_utf8(self.bytes_of(name)?).unwrap_or("?");
        let shown: String = name.chars().take(20).collect();
        IntegerType::parse(name).ok_or_else(|| format!("has an array of type `{}`, not of integers", shown.escape_default()))
    }

    /// Text whose characters stand for the bytes of the same number.
    fn encode(&self, text: Id, encoding: Id) -> Result<Vec<u8>, String> {
        if !matches!(self.bytes_of(encoding)?, b"latin1" | b"latin-1") {
            return Err("encodes text in another encoding than latin1".to_owned());
        }
        let text = str::from_utf8(self.bytes_of(text)?).map_err(|_| "has text that is not UTF-8")?;
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        bytes.ok_or_else(|| "has text that is not latin1".to_owned())
    }

    /// Gives the value below the top the state on top.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let object = self.top()?;
        let state = self.tuple_of(state)?;
        let built = match (self.value(object), state) {
            (Value::Type(element), [_version, order, ..]) => {
                let order = self.bytes_of(*order)?.first().copied().unwrap_or(b'|');
                Value::Type(element.in_order(order))
            }
            (Value::Array(None), &[_version, shape, element, fortran, bytes]) => {
                Value::Array(Some(self.array(shape, element, fortran, bytes)?))
            }
            (other, _) => return Err(format!("gives {} a state that CIFAR's files do not", other.kind())),
        };
        self.values[object as usize] = built;
        Ok(())
    }

    /// The array takes the bytes with it: what was encoded anew would otherwise be there once for each array that has it.
    fn array(&mut self, shape: Id, element: Id, fortran: Id, bytes: Id) -> Result<Array<'a>, String> {
        let extent = |id: &Id| match self.value(*id) {
            Value::Integer(number) => usize::try_from(*number).map_err(|_| format!("has an array of extent {number}")),
            other => Err(format!("has {} as the extent of an array", other.kind())),
        };
        let shape = self.tuple_of(shape)?;
        if shape.len() > MOST_DIMENSIONS {
            return Err(format!("has an array of {} dimensions", shape.len()));
        }
        let shape: Vec<usize> = shape.iter().map(extent).collect::<Result<_, _>>()?;
        let fortran = matches!(self.value(fortran), Value::Bool(true) | Value::Integer(1));
        let &Value::Type(element) = self.value(element) else {
            return Err(format!("has {} as the type of an array", self.value(element).kind()));
        };
        let needed = shape.iter().try_fold(element.bytes(), |product, &extent| product.checked_mul(extent));
        match &mut self.values[bytes as usize] {
            Value::Bytes(bytes) if needed == Some(bytes.len()) => {
                Ok(Array { shape, element, fortran, bytes: std::mem::take(bytes) })
            }
            Value::Bytes(bytes) => Err(format!("has an array of shape {shape:?} in {} bytes", bytes.len())),
            other => Err(format!("has {} as the content of an array", other.kind())),
        }
    }
}
