//! The few functions that the pickle of a state dict calls, and the results of the calls. All other functions are refused as
//! code.
//!
//! Source: torch/_utils.py, torch/serialization.py.
use super::strided::{ScalarType, Storage, Strided};
use super::value::{Object, Objects, Value};

type Result<T> = std::result::Result<T, String>;

/// Maximum length in bytes of a storage's key. torch's keys are shorter: the digits of an address or of a counter.
const MAX_KEY: usize = 64;

/// A supported global of a pickle: a function or a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callable {
    OrderedDict,
    /// `_rebuild_tensor_v2`
    TensorV2,
    /// `_rebuild_tensor`, of torch before 0.4
    TensorV1,
    /// `_rebuild_parameter`
    Parameter,
    /// A storage class, which only occurs in persistent ids.
    Storage(ScalarType),
}

impl Callable {
    /// Returns the global with this module and name.
    pub(super) fn find(module: &str, name: &str) -> Result<Self> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::TensorV2,
            ("torch._utils", "_rebuild_tensor") => Self::TensorV1,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("torch", name) if name.ends_with("Storage") => match ScalarType::of_storage(name) {
                Some(scalar) => Self::Storage(scalar),
                None => {
                    return Err(format!(
                        "holds values of torch.{name}, which is not supported; save the floating-point tensors alone"
                    ));
                }
            },
            _ => {
                return Err(format!(
                    "holds code ({module}.{name}); save it with torch.save(model.state_dict(), path), which holds \
                     tensors only"
                ));
            }
        })
    }

    /// Returns the result of a call.
    pub(super) fn call<'a>(self, arguments: &[Value<'a>], objects: &mut Objects<'a>) -> Result<Value<'a>> {
        match (self, arguments) {
            (Self::OrderedDict, []) => Ok(objects.add(Object::Dict { ordered: true, items: vec![] })),
            // The arguments after the strides are for autograd, and ignored.
            (Self::TensorV2, &[storage, offset, shape, stride, _, _])
            | (Self::TensorV1, &[storage, offset, shape, stride]) => {
                let Some(&Object::Storage(storage)) = objects.get(storage) else {
                    return Err("a tensor is built from something that is not a storage".into());
                };
                let (shape, stride) = (sizes(shape, objects)?, sizes(stride, objects)?);
                let tensor = Strided::new(storage, size(offset)?, shape, stride)?;
                Ok(objects.add(Object::Tensor(Box::new(tensor))))
            }
            (Self::Parameter, &[tensor, _, _]) if matches!(objects.get(tensor), Some(Object::Tensor(_))) => Ok(tensor),
            _ => Err(self.misfit(arguments.len())),
        }
    }
}

impl Callable {
    /// Returns the reason for refusing a call with this number of arguments.
    pub(super) fn misfit(self, arguments: usize) -> String {
        let name = match self {
            Self::OrderedDict => "collections.OrderedDict",
            Self::TensorV2 => "torch._utils._rebuild_tensor_v2",
            Self::TensorV1 => "torch._utils._rebuild_tensor",
            Self::Parameter => "torch._utils._rebuild_parameter",
            Self::Storage(_) => "a storage class",
        };
        format!(
            "its pickle calls {name} with {arguments} arguments, which are not those of a state dict; load it with \
             torch, and save it again with torch.save(model.state_dict(), path)"
        )
    }
}

/// Returns the storage that a persistent id refers to. The id is `("storage", class, key, location, count)`. In legacy files,
/// the id has one more element, a view into the storage: `None` or `(key, offset, size)`.
pub(super) fn storage<'a>(id: Value, objects: &Objects<'a>) -> Result<Storage<'a>> {
    let id = objects.elements(id).unwrap_or_default();
    if let [Value::Text(kind), ..] = id
        && *kind != "storage"
    {
        return Err(format!(
            "holds code (a {kind:.32} and its source); save it with torch.save(model.state_dict(), path), which holds \
             tensors only"
        ));
    }
    let (class, key, count, view) = match *id {
        [_, class, Value::Text(key), _, count] => (class, key, count, Value::None),
        [_, class, Value::Text(key), _, count, view] => (class, key, count, view),
        _ => return Err("a storage has no class, key and size; it is damaged".into()),
    };
    let Value::Callable(Callable::Storage(scalar)) = class else {
        return Err("a storage has something that is not a storage class; it is damaged".into());
    };
    if key.len() > MAX_KEY {
        return Err(format!("a storage has a key of {} bytes; it is damaged", key.len()));
    }
    let count = size(count)?;
    let (from, len) = match (view, objects.elements(view)) {
        (Value::None, _) => (0, count),
        (_, Some(&[_, from, len])) => (size(from)?, size(len)?),
        _ => return Err(format!("the view of storage {key:?} is invalid; it is damaged")),
    };
    match from.checked_add(len).is_some_and(|end| end <= count) {
        true => Ok(Storage { key, scalar, count, from, len }),
        false => Err(format!("a view of {len} values from {from} ends beyond storage {key:?} of {count}")),
    }
}

/// Reads a size, an offset or a stride, which cannot be negative.
fn size(value: Value) -> Result<usize> {
    match value {
        Value::Int(n) => usize::try_from(n).map_err(|_| format!("a size or a stride is {n}; it is damaged")),
        _ => Err("a size or a stride is not an integer; it is damaged".into()),
    }
}

fn sizes(value: Value, objects: &Objects) -> Result<Vec<usize>> {
    let elements = objects.elements(value).ok_or("a tensor's shape or its strides are not a tuple; it is damaged")?;
    // The length is checked before the copy, because one long tuple may be referenced by many tensors.
    match elements.len() {
        0..=64 => elements.iter().map(|&element| size(element)).collect(),
        n => Err(format!("a tensor has {n} axes; it is damaged")),
    }
}
