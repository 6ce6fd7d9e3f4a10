//! The values that a pickle makes, and the objects that hold values.
//!
//! Objects lie in one list and name each other by their place in it. So one that holds itself is nothing special, and none is so deep
//! that dropping it would take much of the stack.
use super::rebuild::Callable;
use super::strided::{Storage, Strided};

/// A value: small, and copied freely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A floating-point number, or an integer of more than 64 bits: no size of any tensor.
    Number,
    Text(&'a str),
    Callable(Callable),
    /// Its place in the list.
    Object(usize),
}

/// An object that values refer to.
#[derive(Debug)]
pub(super) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict {
        /// Whether it is a `collections.OrderedDict`, as a state dict is.
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
    /// A new object.
    pub(super) fn add(&mut self, object: Object<'a>) -> Value<'a> {
        self.0.push(object);
        Value::Object(self.0.len() - 1)
    }

    /// The object that a value refers to.
    pub(super) fn get(&self, value: Value) -> Option<&Object<'a>> {
        match value {
            Value::Object(n) => self.0.get(n),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, value: Value) -> Option<&mut Object<'a>> {
        match value {
            Value::Object(n) => self.0.get_mut(n),
            _ => None,
        }
    }

    /// The elements of a tuple or a list.
    pub(super) fn elements(&self, value: Value) -> Option<&[Value<'a>]> {
        match self.get(value)? {
            Object::Tuple(elements) | Object::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The items of a dict.
    pub(super) fn items(&self, value: Value) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.get(value)? {
            Object::Dict { items, .. } => Some(items),
            _ => None,
        }
    }

    /// Every storage that is named.
    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.0.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}
