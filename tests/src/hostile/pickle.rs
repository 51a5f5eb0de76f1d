//! Pickles op by op: state dicts, and programs that a careless reader would run.

/// A pickle being written, protocol 2.
#[derive(Clone, Debug)]
pub struct Pickle(Vec<u8>);

impl Default for Pickle {
    fn default() -> Self {
        Self(vec![0x80, 2])
    }
}

impl Pickle {
    /// Appends operations as they are.
    pub fn raw(mut self, operations: &[u8]) -> Self {
        self.0.extend_from_slice(operations);
        self
    }

    /// Pushes a class or function by module and name.
    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    /// Pushes a text.
    pub fn text(self, text: &str) -> Self {
        let length = (text.len() as u32).to_le_bytes();
        self.raw(b"X").raw(&length).raw(text.as_bytes())
    }

    /// Pushes a whole number.
    pub fn number(self, number: i64) -> Self {
        // LONG1 of eight bytes.
        self.raw(&[0x8a, 8]).raw(&number.to_le_bytes())
    }

    /// Calls `module.name(text)`.
    pub fn call(self, module: &str, name: &str, text: &str) -> Self {
        self.global(module, name).text(text).raw(b"\x85R")
    }

    /// Pushes a tensor of the storage `key`.
    pub fn tensor(self, tensor: &Tensor) -> Self {
        let mut pickle = self
            .global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"(")
            .raw(b"(")
            .text("storage")
            .global("torch", tensor.storage)
            .text("0")
            .text("cpu")
            .number(tensor.elements)
            .raw(b"tQ")
            .number(tensor.offset);
        for numbers in [tensor.shape, tensor.stride] {
            pickle = pickle.raw(b"(");
            for &number in numbers {
                pickle = pickle.number(number);
            }
            pickle = pickle.raw(b"t");
        }
        pickle
            .raw(b"\x89")
            .global("collections", "OrderedDict")
            .raw(b")R")
            .raw(b"tR")
    }

    /// Ends the pickle.
    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// What a pickle says of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// `FloatStorage` and its like.
    pub storage: &'a str,
    /// Numbers in the storage.
    pub elements: i64,
    /// The first of them that belongs to the tensor.
    pub offset: i64,
    /// Sizes.
    pub shape: &'a [i64],
    /// Steps.
    pub stride: &'a [i64],
}

impl Default for Tensor<'_> {
    fn default() -> Self {
        Self {
            storage: "FloatStorage",
            elements: 4,
            offset: 0,
            shape: &[2, 2],
            stride: &[2, 1],
        }
    }
}

/// A state dict of one tensor called `name`.
pub fn state_dict(name: &str, tensor: &Tensor) -> Vec<u8> {
    Pickle::default()
        .raw(b"}(")
        .text(name)
        .tensor(tensor)
        .raw(b"u")
        .stop()
}
