//! Components selected by name, with their own settings in JSON: `{"name": "byol", "dim": 256, ...}`.
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An entry in a table of the components that can be selected by name.
pub struct Row<T: ?Sized> {
    /// The name of the component.
    pub name: &'static str,
    /// Creates the component from its name and settings. The name is passed because one function may serve several entries.
    pub read: fn(&'static str, Value) -> Result<Box<T>>,
}

/// Creates the component named in the settings. `what` is the word for the component in errors, e.g. "method".
///
/// # Errors
/// The name is missing or not in the table, or the settings are invalid for the component.
pub fn read<T: ?Sized>(what: &str, settings: &Value, rows: &[Row<T>]) -> Result<Box<T>> {
    let mut own = settings.clone();
    let name = own.as_object_mut().and_then(|own| own.remove("name"));
    let Some(Value::String(name)) = name else {
        return Err(Error::value(what, settings, "must be an object with a name and the settings of that component"));
    };
    let Some(row) = rows.iter().find(|row| row.name == name) else {
        let known = rows.iter().map(|row| format!("{:?}", row.name)).collect::<Vec<_>>().join(", ");
        return Err(Error::value(what, format!("{name:?}"), format!("must be one of {known}")));
    };
    (row.read)(row.name, own)
}

/// Parses the settings of the component `name`. The type `S` defines the required fields, and refuses unknown fields (by
/// serde's `deny_unknown_fields`).
///
/// # Errors
/// A required field is missing, or a field is unknown or of the wrong type.
pub fn own<S: DeserializeOwned>(name: &str, settings: Value) -> Result<S> {
    serde_json::from_value(settings).map_err(|error| {
        let told = error.to_string();
        Error::invalid(format!("settings of {name} are invalid: {told}; give each of its fields exactly once"))
    })
}
