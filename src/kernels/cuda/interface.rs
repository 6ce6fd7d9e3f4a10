//! The interface between Rust and kernels: structs and enums. They are defined only in Rust; the definitions for the kernels'
//! compiler are generated. A kernel does not compile if it uses an unknown field or constant, or a field of the wrong type.
use super::{At, Space};
use bytemuck::{Pod, Zeroable};
use std::fmt::{Debug, Write};
use std::marker::PhantomData;

/// A plain struct with the same field names and layout in kernels. Its fields may be addresses ([`In`], [`Out`]); the fields of
/// a nested struct may not.
pub trait DeviceStruct: Pod + Debug {
    /// Name of the struct in kernels.
    const NAME: &'static str;
    /// Name and accessor of each field, in order.
    const FIELDS: &'static [Field<Self>];

    /// Generates the definition for the kernels' compiler.
    fn definition() -> String {
        debug_assert!(is_complete(Self::FIELDS), "{}: fields other than the struct's", Self::NAME);
        let zeroed = Self::zeroed();
        let mut text = format!("struct {} {{\n", Self::NAME);
        for (name, get) in Self::FIELDS {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "    {};", get(&zeroed).declare(name));
        }
        let (name, size) = (Self::NAME, size_of::<Self>());
        text + &format!("}};\nstatic_assert(sizeof({name}) == {size}, \"as in Rust\");\n")
    }
}

/// Name and accessor of a struct's field.
pub type Field<S> = (&'static str, fn(&S) -> &dyn DeviceValue);

/// A type that can be a field of a [`DeviceStruct`].
pub trait DeviceValue {
    /// The field's declaration in C++.
    fn declare(&self, name: &str) -> String;

    /// The position in a memory region that this field points to; `None` if the field is not an address.
    fn place(&self) -> Option<At> {
        None
    }
}

impl DeviceValue for i32 {
    fn declare(&self, name: &str) -> String {
        format!("int {name}")
    }
}

impl DeviceValue for u32 {
    fn declare(&self, name: &str) -> String {
        format!("unsigned int {name}")
    }
}

impl DeviceValue for i64 {
    fn declare(&self, name: &str) -> String {
        format!("long long {name}")
    }
}

impl DeviceValue for f32 {
    fn declare(&self, name: &str) -> String {
        format!("float {name}")
    }
}

impl<T: DeviceValue, const N: usize> DeviceValue for [T; N] {
    fn declare(&self, name: &str) -> String {
        self[0].declare(&format!("{name}[{N}]"))
    }
}

impl<S: DeviceStruct> DeviceValue for S {
    fn declare(&self, name: &str) -> String {
        format!("{} {name}", S::NAME)
    }
}

/// A type that an address can point to.
pub trait Pointee: Pod + Debug {
    /// Name of the type in kernels.
    const NAME: &'static str;
}

impl Pointee for f32 {
    const NAME: &'static str = "float";
}

impl Pointee for i32 {
    const NAME: &'static str = "int";
}

/// An element of a feature map: float16 or float32, depending on how the kernel is compiled.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
pub struct MapValue;

impl Pointee for MapValue {
    const NAME: &'static str = "Number";
}

/// A colour value of the user's images, of any type in [`super::PixelType`].
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
pub struct AnyPixel;

impl Pointee for AnyPixel {
    const NAME: &'static str = "void";
}

/// Address of memory that a kernel reads, or null. Before the launch, it is an encoded [`At`]; the launch replaces it with the
/// device address.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(transparent)]
pub struct In<T>(u64, PhantomData<T>);

/// Address of memory that a kernel writes, or null; see [`In`].
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(transparent)]
pub struct Out<T>(u64, PhantomData<T>);

impl<T: Pointee> DeviceValue for In<T> {
    fn declare(&self, name: &str) -> String {
        format!("const {}* {name}", T::NAME)
    }

    fn place(&self) -> Option<At> {
        decode(self.0)
    }
}

impl<T: Pointee> DeviceValue for Out<T> {
    fn declare(&self, name: &str) -> String {
        format!("{}* {name}", T::NAME)
    }

    fn place(&self) -> Option<At> {
        decode(self.0)
    }
}

impl<T: Pointee> From<Option<At>> for In<T> {
    fn from(at: Option<At>) -> Self {
        Self(at.map_or(0, encode), PhantomData)
    }
}

impl<T: Pointee> From<At> for In<T> {
    fn from(at: At) -> Self {
        Some(at).into()
    }
}

impl<T: Pointee> From<Option<At>> for Out<T> {
    fn from(at: Option<At>) -> Self {
        Self(at.map_or(0, encode), PhantomData)
    }
}

impl<T: Pointee> From<At> for Out<T> {
    fn from(at: At) -> Self {
        Some(at).into()
    }
}

/// Number of low bits of an encoded position, which hold the byte offset. The bits above them hold the index of the memory
/// region, counted from 1.
const BYTES: u32 = 56;

fn encode(at: At) -> u64 {
    let space = 1 + at.space as u64;
    debug_assert!(at.bytes >> BYTES == 0);
    space << BYTES | at.bytes as u64
}

fn decode(code: u64) -> Option<At> {
    let space = (code >> BYTES).checked_sub(1)?;
    Some(At { space: Space::ALL[space as usize], bytes: (code & ((1 << BYTES) - 1)) as usize })
}

/// A struct that is passed to a kernel by value, and the positions of all addresses in the struct.
#[derive(Clone, Debug, PartialEq)]
pub struct StructArg {
    /// Bytes of the struct as 8-byte words, the last one padded.
    words: Vec<u64>,
    bytes: usize,
    /// Index of each word that is an address, and the position that the word points to.
    places: Vec<(usize, At)>,
}

impl StructArg {
    /// Copies a struct and collects its addresses.
    pub fn new<S: DeviceStruct>(of: &S) -> Self {
        let mut words = vec![0u64; size_of::<S>().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..size_of::<S>()].copy_from_slice(bytemuck::bytes_of(of));
        let place = |(_, get): &Field<S>| Some((offset(of, get(of)) / 8, get(of).place()?));
        Self { words, bytes: size_of::<S>(), places: S::FIELDS.iter().filter_map(place).collect() }
    }

    /// Size of the struct in bytes.
    pub fn size(&self) -> usize {
        self.bytes
    }

    /// Returns the struct's bytes as 8-byte words. Each position is replaced by the device address that `address` returns for
    /// it.
    pub fn placed(&self, mut address: impl FnMut(At) -> u64) -> Vec<u64> {
        let mut words = self.words.clone();
        for &(word, at) in &self.places {
            words[word] = address(at);
        }
        words
    }
}

/// Offset of a field in its struct, in bytes.
fn offset<S>(of: &S, field: &dyn DeviceValue) -> usize {
    std::ptr::from_ref(field).addr() - std::ptr::from_ref(of).addr()
}

/// Returns whether the table of fields is complete, with the right names in the right order.
fn is_complete<S: Zeroable + Debug>(fields: &[Field<S>]) -> bool {
    let zeroed = S::zeroed();
    let mut end = 0;
    let in_order = fields.iter().all(|(_, get)| {
        let field = get(&zeroed);
        let begin = offset(&zeroed, field);
        begin == std::mem::replace(&mut end, begin + size_of_val(field))
    });
    // The field names that `Debug` prints: those of the struct itself are indented by four columns.
    let shown = format!("{zeroed:#?}");
    let own = shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    let names = own.map(|(name, _)| name).filter(|name| !name.starts_with(' '));
    in_order && end == size_of::<S>() && names.eq(fields.iter().map(|(name, _)| *name))
}

/// An enum whose variants kernels know by name.
pub trait DeviceEnum: Copy + PartialEq + 'static {
    /// Each variant with its name in kernels. The index in this table is the numeric value of the variant.
    const NAMES: &'static [(Self, &'static str)];

    /// Numeric value of the variant.
    fn code(self) -> usize {
        Self::NAMES.iter().position(|&(variant, _)| variant == self).expect("every variant has a name")
    }

    /// Generates the definitions of the names for the kernels' compiler.
    fn definition() -> String {
        Self::NAMES.iter().enumerate().map(|(code, (_, name))| format!("#define {name} {code}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{AnyPixel, DeviceEnum, DeviceStruct, Field, In, MapValue, Out, StructArg, is_complete};
    use crate::kernels::cuda::{At, Space};
    use bytemuck::{Pod, Zeroable};

    #[derive(Clone, Copy, Debug, Zeroable, Pod)]
    #[repr(C)]
    struct Inner {
        steps: [i64; 2],
    }

    impl DeviceStruct for Inner {
        const NAME: &'static str = "Inner";
        const FIELDS: &'static [Field<Self>] = &[("steps", |own| &own.steps)];
    }

    #[derive(Clone, Copy, Debug, Zeroable, Pod)]
    #[repr(C)]
    struct Outer {
        x: In<MapValue>,
        none: In<AnyPixel>,
        inner: Inner,
        y: Out<f32>,
        n: i32,
        by: f32,
    }

    const FIELDS: [Field<Outer>; 6] = [
        ("x", |own| &own.x),
        ("none", |own| &own.none),
        ("inner", |own| &own.inner),
        ("y", |own| &own.y),
        ("n", |own| &own.n),
        ("by", |own| &own.by),
    ];

    impl DeviceStruct for Outer {
        const NAME: &'static str = "Outer";
        const FIELDS: &'static [Field<Self>] = &FIELDS;
    }

    #[test]
    fn a_struct_is_written_as_rust_has_it() {
        let written = "struct Outer {\n    const Number* x;\n    const void* none;\n    Inner inner;\n    float* y;\n    int n;\n    \
                       float by;\n};\nstatic_assert(sizeof(Outer) == 48, \"as in Rust\");\n";
        assert_eq!(Outer::definition(), written);
        assert!(Inner::definition().contains("long long steps[2];"));
    }

    #[test]
    fn a_table_that_is_not_the_structs_is_found() {
        assert!(is_complete::<Outer>(&FIELDS) && is_complete(Inner::FIELDS));
        let renamed: Vec<_> = FIELDS.iter().map(|&(name, get)| (if name == "n" { "m" } else { name }, get)).collect();
        let [mut swapped, mut crossed] = [FIELDS; 2];
        swapped.swap(4, 5);
        (crossed[4].0, crossed[5].0) = ("by", "n");
        for wrong in [&renamed[..], &swapped, &crossed, &FIELDS[..5], &FIELDS[1..]] {
            assert!(!is_complete(wrong), "{:?}", wrong.iter().map(|(name, _)| name).collect::<Vec<_>>());
        }
    }

    #[test]
    fn places_become_addresses_at_the_launch() {
        let at = |space, bytes| At { space, bytes };
        let outer = Outer {
            x: at(Space::Weights, 256).into(),
            none: None.into(),
            inner: Inner { steps: [3, -4] },
            y: at(Space::Styles, 1 << 40).into(),
            n: 5,
            by: 0.5,
        };
        let mut asked = vec![];
        let arg = StructArg::new(&outer);
        let words = arg.placed(|at| {
            asked.push(at);
            1000 + asked.len() as u64
        });
        assert_eq!(asked, [at(Space::Weights, 256), at(Space::Styles, 1 << 40)]);
        assert_eq!(words, [1001, 0, 3, (-4i64).cast_unsigned(), 1002, 5 | u64::from(0.5f32.to_bits()) << 32]);
        assert_eq!(arg.size(), 48);
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Colour {
        Red,
        Green,
    }

    impl DeviceEnum for Colour {
        const NAMES: &'static [(Self, &'static str)] = &[(Self::Red, "RED"), (Self::Green, "GREEN")];
    }

    #[test]
    fn an_enum_is_numbered_in_one_place() {
        assert_eq!((Colour::Red.code(), Colour::Green.code()), (0, 1));
        assert_eq!(Colour::definition(), "#define RED 0\n#define GREEN 1\n");
    }
}
