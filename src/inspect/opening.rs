//! How a protocol's messages begin, as data: user space matches it, and the kernel's programs are made from it.

/// How wide a field is, in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Half,
    /// Four bytes.
    Word,
}

/// What a field must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// One of these, sorted and distinct.
    OneOf(&'static [u32]),
    /// No more than this.
    AtMost(u32),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it begins, from the payload's start.
    pub at: usize,
    /// How wide it is.
    pub width: Width,
    /// What it must be.
    pub test: Test,
}

/// How a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// How many bytes must be there.
    pub length: usize,
    /// What must hold, all of it.
    pub fields: &'static [Field],
    /// The protocol is known by this on any port; otherwise on the well-known ones only.
    pub anywhere: bool,
    /// What holds of a server's messages, if that shows who sends.
    pub servers: Option<Field>,
}

impl Field {
    /// Whether it is what it must be.
    #[must_use]
    pub fn holds(&self, payload: &[u8]) -> bool {
        let Some(bytes) = payload.get(self.at..) else { return false };
        let value = match self.width {
            Width::Byte => bytes.first().map(|byte| u32::from(*byte)),
            Width::Half => bytes.first_chunk().map(|half| u32::from(u16::from_be_bytes(*half))),
            Width::Word => bytes.first_chunk().map(|word| u32::from_be_bytes(*word)),
        };
        value.is_some_and(|value| match self.test {
            Test::OneOf(values) => values.contains(&value),
            Test::AtMost(most) => value <= most,
        })
    }
}

impl Opening {
    /// Whether a payload begins so.
    #[must_use]
    pub fn begins(&self, payload: &[u8]) -> bool {
        payload.len() >= self.length && self.fields.iter().all(|field| field.holds(payload))
    }
}
