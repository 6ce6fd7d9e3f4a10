//! The values that a pickle creates, and the objects that consist of values.
//!
//! Objects are stored in one list and refer to each other by index. An object may therefore contain itself, and dropping deeply
//! nested objects does not overflow the stack.
use super::rebuild::Callable;
use super::strided::{Storage, Strided};

/// A value; small and cheap to copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A floating-point number, or an integer of more than 64 bits. Its value is not stored, because it is not needed for a
    /// tensor.
    Number,
    Text(&'a str),
    Callable(Callable),
    /// An object, by its index in the list.
    Object(usize),
}

/// An object that values refer to.
#[derive(Debug)]
pub(super) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict {
        /// True for a `collections.OrderedDict`, such as a state dict.
        ordered: bool,
        items: Vec<(Value<'a>, Value<'a>)>,
    },
    Storage(Storage<'a>),
    Tensor(Box<Strided<'a>>),
}

/// All objects of a pickle.
#[derive(Debug, Default)]
pub(super) struct Objects<'a>(Vec<Object<'a>>);

impl<'a> Objects<'a> {
    /// Adds an object, and returns a value that refers to it.
    pub(super) fn add(&mut self, object: Object<'a>) -> Value<'a> {
        self.0.push(object);
        Value::Object(self.0.len() - 1)
    }

    /// Returns the object that a value refers to.
    pub(super) fn get(&self, value: Value) -> Option<&Object<'a>> {
        match value {
            Value::Object(n) => self.0.get(n),
            _ => None,
        }
    }

    /// Returns the object that a value refers to, mutably.
    pub(super) fn get_mut(&mut self, value: Value) -> Option<&mut Object<'a>> {
        match value {
            Value::Object(n) => self.0.get_mut(n),
            _ => None,
        }
    }

    /// Returns the elements of a tuple or a list.
    pub(super) fn elements(&self, value: Value) -> Option<&[Value<'a>]> {
        match self.get(value)? {
            Object::Tuple(elements) | Object::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Returns the items of a dict.
    pub(super) fn items(&self, value: Value) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.get(value)? {
            Object::Dict { items, .. } => Some(items),
            _ => None,
        }
    }

    /// Returns every storage that is referenced.
    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.0.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}
