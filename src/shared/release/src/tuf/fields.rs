//! Reading the members of an object, with errors that say where.

use std::str::FromStr;

use super::clock::Time;
use super::error::{Error, Role};
use super::json::{Json, Object};

/// An object of a role's metadata, and its place in there for messages.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'j> {
    pub role: &'j Role,
    pub place: &'j str,
    pub object: &'j Object,
}

impl<'j> Fields<'j> {
    pub fn of(role: &'j Role, place: &'j str, json: &'j Json) -> Result<Fields<'j>, Error> {
        let object = json.object().ok_or_else(|| Error::field(role, place, "is not an object"))?;
        Ok(Fields { role, place, object })
    }

    pub fn error(&self, name: &str, why: &str) -> Error {
        Error::field(self.role, format!("{} of {}", name, self.place), why)
    }

    fn required<T>(&self, name: &str, what: &str, read: impl Fn(&'j Json) -> Option<T>) -> Result<T, Error> {
        let value = self.object.get(name).ok_or_else(|| self.error(name, "is missing"))?;
        read(value).ok_or_else(|| self.error(name, &format!("is not {what}")))
    }

    pub fn json(&self, name: &str) -> Result<&'j Json, Error> {
        self.required(name, "there", Some)
    }

    pub fn text(&self, name: &str) -> Result<&'j str, Error> {
        self.required(name, "a text", Json::text)
    }

    pub fn list(&self, name: &str) -> Result<&'j [Json], Error> {
        self.required(name, "a list", Json::list)
    }

    pub fn object(&self, name: &str) -> Result<&'j Object, Error> {
        self.required(name, "an object", Json::object)
    }

    pub fn bool(&self, name: &str) -> Result<bool, Error> {
        self.required(name, "true or false", |value| match value {
            Json::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// A whole number from 1.
    pub fn positive(&self, name: &str) -> Result<u64, Error> {
        self.required(name, "a whole number from 1", |v| v.number().and_then(|n| u64::try_from(n).ok()))
            .and_then(|n| if n > 0 { Ok(n) } else { Err(self.error(name, "is not a whole number from 1")) })
    }

    /// A whole number from 0.
    pub fn count(&self, name: &str) -> Result<u64, Error> {
        self.required(name, "a whole number from 0", |v| v.number().and_then(|n| u64::try_from(n).ok()))
    }

    pub fn time(&self, name: &str) -> Result<Time, Error> {
        let text = self.text(name)?;
        Time::from_str(text).map_err(|_| self.error(name, "is no time of the form 2026-11-26T01:17:17Z"))
    }

    /// `read` of the member, if there is one.
    pub fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.object.contains_key(name) { read(self, name).map(Some) } else { Ok(None) }
    }
}
