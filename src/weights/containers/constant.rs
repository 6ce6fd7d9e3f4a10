//! The constants of a graph: their values as stored, and the conversion to float32.
//!
//! A quantized integer q represents `scale (q - zero)`, computed in float64 and rounded to float32.
use super::protobuf::varint;
use half::f16;

/// The type of stored values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
    I8,
    U8,
    I32,
    I64,
}

/// Values as stored in a file: little-endian, or as the varints of a protocol buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers<'a> {
    pub(super) element: Element,
    pub(super) bytes: &'a [u8],
    pub(super) varints: bool,
}

/// Quantization parameters: one scale and zero point for the tensor, or one for each index along an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantization<'a> {
    pub(super) scales: Numbers<'a>,
    /// The zero points; `None` if all are 0.
    pub(super) zeros: Option<Numbers<'a>>,
    pub(super) axis: usize,
}

/// A constant of a graph.
#[derive(Clone, Debug)]
pub(super) struct Constant<'a> {
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Numbers<'a>,
    pub(super) quantization: Option<Quantization<'a>>,
}

impl Element {
    /// Returns the size of a value in bytes.
    fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

impl Numbers<'_> {
    pub(super) fn is_integer(&self) -> bool {
        !matches!(self.element, Element::F32 | Element::F16)
    }

    /// Returns the number of values; `None` if the last value is truncated.
    fn count(&self) -> Option<usize> {
        let Self { element, bytes, varints } = *self;
        if varints {
            return bytes.last().is_none_or(|&byte| byte < 0x80).then(|| bytes.iter().filter(|&&b| b < 0x80).count());
        }
        bytes.len().is_multiple_of(element.size()).then_some(bytes.len() / element.size())
    }

    /// Calls `number` with each value, in order.
    fn each(&self, mut number: impl FnMut(f64)) {
        let Self { element, bytes, varints } = *self;
        let mut rest = if varints { bytes } else { &[] };
        while !rest.is_empty() {
            let Ok(n) = varint(&mut rest) else { return };
            number(if element == Element::F16 { half(n as u16) } else { n.cast_signed() as f64 });
        }
        match element {
            _ if varints => {}
            Element::F32 => bytes.as_chunks().0.iter().for_each(|&b| number(f32::from_le_bytes(b).into())),
            Element::F16 => bytes.as_chunks().0.iter().for_each(|&b| number(half(u16::from_le_bytes(b)))),
            Element::I8 => bytes.iter().for_each(|&b| number(b.cast_signed().into())),
            Element::U8 => bytes.iter().for_each(|&b| number(b.into())),
            Element::I32 => bytes.as_chunks().0.iter().for_each(|&b| number(i32::from_le_bytes(b).into())),
            Element::I64 => bytes.as_chunks().0.iter().for_each(|&b| number(i64::from_le_bytes(b) as f64)),
        }
    }

    /// Returns the values; `None` if there are more than `most`, or the last value is truncated.
    fn few(&self, most: usize) -> Option<Vec<f64>> {
        // A varint has at most 10 bytes.
        let few = self.bytes.len() <= most.saturating_mul(10) && self.count().is_some_and(|n| n <= most);
        let mut numbers = vec![];
        few.then(|| self.each(|x| numbers.push(x)))?;
        Some(numbers)
    }
}

fn half(bits: u16) -> f64 {
    f16::from_bits(bits).to_f64()
}

impl Quantization<'_> {
    /// Returns the range of a quantized tensor: the values that the smallest and the largest 8-bit integer represent. `None` if
    /// there is more than one scale.
    pub(super) fn range(&self, element: Element) -> Option<(f64, f64)> {
        let scales = self.scales.few(1)?;
        let zeros = self.zeros.map_or(Some(vec![]), |zeros| zeros.few(1))?;
        let (&[scale], zero) = (scales.as_slice(), zeros.first().copied().unwrap_or(0.0)) else { return None };
        let (low, high) = if element == Element::U8 { (0.0, 255.0) } else { (-128.0, 127.0) };
        Some((scale * (low - zero), scale * (high - zero)))
    }
}

impl Constant<'_> {
    /// Returns the number of bytes that the constant takes in the file.
    pub(super) fn size(&self) -> usize {
        self.numbers.bytes.len()
    }

    /// Returns the values if they are unquantized integers and there are at most `most` of them; `None` otherwise.
    pub(super) fn integers(&self, most: usize) -> Option<Vec<i64>> {
        let integers = self.numbers.is_integer() && self.quantization.is_none();
        let numbers = if integers { self.numbers.few(most) } else { None };
        numbers.map(|numbers| numbers.into_iter().map(|n| n as i64).collect())
    }

    /// Returns the values if they are floats and there are at most `most` of them; `None` otherwise.
    pub(super) fn floats(&self, most: usize) -> Option<Vec<f64>> {
        if self.numbers.is_integer() { None } else { self.numbers.few(most) }
    }

    /// Returns the number of values, after a check that this number matches the shape. The error states the reason for a
    /// failure.
    pub(super) fn count(&self) -> Result<usize, String> {
        let count = self.shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side));
        let count = count.filter(|&n| n > 0 && self.numbers.count() == Some(n));
        count.ok_or_else(|| format!("claims the shape {:?} for {} bytes", self.shape, self.size()))
    }

    /// Appends the values as float32 to `data`; the error states the reason for a failure.
    pub(super) fn read(&self, data: &mut Vec<f32>) -> Result<(), String> {
        match (self.numbers.is_integer(), &self.quantization) {
            (false, None) => self.numbers.each(|x| data.push(x as f32)),
            (true, Some(quantization)) => self.dequantize(quantization, data)?,
            (true, None) => return Err("has integers without a scale".into()),
            (false, Some(_)) => return Err("has a scale, but no integers".into()),
        }
        Ok(())
    }

    fn dequantize(&self, quantization: &Quantization, data: &mut Vec<f32>) -> Result<(), String> {
        let (axis, shape, most) = (quantization.axis, &self.shape, self.count()?);
        let misfit = || format!("has scales or zero points that do not match axis {axis} of its shape {shape:?}");
        let scales = quantization.scales.few(most).ok_or_else(misfit)?;
        let zeros = quantization.zeros.map_or(Some(vec![]), |zeros| zeros.few(most)).ok_or_else(misfit)?;
        let side = if scales.len() == 1 { 1 } else { shape.get(axis).copied().unwrap_or(0) };
        if scales.len() != side || !(zeros.is_empty() || zeros.len() == side) || side == 0 {
            return Err(misfit());
        }
        // Number of values per step along the axis.
        let inner: usize = if side == 1 { 1 } else { shape[axis + 1..].iter().product() };
        let mut i = 0;
        self.numbers.each(|q| {
            let channel = i / inner % side;
            data.push(((q - zeros.get(channel).copied().unwrap_or(0.0)) * scales[channel]) as f32);
            i += 1;
        });
        Ok(())
    }
}
