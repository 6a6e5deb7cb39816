//! The part of Python's pickle that `torch.save` writes, read as data: nothing is called, imported or executed.
//!
//! The machine has a stack, a memo and arenas (opcodes: CPython's `pickletools`). A global is only a name. What the file would
//! have Python call becomes a tensor, a parameter's tensor or an empty dictionary if it is one of the handful that a
//! dictionary of tensors needs, and is otherwise opaque: it can lie in the file, and nothing can be had from it.
//! Invariant: memory is bounded by a constant times the length of the pickle; values refer to containers by number, so no
//! nesting, however deep, recurses.

use std::rc::Rc;

/// Something on the stack.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    /// Number of a list of [`Arenas::sequences`]: a tuple, a list or a set.
    Sequence(usize),
    /// Number of a list of [`Arenas::dictionaries`].
    Dictionary(usize),
    /// `module.name`.
    Global(Rc<str>),
    /// Number of a [`Arenas::storages`].
    Storage(usize),
    /// Number of a [`Arenas::tensors`].
    Tensor(usize),
    /// What we do not read.
    Opaque,
}

/// A flat run of numbers that tensors are views of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    /// `torch.FloatStorage` and the like.
    pub(super) kind: Rc<str>,
    pub(super) key: Rc<str>,
    pub(super) count: usize,
}

/// A view of a storage, in elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) storage: usize,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) stride: Vec<usize>,
}

/// What values refer to by number.
#[derive(Debug, Default)]
pub(super) struct Arenas {
    pub(super) sequences: Vec<Vec<Value>>,
    pub(super) dictionaries: Vec<Vec<(Value, Value)>>,
    pub(super) storages: Vec<Storage>,
    pub(super) tensors: Vec<View>,
}

/// Longest shape of a tensor that a model has.
const MAX_SIDES: usize = 8;
/// Longest name of a global. A text of the file can be named again and again by a few bytes, so it is not copied unbounded.
const MAX_NAME_BYTES: usize = 256;

/// Reads one pickle from the start of `bytes`: its value, what that refers to, and how long it is.
pub(super) fn read(bytes: &[u8]) -> Result<(Value, Arenas, usize), String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        arenas: Arenas::default(),
    };
    loop {
        let at = machine.at;
        let told = |reason| format!("its pickle is not understood at byte {at}: {reason}");
        if let Some(value) = machine.step().map_err(told)? {
            return Ok((value, machine.arenas, machine.at));
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: Vec<Value>,
    arenas: Arenas,
}

impl Machine<'_> {
    /// One opcode; the result when it was the last.
    fn step(&mut self) -> Result<Option<Value>, String> {
        match self.byte()? {
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return Ok(Some(self.pop()?)),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.popped_to_mark()?),
            b'2' => self.stack.push(self.stack.last().ok_or("the stack is empty")?.clone()),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'J' => self.integer(4)?,
            b'K' => self.unsigned(1)?,
            b'M' => self.unsigned(2)?,
            0x8a => {
                let length = usize::from(self.byte()?);
                self.long(length)?;
            }
            0x8b => {
                let length = self.length(4)?;
                self.long(length)?;
            }
            b'G' => self.opaque(8)?,
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b'B' => self.sized_opaque(4)?,
            b'C' => self.sized_opaque(1)?,
            0x8e => self.sized_opaque(8)?,
            b')' | b']' | 0x8f => self.sequence(Vec::new()),
            b'}' => self.dictionary(),
            b't' => {
                let items = self.popped_to_mark()?;
                self.sequence(items);
            }
            count @ 0x85..=0x87 => {
                let items = self.popped(usize::from(count - 0x84))?;
                self.sequence(items);
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.popped_to_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let items = self.popped(2)?;
                self.set(items)?;
            }
            b'u' => {
                let items = self.popped_to_mark()?;
                self.set(items)?;
            }
            b'q' => {
                let slot = usize::from(self.byte()?);
                self.remember(slot)?;
            }
            b'r' => {
                let slot = self.length(4)?;
                self.remember(slot)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let slot = usize::from(self.byte()?);
                self.recall(slot)?;
            }
            b'j' => {
                let slot = self.length(4)?;
                self.recall(slot)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(format!("{module}.{name}").into()));
            }
            0x93 => {
                let global = match &self.popped(2)?[..] {
                    [Value::Text(module), Value::Text(name)]
                        if module.len() + name.len() <= MAX_NAME_BYTES =>
                    {
                        Value::Global(format!("{module}.{name}").into())
                    }
                    [Value::Text(_), Value::Text(_)] => {
                        return Err(format!("the name of a global is longer than {MAX_NAME_BYTES} bytes"));
                    }
                    _ => return Err("a global is not named by two texts".to_owned()),
                };
                self.stack.push(global);
            }
            b'Q' => self.persistent()?,
            b'R' | 0x81 => self.call()?,
            // A state that is put onto an object: attributes, never items.
            b'b' => drop(self.pop()?),
            opcode => return Err(format!("opcode {opcode:#04x} is none that a file of tensors needs")),
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("{count} bytes are missing at its end"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, bytes: usize) -> Result<usize, String> {
        usize::try_from(self.number(bytes)?).map_err(|_| "a length does not fit".to_owned())
    }

    fn unsigned(&mut self, bytes: usize) -> Result<(), String> {
        let number = self.number(bytes)?;
        self.stack.push(Value::Int(number.cast_signed()));
        Ok(())
    }

    fn integer(&mut self, bytes: usize) -> Result<(), String> {
        let unused = 64 - 8 * bytes;
        let number = (self.number(bytes)? << unused).cast_signed() >> unused;
        self.stack.push(Value::Int(number));
        Ok(())
    }

    /// A number of any length; one over 64 bits is opaque.
    fn long(&mut self, bytes: usize) -> Result<(), String> {
        match bytes {
            0 => self.stack.push(Value::Int(0)),
            1..=8 => self.integer(bytes)?,
            _ => self.opaque(bytes)?,
        }
        Ok(())
    }

    fn opaque(&mut self, bytes: usize) -> Result<(), String> {
        self.take(bytes)?;
        self.stack.push(Value::Opaque);
        Ok(())
    }

    fn sized_opaque(&mut self, bytes: usize) -> Result<(), String> {
        let length = self.length(bytes)?;
        self.opaque(length)
    }

    fn text(&mut self, bytes: usize) -> Result<(), String> {
        let length = self.length(bytes)?;
        let text = String::from_utf8_lossy(self.take(length)?).into();
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("a name does not end")?;
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or_else(|| "the stack is empty".to_owned()),
            false => Err("the stack is empty".to_owned()),
        }
    }

    fn popped(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= floor);
        Ok(self.stack.split_off(start.ok_or("the stack is empty")?))
    }

    fn popped_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn sequence(&mut self, items: Vec<Value>) {
        self.stack.push(Value::Sequence(self.arenas.sequences.len()));
        self.arenas.sequences.push(items);
    }

    fn dictionary(&mut self) {
        self.stack.push(Value::Dictionary(self.arenas.dictionaries.len()));
        self.arenas.dictionaries.push(Vec::new());
    }

    fn extend(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.stack.last() {
            Some(Value::Sequence(at)) => self.arenas.sequences[*at].extend(items),
            Some(Value::Opaque) => {}
            _ => return Err("items are added to what is no list".to_owned()),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Value>) -> Result<(), String> {
        let mut items = items.into_iter();
        let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
        match self.stack.last() {
            Some(Value::Dictionary(at)) => self.arenas.dictionaries[*at].extend(pairs),
            Some(Value::Opaque) => {}
            _ => return Err("items are set in what is no dictionary".to_owned()),
        }
        Ok(())
    }

    fn remember(&mut self, slot: usize) -> Result<(), String> {
        let value = self.stack.last().ok_or("the stack is empty")?.clone();
        // Slots are given out one after the other, so one far away is no pickle of Python's.
        if slot > self.memo.len() {
            return Err(format!("memo slot {slot} comes before slot {}", self.memo.len()));
        }
        match self.memo.get_mut(slot) {
            Some(known) => *known = value,
            None => self.memo.push(value),
        }
        Ok(())
    }

    fn recall(&mut self, slot: usize) -> Result<(), String> {
        let value = self.memo.get(slot).ok_or_else(|| format!("memo slot {slot} is empty"))?.clone();
        self.stack.push(value);
        Ok(())
    }

    fn items(&self, value: &Value) -> &[Value] {
        match value {
            Value::Sequence(at) => &self.arenas.sequences[*at],
            _ => &[],
        }
    }

    /// `("storage", kind, key, device, count, ...)`.
    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let storage = match self.items(&id) {
            [Value::Text(what), Value::Global(kind), Value::Text(key), _, Value::Int(count), ..]
                if **what == *"storage" =>
            {
                let count =
                    usize::try_from(*count).map_err(|_| format!("storage {key:?} has {count} numbers"))?;
                Storage { kind: kind.clone(), key: key.clone(), count }
            }
            _ => return Err("it refers to something outside that is no storage".to_owned()),
        };
        self.stack.push(Value::Storage(self.arenas.storages.len()));
        self.arenas.storages.push(storage);
        Ok(())
    }

    /// What would be a call in Python.
    fn call(&mut self) -> Result<(), String> {
        let [callee, arguments] = self.popped(2)?.try_into().map_err(|_| "the stack is empty".to_owned())?;
        let name: &str = match &callee {
            Value::Global(name) => name,
            _ => "",
        };
        if name == "collections.OrderedDict" {
            self.dictionary();
            return Ok(());
        }
        let value = match (name, self.items(&arguments)) {
            (
                "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
                [storage, offset, shape, stride, ..],
            ) => {
                let view = self.view(storage, offset, shape, stride)?;
                self.arenas.tensors.push(view);
                Value::Tensor(self.arenas.tensors.len() - 1)
            }
            ("torch._utils._rebuild_parameter", [tensor @ Value::Tensor(_), ..]) => tensor.clone(),
            _ => Value::Opaque,
        };
        self.stack.push(value);
        Ok(())
    }

    fn view(&self, storage: &Value, offset: &Value, shape: &Value, stride: &Value) -> Result<View, String> {
        for sides in [self.items(shape), self.items(stride)] {
            if sides.len() > MAX_SIDES {
                return Err(format!("a tensor has {} sides, the limit is {MAX_SIDES}", sides.len()));
            }
        }
        let sides = |value: &Value| {
            let sides = self.items(value).iter().map(|side| match side {
                Value::Int(side) => usize::try_from(*side).ok(),
                _ => None,
            });
            sides.collect::<Option<Vec<usize>>>()
        };
        let (Value::Storage(storage), Value::Int(offset), Some(shape), Some(stride)) =
            (storage, offset, sides(shape), sides(stride))
        else {
            return Err("a tensor is not made of a storage, an offset, a shape and strides".to_owned());
        };
        let offset = usize::try_from(*offset).map_err(|_| "a tensor begins before its storage".to_owned())?;
        if shape.len() != stride.len() {
            return Err(format!("a tensor has {} sides and {} strides", shape.len(), stride.len()));
        }
        Ok(View { storage: *storage, offset, shape, stride })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dictionary_that_refers_to_itself_is_data() {
        // d = {"a": 1}; d["d"] = d, as Python 3 pickles it with protocol 2.
        let (value, arenas, length) =
            read(b"\x80\x02}q\0(X\x01\0\0\0aK\x01X\x01\0\0\0dh\0u.rest").expect("readable");
        assert_eq!((value, length), (Value::Dictionary(0), 24));
        let expected =
            [(Value::Text("a".into()), Value::Int(1)), (Value::Text("d".into()), Value::Dictionary(0))];
        assert_eq!(arenas.dictionaries[0], expected);
    }

    #[test]
    fn a_call_is_never_made() {
        // os.system("true")
        let (value, ..) = read(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.").expect("readable");
        assert_eq!(value, Value::Opaque);
    }

    #[test]
    fn a_text_that_is_named_again_and_again_is_not_copied() {
        // A text of a megabyte, remembered, then a hundred thousand globals of five bytes that are named by it twice.
        let mut bomb = b"\x80\x02X\0\0\x10\0".to_vec();
        bomb.extend(vec![b'a'; 1 << 20]);
        bomb.extend(b"q\0");
        let many = |opcodes: &[u8]| [&bomb[..], &opcodes.repeat(100_000), b"."].concat();
        assert!(read(&many(b"h\0h\0\x93")).is_err_and(|reason| reason.contains("longer than 256")));
        // ("storage", a global, that text, None, 1) is the id of as many storages.
        let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nh\0NK\x01tq\x01";
        let bomb = [&bomb[..], storage].concat();
        let (_, arenas, _) = read(&[&bomb[..], &b"h\x01Q".repeat(100_000), b"."].concat()).expect("readable");
        assert_eq!(arenas.storages.len(), 100_000);
        assert!(Rc::ptr_eq(&arenas.storages[0].key, &arenas.storages[99_999].key));
    }

    #[test]
    fn depth_does_not_recurse() {
        let mut deep = b"\x80\x02N".to_vec();
        deep.extend(std::iter::repeat_n(0x85, 1_000_000));
        deep.push(b'.');
        drop(read(&deep).expect("readable"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_opcodes_are_read_or_refused(
            opcodes in proptest::collection::vec(
                proptest::sample::select(&b"\x80.(012N\x88JKM\x8aXU)]}t\x85\x86\x87aesuqr\x94hjc\x93QR\x81b\0\n\x01"[..]), 0..60),
        ) {
            let _ = read(&opcodes);
        }
    }
}
