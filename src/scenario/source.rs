//! A scenario's text with positions: every fault names file, line and column, what was expected, and the nearest word.

use std::{collections::BTreeMap, fmt, time::Duration};

use thiserror::Error;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::base::suggest;

/// What is wrong with a scenario file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Fault {
    /// Path as it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What was found, what was expected, and the nearest right word.
    pub message: String,
}

/// A value with the byte at which it stands. Two are equal when their values are.
#[derive(Clone, Debug, Default)]
pub struct Spot<T> {
    /// The value.
    pub value: T,
    /// Byte offset in the file.
    pub at: usize,
}

impl<T: PartialEq> PartialEq for Spot<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: fmt::Display> fmt::Display for Spot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> Spot<T> {
    /// A value at a byte.
    pub fn new(value: T, at: usize) -> Self {
        Self { value, at }
    }

    /// Another value at the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spot<U> {
        Spot { value: change(self.value), at: self.at }
    }
}

/// A fault whose line is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Byte offset.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// A problem at a byte.
    pub fn at(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// The fault in the file called `file` with this text.
    pub fn in_file(self, file: &str, text: &str) -> Fault {
        let place = self.at.min(text.len());
        let before = text.get(..place).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Fault {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: self.message,
        }
    }
}

/// "`word` is not a KIND; did you mean `near`?", or else all the words there are.
pub fn unknown<'a>(kind: &str, word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match suggest::nearest(word, known.clone()) {
        Some(near) => format!("`{word}` is not {kind}; did you mean `{near}`?"),
        None => {
            let all: Vec<&str> = known.into_iter().collect();
            match all.is_empty() {
                true => format!("`{word}` is not {kind}; there are none here"),
                false => format!("`{word}` is not {kind}; expected one of: {}", all.join(", ")),
            }
        }
    }
}

/// Most dots of a line without quotes: many more than any name of a setting has.
const DOTS_MAX: usize = 100;

/// A TOML value with its place.
pub type Value<'a> = Spanned<DeValue<'a>>;

/// The keys that a table may have.
#[derive(Debug)]
pub struct Keys {
    /// What the table is called, for messages and for the documentation.
    pub table: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
}

/// One table with its keys, none of which is unknown.
pub struct Table<'a> {
    known: &'static Keys,
    at: usize,
    entries: BTreeMap<String, (usize, Value<'a>)>,
}

impl<'a> Table<'a> {
    /// Parses a whole file.
    ///
    /// # Errors
    /// It is not TOML, or has a key that is not `known`.
    pub fn parse(known: &'static Keys, text: &'a str) -> Result<Self, Problem> {
        // Keys of more dots than this are no keys, and tables as deep as that would be more than a stack can hold.
        if let Some(line) = text.lines().find(|line| line.matches('.').count() > DOTS_MAX && !line.contains('"')) {
            let at = line.as_ptr() as usize - text.as_ptr() as usize;
            return Err(Problem::at(at, format!("expected at most {DOTS_MAX} dots in a line without quotes")));
        }
        let parsed = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let message = match (error.message().trim(), text.get(span.clone())) {
                ("duplicate key", Some(key)) if text[..span.start].ends_with('[') => {
                    format!("the table `{key}` is here twice; where there may be several, write [[step]]")
                }
                ("duplicate key", Some(key)) => format!("`{key}` is here twice"),
                (other, _) => other.replace('\n', ", "),
            };
            Problem::at(span.start, message)
        })?;
        Self::of(known, 0, parsed.into_inner())
    }

    fn of(known: &'static Keys, at: usize, table: DeTable<'a>) -> Result<Self, Problem> {
        let entries = table.into_iter().map(|(key, value)| (key.get_ref().to_string(), (key.span().start, value)));
        let entries: BTreeMap<String, (usize, Value<'a>)> = entries.collect();
        let stray = |(key, _): &(&String, &(usize, Value<'a>))| !known.keys.contains(&key.as_str());
        match entries.iter().filter(stray).min_by_key(|(_, (at, _))| *at) {
            None => Ok(Self { known, at, entries }),
            Some((key, (at, _))) => {
                let kind = format!("a key of {}", known.table);
                Err(Problem::at(*at, unknown(&kind, key, known.keys.iter().copied())))
            }
        }
    }

    /// The table that `value` is.
    ///
    /// # Errors
    /// It is something else, or has a key that is not `known`.
    pub fn from_value(known: &'static Keys, value: Value<'a>) -> Result<Self, Problem> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => Self::of(known, at, table),
            other => Err(expected(&format!("a table ({})", known.table), &other, at)),
        }
    }

    /// Where the table begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Takes the value of `key`.
    pub fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        assert!(self.known.keys.contains(&key), "{key} is not in the table of keys");
        self.entries.remove(key).map(|(_, value)| value)
    }

    /// Takes the value of `key`.
    ///
    /// # Errors
    /// It is missing.
    pub fn need(&mut self, key: &'static str) -> Result<Value<'a>, Problem> {
        let missing = Problem::at(self.at, format!("`{key}` is missing in {}", self.known.table));
        self.take(key).ok_or(missing)
    }

    /// Takes a text.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&mut self, key: &'static str) -> Result<Option<Spot<String>>, Problem> {
        self.take(key).map(text).transpose()
    }

    /// Takes a number that is not negative.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&mut self, key: &'static str) -> Result<Option<Spot<u64>>, Problem> {
        self.take(key).map(number).transpose()
    }

    /// Takes `true` or `false`.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Problem> {
        let flag = |value: Value<'a>| match value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            other => Err(expected("true or false", other, value.span().start)),
        };
        self.take(key).map(flag).transpose()
    }

    /// Takes a duration, as "300ms" or "5s".
    ///
    /// # Errors
    /// It is something else.
    pub fn duration(&mut self, key: &'static str) -> Result<Option<Spot<Duration>>, Problem> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::String(_) => text(value)?,
            other => return Err(expected("a time as \"300ms\", \"5s\" or \"2m\"", other, value.span().start)),
        };
        let parsed = duration(&text.value).map_err(|message| Problem::at(text.at, message))?;
        Ok(Some(Spot::new(parsed, text.at)))
    }

    /// Takes a list.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&mut self, key: &'static str) -> Result<Vec<Value<'a>>, Problem> {
        self.take(key).map_or(Ok(Vec::new()), list)
    }

    /// Takes a list of tables.
    ///
    /// # Errors
    /// It is something else, or one has a key that is not `known`.
    pub fn tables(&mut self, key: &'static str, known: &'static Keys) -> Result<Vec<Self>, Problem> {
        let value = match self.take(key) {
            Some(value) if value.get_ref().is_table() => {
                let message = format!("`{key}` may be there several times: write [[{key}]]");
                return Err(Problem::at(value.span().start, message));
            }
            Some(value) => list(value)?,
            None => Vec::new(),
        };
        value.into_iter().map(|value| Self::from_value(known, value)).collect()
    }
}

/// The entries of a table whose keys are names, with their places.
///
/// # Errors
/// `value` is no table.
pub fn entries<'a>(
    what: &str,
    value: Value<'a>,
) -> Result<impl Iterator<Item = (Spot<String>, Value<'a>)> + use<'a>, Problem> {
    let at = value.span().start;
    match value.into_inner() {
        DeValue::Table(table) => {
            Ok(table.into_iter().map(|(key, value)| (Spot::new(key.get_ref().to_string(), key.span().start), value)))
        }
        other => Err(expected(&format!("a table ({what})"), &other, at)),
    }
}

/// What was expected and what stands there.
pub fn expected(what: &str, found: &DeValue<'_>, at: usize) -> Problem {
    let found = match found {
        DeValue::String(text) => format!("`{text}`"),
        DeValue::Integer(number) => format!("`{}`", number.as_str()),
        DeValue::Float(number) => format!("`{}`", number.as_str()),
        DeValue::Boolean(flag) => format!("`{flag}`"),
        DeValue::Array(_) => "a list".to_owned(),
        other => format!("a {}", other.type_str()),
    };
    Problem::at(at, format!("expected {what}, found {found}"))
}

/// The text that `value` is; its place is that of its first character.
///
/// # Errors
/// It is something else.
pub fn text(value: Value<'_>) -> Result<Spot<String>, Problem> {
    let at = value.span().start;
    match value.get_ref() {
        DeValue::String(text) => {
            // Three quotes, with or without an end of line that does not count; else one.
            let opening = match value.span().len().saturating_sub(text.len()) {
                6 => 3,
                7 => 4,
                _ => 1,
            };
            Ok(Spot::new(text.to_string(), at + opening))
        }
        other => Err(expected("a text in quotes", other, at)),
    }
}

/// The number that `value` is.
///
/// # Errors
/// It is something else.
pub fn number(value: Value<'_>) -> Result<Spot<u64>, Problem> {
    let at = value.span().start;
    let parsed = match value.get_ref() {
        DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
        _ => None,
    };
    parsed.map(|number| Spot::new(number, at)).ok_or_else(|| expected("a number, 0 or more", value.get_ref(), at))
}

/// The list that `value` is.
///
/// # Errors
/// It is something else.
pub fn list(value: Value<'_>) -> Result<Vec<Value<'_>>, Problem> {
    let at = value.span().start;
    match value.into_inner() {
        DeValue::Array(values) => Ok(values.into_iter().collect()),
        other => Err(expected("a list", &other, at)),
    }
}

/// A text, number or flag as text: the value of a setting.
///
/// # Errors
/// It is something else.
pub fn scalar(value: &Value<'_>) -> Result<Spot<String>, Problem> {
    let at = value.span().start;
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        other => return Err(expected("a text, a number, true or false", other, at)),
    };
    Ok(Spot::new(text, at))
}

/// Longest time that a scenario may name.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// "300ms", "5s", "2m".
///
/// # Errors
/// What was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let factor_ms = match &text[digits.len()..] {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    let ms = factor_ms.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    match ms.map(Duration::from_millis) {
        None => Err(format!("expected a time as 300ms, 5s or 2m, found `{text}`")),
        Some(time) if time > DURATION_MAX => Err(format!("expected at most a day (1440m), found `{text}`")),
        Some(time) => Ok(time),
    }
}

/// A duration as [`duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0ms".to_owned(),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}
