//! Parts that are chosen by name and have settings of their own, as JSON has them: `{"name": "byol", "dim": 256, ...}`.
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A row of a table of such parts.
pub struct Row<T: ?Sized> {
    /// What it is chosen by.
    pub name: &'static str,
    /// Reads its own settings; given its name, as one reader may serve several rows.
    pub read: fn(&'static str, Value) -> Result<Box<T>>,
}

/// The part that these settings name; `what` is what errors call it.
///
/// # Errors
/// No name, one that is not in the table, or settings that are not that part's.
pub fn read<T: ?Sized>(what: &str, settings: &Value, rows: &[Row<T>]) -> Result<Box<T>> {
    let mut own = settings.clone();
    let name = own.as_object_mut().and_then(|own| own.remove("name"));
    let Some(Value::String(name)) = name else {
        return Err(Error::value(what, settings, "an object with a name and that part's own settings"));
    };
    let Some(row) = rows.iter().find(|row| row.name == name) else {
        let known = rows.iter().map(|row| format!("{:?}", row.name)).collect::<Vec<_>>().join(", ");
        return Err(Error::value(what, format!("{name:?}"), format!("there are {known}")));
    };
    (row.read)(row.name, own)
}

/// Settings of a part of this name; all of them, and no others.
///
/// # Errors
/// One is missing, unknown or of another type.
pub fn own<S: DeserializeOwned>(name: &str, settings: Value) -> Result<S> {
    serde_json::from_value(settings).map_err(|error| {
        let told = error.to_string();
        Error::value(format!("settings of {name}"), told, "give those of its own settings type, each once")
    })
}
