//! A reader of FlatBuffers, for the features that TFLite uses: tables, vectors, strings and scalars. Every offset is checked.
//!
//! <https://flatbuffers.dev/internals/>. A missing field is read as 0, `None` or an empty list, whatever its default in the
//! schema. An offset or a length beyond the end of the file is an error. Allocations are bounded by a small
//! multiple of the file's size.

/// The error for an offset or a length that leads beyond the end of the file or of a table, or for a list above its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

type Result<T> = std::result::Result<T, Damaged>;

/// A table: scalars and offsets by field number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Size of the table in bytes.
    size: usize,
    /// For each field, two bytes: its offset in the table, or 0.
    slots: &'a [u8],
}

fn slice(bytes: &[u8], at: usize, size: usize) -> Result<&[u8]> {
    at.checked_add(size).and_then(|end| bytes.get(at..end)).ok_or(Damaged)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    slice(bytes, at, N)?.try_into().map_err(|_| Damaged)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<usize> {
    array(bytes, at).map(|b| u16::from_le_bytes(b).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Result<usize> {
    usize::try_from(u32::from_le_bytes(array(bytes, at)?)).map_err(|_| Damaged)
}

/// Follows the offset stored at `at`.
fn follow(bytes: &[u8], at: usize) -> Result<usize> {
    at.checked_add(u32_at(bytes, at)?).ok_or(Damaged)
}

impl<'a> Table<'a> {
    /// Returns the root table.
    pub(super) fn root(bytes: &'a [u8]) -> Result<Self> {
        Self::at(bytes, follow(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Result<Self> {
        let back = i64::from(i32::from_le_bytes(array(bytes, at)?));
        let vtable = i64::try_from(at).ok().and_then(|at| usize::try_from(at - back).ok()).ok_or(Damaged)?;
        let slots = u16_at(bytes, vtable)?.checked_sub(4).ok_or(Damaged)?;
        let size = u16_at(bytes, vtable + 2)?;
        slice(bytes, at, size)?;
        Ok(Self { bytes, at, size, slots: slice(bytes, vtable + 4, slots)? })
    }

    /// Returns the position of a field of `width` bytes, if the table has it.
    fn field(&self, number: usize, width: usize) -> Result<Option<usize>> {
        let Ok(offset) = u16_at(self.slots, 2 * number) else { return Ok(None) };
        match offset {
            0 => Ok(None),
            _ if offset + width > self.size => Err(Damaged),
            _ => Ok(Some(self.at + offset)),
        }
    }

    fn number<const N: usize>(&self, number: usize) -> Result<[u8; N]> {
        self.field(number, N)?.map_or(Ok([0; N]), |at| array(self.bytes, at))
    }

    /// Returns an 8-bit integer, 0 if the field is missing.
    pub(super) fn i8(&self, number: usize) -> Result<i8> {
        self.number(number).map(i8::from_le_bytes)
    }

    /// Returns a 32-bit integer, 0 if the field is missing.
    pub(super) fn i32(&self, number: usize) -> Result<i32> {
        self.number(number).map(i32::from_le_bytes)
    }

    /// Returns the table in a field; `None` if the field is missing.
    pub(super) fn table(&self, number: usize) -> Result<Option<Self>> {
        self.field(number, 4)?.map(|at| Self::at(self.bytes, follow(self.bytes, at)?)).transpose()
    }

    /// Returns the elements of a list, of `N` bytes each, and the offset of the first element in the file. The list is empty if
    /// the field is missing. More than `most` elements are an error.
    fn vector<const N: usize>(&self, number: usize, most: usize) -> Result<(usize, &'a [[u8; N]])> {
        let Some(field) = self.field(number, 4)? else { return Ok((0, &[])) };
        let at = follow(self.bytes, field)?;
        let len = u32_at(self.bytes, at)?;
        if len > most {
            return Err(Damaged);
        }
        let bytes = slice(self.bytes, at + 4, len.checked_mul(N).ok_or(Damaged)?)?;
        Ok((at + 4, bytes.as_chunks().0))
    }

    /// Returns a list of tables.
    pub(super) fn tables(&self, number: usize, most: usize) -> Result<Vec<Self>> {
        let (start, offsets) = self.vector::<4>(number, most)?;
        (0..offsets.len()).map(|i| Self::at(self.bytes, follow(self.bytes, start + 4 * i)?)).collect()
    }

    /// Returns a list of scalars.
    pub(super) fn numbers<T, const N: usize>(
        &self,
        number: usize,
        most: usize,
        read: fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        Ok(self.vector(number, most)?.1.iter().map(|&bytes| read(bytes)).collect())
    }

    /// Returns the bytes of a list of elements of `N` bytes each, without a copy.
    pub(super) fn bytes<const N: usize>(&self, number: usize) -> Result<&'a [u8]> {
        Ok(self.vector::<N>(number, usize::MAX)?.1.as_flattened())
    }
}
