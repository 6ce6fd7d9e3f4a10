//! Flatbuffers, as far as TFLite needs them: tables, vectors, strings and numbers, every offset checked.
//!
//! <https://flatbuffers.dev/internals/>. A reader that meets an offset outside the file gives `None`, and nothing is
//! allocated beyond what the file itself holds.

/// A table: numbers and offsets by field number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A vector of elements of one size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vector<'a> {
    bytes: &'a [u8],
    at: usize,
    len: usize,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    array(bytes, at).map(|b| u32::from_le_bytes(b) as usize)
}

impl<'a> Table<'a> {
    /// The root table of a file with this identifier.
    pub(super) fn root(bytes: &'a [u8], identifier: &[u8; 4]) -> Option<Self> {
        let found: [u8; 4] = array(bytes, 4)?;
        (found == *identifier).then_some(())?;
        Self::at(bytes, u32_at(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Option<Self> {
        u32_at(bytes, at)?;
        Some(Self { bytes, at })
    }

    /// Where a field stands; `None` if the table leaves it at its default, or is damaged.
    fn field(&self, number: usize) -> Option<usize> {
        let back = i32::from_le_bytes(array(self.bytes, self.at)?);
        let vtable = usize::try_from(self.at as i64 - i64::from(back)).ok()?;
        let size = usize::from(u16::from_le_bytes(array(self.bytes, vtable)?));
        let slot = 4 + 2 * number;
        if slot + 2 > size {
            return None;
        }
        match u16::from_le_bytes(array(self.bytes, vtable.checked_add(slot)?)?) {
            0 => None,
            offset => self.at.checked_add(usize::from(offset)),
        }
    }

    pub(super) fn i8(&self, number: usize) -> i8 {
        self.field(number).and_then(|at| array(self.bytes, at)).map_or(0, i8::from_le_bytes)
    }

    pub(super) fn i32(&self, number: usize) -> i32 {
        self.field(number).and_then(|at| array(self.bytes, at)).map_or(0, i32::from_le_bytes)
    }

    pub(super) fn table(&self, number: usize) -> Option<Self> {
        let at = self.field(number)?;
        Self::at(self.bytes, at.checked_add(u32_at(self.bytes, at)?)?)
    }

    /// A vector of elements of `size` bytes.
    pub(super) fn vector(&self, number: usize, size: usize) -> Option<Vector<'a>> {
        let field = self.field(number)?;
        let at = field.checked_add(u32_at(self.bytes, field)?)?;
        let len = u32_at(self.bytes, at)?;
        let at = at + 4;
        self.bytes.get(at..at.checked_add(len.checked_mul(size)?)?)?;
        Some(Vector { bytes: self.bytes, at, len })
    }

    pub(super) fn tables(&self, number: usize) -> Option<Vec<Self>> {
        let vector = self.vector(number, 4)?;
        (0..vector.len)
            .map(|i| {
                let at = vector.at + 4 * i;
                Self::at(self.bytes, at.checked_add(u32_at(self.bytes, at)?)?)
            })
            .collect()
    }

    pub(super) fn i32s(&self, number: usize) -> Vec<i32> {
        self.numbers(number, i32::from_le_bytes)
    }

    pub(super) fn i64s(&self, number: usize) -> Vec<i64> {
        self.numbers(number, i64::from_le_bytes)
    }

    pub(super) fn f32s(&self, number: usize) -> Vec<f32> {
        self.numbers(number, f32::from_le_bytes)
    }

    fn numbers<T, const N: usize>(&self, number: usize, read: fn([u8; N]) -> T) -> Vec<T> {
        let bytes = self.vector(number, N).and_then(|v| self.bytes.get(v.at..v.at + N * v.len)).unwrap_or_default();
        bytes.as_chunks::<N>().0.iter().map(|&bytes| read(bytes)).collect()
    }

    pub(super) fn u8s(&self, number: usize) -> &'a [u8] {
        self.vector(number, 1).and_then(|v| v.bytes.get(v.at..v.at + v.len)).unwrap_or_default()
    }
}
