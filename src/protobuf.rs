//! Messages of protobuf, as far as a proxy hands them over: read field by field, without a schema.
//!
//! Encoding: <https://protobuf.dev/programming-guides/encoding/>.

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
}

/// A message's fields with their numbers; a `None` among them, at the end, for bytes that are none.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Option<(u64, Payload<'a>)> {
        let key = self.varint()?;
        let payload = match key & 7 {
            VARINT => Payload::Varint(self.varint()?),
            FIXED64 => {
                let (bits, rest) = self.rest.split_first_chunk()?;
                self.rest = rest;
                Payload::Fixed64(u64::from_le_bytes(*bits))
            }
            LENGTH => {
                let size = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.rest.split_at_checked(size)?;
                self.rest = rest;
                Payload::Bytes(bytes)
            }
            _ => return None,
        };
        Some((key >> 3, payload))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Payload<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field)
    }
}
