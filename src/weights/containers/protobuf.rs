//! A reader of protocol buffers, for the features that TensorFlow's and ONNX's files use. It returns the fields of a message in
//! order, and checks every length.
//!
//! <https://protobuf.dev/programming-guides/encoding/>. Nothing is allocated or copied: values are integers, or slices of the
//! message. The caller supplies the default of a missing field, as the format requires.

/// The error for a malformed message (e.g. one that ends inside a field), or for a value that is not of the requested type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

type Result<T> = std::result::Result<T, Damaged>;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer, a boolean or an enumerator; negative values are in 64-bit two's complement.
    Varint(u64),
    /// Eight bytes: a double, or a fixed-width integer.
    Fixed64(u64),
    /// Bytes, a string, a nested message, or packed values.
    Bytes(&'a [u8]),
    /// Four bytes: a float, or a fixed-width integer.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// Returns the integer.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn varint(self) -> Result<u64> {
        if let Self::Varint(number) = self { Ok(number) } else { Err(Damaged) }
    }

    /// Returns the bytes.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn bytes(self) -> Result<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Damaged) }
    }

    /// Returns the string.
    ///
    /// # Errors
    /// The value is of another type, or not UTF-8.
    pub fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    /// Returns the integers in one field of a repeated list: the whole list if it is packed, otherwise a single integer.
    pub fn varints(self) -> impl Iterator<Item = Result<u64>> + 'a {
        let (one, mut packed) = match self {
            Self::Varint(number) => (Some(Ok(number)), &[][..]),
            Self::Bytes(bytes) => (None, bytes),
            Self::Fixed32(_) | Self::Fixed64(_) => (Some(Err(Damaged)), &[][..]),
        };
        let rest =
            std::iter::from_fn(move || (!packed.is_empty()).then(|| ended_by_fault(varint(&mut packed), &mut packed)));
        one.into_iter().chain(rest)
    }
}

/// Iterates over the fields of a message, as (field number, value), up to its end or the first error.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>)>> {
    let mut rest = message;
    std::iter::from_fn(move || (!rest.is_empty()).then(|| ended_by_fault(field(&mut rest), &mut rest)))
}

/// Returns a result unchanged. An error also clears `rest`, so that nothing more is read.
fn ended_by_fault<T>(read: Result<T>, rest: &mut &[u8]) -> Result<T> {
    if read.is_err() {
        *rest = &[];
    }
    read
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Value<'a>)> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => Value::Varint(varint(rest)?),
        1 => Value::Fixed64(u64::from_le_bytes(array(rest)?)),
        2 => {
            let size = usize::try_from(varint(rest)?).map_err(|_| Damaged)?;
            Value::Bytes(take(rest, size)?)
        }
        5 => Value::Fixed32(u32::from_le_bytes(array(rest)?)),
        _ => return Err(Damaged),
    };
    Ok((tag >> 3, value))
}

/// Reads a varint (seven bits per byte, lowest first) off the front of the bytes.
///
/// # Errors
/// The bytes end inside the varint, or it has more than 64 bits.
pub fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = array(rest)?;
        let bits = u64::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            return Err(Damaged);
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

/// Takes `size` bytes off the front of `rest`.
///
/// # Errors
/// There are fewer bytes.
pub fn take<'a>(rest: &mut &'a [u8], size: usize) -> Result<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(size).ok_or(Damaged)?;
    *rest = after;
    Ok(taken)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    take(rest, N)?.try_into().map_err(|_| Damaged)
}

#[cfg(test)]
mod tests {
    use super::{Damaged, Value, fields};

    #[test]
    fn every_kind_of_value_is_read_and_whatever_is_cut_is_an_error() {
        let message = b"\x08\x96\x01\x12\x02ab\x1D\x01\0\0\0\x21\x02\0\0\0\0\0\0\0\x2A\x03\x01\xAC\x02";
        let all: Vec<_> = fields(message).collect::<Result<_, _>>().unwrap();
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"ab")),
            (3, Value::Fixed32(1)),
            (4, Value::Fixed64(2)),
            (5, Value::Bytes(b"\x01\xAC\x02")),
        ];
        assert_eq!(all, expected);
        assert_eq!(all[4].1.varints().collect::<Vec<_>>(), [Ok(1), Ok(300)]);
        assert_eq!(all[0].1.varints().collect::<Vec<_>>(), [Ok(150)]);
        assert_eq!((all[1].1.text(), all[0].1.text()), (Ok("ab"), Err(Damaged)));
        let ends = [0, 3, 7, 12, 21, message.len()];
        for len in 0..=message.len() {
            let read: Result<Vec<_>, _> = fields(&message[..len]).collect();
            assert_eq!(read.is_ok(), ends.contains(&len), "{len}");
        }
    }

    #[test]
    fn what_leads_out_of_the_bytes_ends_the_message() {
        let long = [b"\x12".as_slice(), &[0xFF; 9], b"\x01"].concat();
        // An integer of eleven bytes, a length of 2^64 - 1, a group.
        for message in [&[0xFF; 11][..], &long, b"\x0B\x08\x01"] {
            assert_eq!(fields(message).collect::<Vec<_>>(), [Err(Damaged)]);
        }
        assert_eq!(Value::Bytes(b"\x01\xFF").varints().collect::<Vec<_>>(), [Ok(1), Err(Damaged)]);
    }
}
