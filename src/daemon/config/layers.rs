//! Takes each setting from the first layer that has it, and remembers which that was.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::ConfigError;
use super::file::OneOrMore;
use crate::control::views::Setting;

/// The settings taken so far.
pub(super) struct Layers<'a> {
    flag_origin: &'a dyn Fn(&str) -> &'static str,
    settings: Vec<Setting>,
}

impl<'a> Layers<'a> {
    /// `flag_origin` tells the flags of the command line from those of the environment.
    pub fn new(flag_origin: &'a dyn Fn(&str) -> &'static str) -> Layers<'a> {
        Layers { flag_origin, settings: Vec::new() }
    }

    /// Every setting with its origin.
    pub fn into_settings(self) -> Vec<Setting> {
        self.settings
    }

    fn first<T>(&self, key: &str, flag: Option<T>, file: Option<T>) -> (Option<T>, &'static str) {
        match (flag, file) {
            (Some(flag), _) => (Some(flag), (self.flag_origin)(flag_name(key))),
            (None, Some(file)) => (Some(file), "file"),
            (None, None) => (None, "default"),
        }
    }

    fn note(&mut self, key: &str, value: impl Serialize, origin: &str) {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.settings.push(Setting { key: key.to_owned(), value, origin: origin.to_owned() });
    }

    /// A setting that is good as it is.
    pub fn value<T: Serialize>(
        &mut self,
        key: &str,
        flag: Option<T>,
        file: Option<T>,
        default: impl FnOnce() -> T,
    ) -> T {
        let (value, origin) = self.first(key, flag, file);
        let value = value.unwrap_or_else(default);
        self.note(key, &value, origin);
        value
    }

    /// A path.
    pub fn path(
        &mut self,
        key: &str,
        flag: Option<PathBuf>,
        file: Option<PathBuf>,
        default: impl FnOnce() -> PathBuf,
    ) -> PathBuf {
        self.value(key, flag, file, default)
    }

    /// A setting that must pass a check.
    pub fn checked<T: Serialize + Display>(
        &mut self,
        key: &'static str,
        flag: Option<T>,
        file: Option<T>,
        default: impl FnOnce() -> T,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> Result<T, ConfigError> {
        let (_, origin) = self.first(key, flag.as_ref(), file.as_ref());
        let value = self.value(key, flag, file, default);
        match check(&value) {
            Ok(()) => Ok(value),
            Err(message) => Err(ConfigError::Value { key, value: value.to_string(), origin, message }),
        }
    }

    /// A setting with a text form, which may be absent.
    pub fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        flag: Option<String>,
        file: Option<String>,
    ) -> Result<Option<T>, ConfigError> {
        let (text, origin) = self.first(key, flag, file);
        self.note(key, &text, origin);
        let Some(text) = text else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(ConfigError::Value { key, value: text, origin, message: error.to_string() }),
        }
    }

    /// A list of settings with a text form, at most `most`; one alone is shown as such.
    pub fn list<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        flags: &[String],
        file: Option<OneOrMore>,
        most: usize,
    ) -> Result<Vec<T>, ConfigError> {
        let flags = (!flags.is_empty()).then(|| flags.to_vec());
        let (texts, origin) = self.first(key, flags, file.map(OneOrMore::into_vec));
        let texts = texts.unwrap_or_default();
        match texts.as_slice() {
            [] => self.note(key, Value::Null, origin),
            [one] => self.note(key, one, origin),
            more => self.note(key, more, origin),
        }
        let wrong = |value: &str, message: String| ConfigError::Value { key, value: value.to_owned(), origin, message };
        if let Some(surplus) = texts.get(most) {
            return Err(wrong(surplus, format!("at most {most} are used")));
        }
        texts.iter().map(|text| text.parse().map_err(|error: T::Err| wrong(text, error.to_string()))).collect()
    }

    /// A setting that may hold a password: it is shown as its own text form shows it, and not at all where it is wrong.
    pub fn secret<T: FromStr<Err: Display> + Display>(
        &mut self,
        key: &'static str,
        flag: Option<String>,
        file: Option<String>,
    ) -> Result<Option<T>, ConfigError> {
        let (text, origin) = self.first(key, flag, file);
        let parsed = text.map(|text| text.parse::<T>()).transpose().map_err(|error| ConfigError::Value {
            key,
            value: "(not shown)".to_owned(),
            origin,
            message: error.to_string(),
        })?;
        self.note(key, parsed.as_ref().map(T::to_string), origin);
        Ok(parsed)
    }
}

/// The flag that sets a key of the file.
fn flag_name(key: &str) -> &str {
    match key {
        "rendezvous.url" => "rendezvous",
        "rendezvous.embedded.advertise" => "advertise",
        "firewall" => "no_firewall",
        "port_mapping" => "no_port_mapping",
        other => other,
    }
}
