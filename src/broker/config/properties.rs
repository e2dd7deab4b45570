//! Java properties files: what `server.properties` is written in.
//!
//! `name=value`, `name: value` or `name value`; `#` and `!` begin a comment line; a line that ends in `\` goes on in
//! the next; `\n \t \r \f \\ \uXXXX` are escapes.

use std::collections::BTreeMap;

/// Names and values as a file or a command line gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    entries: BTreeMap<String, Property>,
}

/// One value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The value, unescaped, without space around it.
    pub value: String,
    /// `file:line`, or how else it was given.
    pub origin: String,
    /// Another value that stood before it in the same file, and where: the last one counts, as in Kafka.
    pub replaced: Option<(String, String)>,
}

impl Properties {
    /// Reads the text of `file` (its name is for messages).
    ///
    /// # Errors
    /// A message with file and line for a line that is not a property or has a broken escape.
    pub fn parse(text: &str, file: &str) -> Result<Self, String> {
        let mut properties = Self::default();
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let mut logical = line.trim_start().to_owned();
            if logical.is_empty() || logical.starts_with(['#', '!']) {
                continue;
            }
            while ends_in_continuation(&logical) {
                logical.pop();
                let Some((_, next)) = lines.next() else { break };
                logical.push_str(next.trim_start());
            }
            let origin = format!("{file}:{}", index + 1);
            let (name, value) = split(&logical);
            let name = unescape(name).map_err(|problem| format!("{origin}: {problem}"))?;
            let value = unescape(value.trim_end()).map_err(|problem| format!("{origin}: {problem}"))?;
            if name.is_empty() {
                return Err(format!("{origin}: expected `name=value`, found `{}`", line.trim()));
            }
            let before = properties.entries.get(&name).filter(|before| before.value != value);
            let replaced = before.map(|before| (before.value.clone(), before.origin.clone()));
            properties.entries.insert(name, Property { value, origin, replaced });
        }
        Ok(properties)
    }

    /// Sets one value; `origin` tells where it comes from in messages.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>, origin: &str) {
        let property = Property { value: value.into(), origin: origin.to_owned(), replaced: None };
        self.entries.insert(name.into(), property);
    }

    /// The property called `name`, if it was given.
    pub fn find(&self, name: &str) -> Option<&Property> {
        self.entries.get(name)
    }

    /// The value of the property called `name`, if it was given.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(|property| property.value.as_str())
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Property)> {
        self.entries.iter().map(|(name, property)| (name.as_str(), property))
    }
}

fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Splits at the first unescaped `=`, `:` or space; the separator may have space around it.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, char)| {
        let separates = !escaped && (matches!(char, '=' | ':') || char.is_whitespace());
        escaped = !escaped && *char == '\\';
        separates
    });
    let Some((end, _)) = end else { return (line, "") };
    let rest = line[end..].trim_start();
    (&line[..end], rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start())
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                out.push(code.and_then(char::from_u32).ok_or_else(|| format!("`\\u{digits}` is no character"))?);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text = "# comment\n! too\n\na=1\n b : two words \nc\\=d e\nlong=x,\\\n   y\nu=\\u00e9\\n.\nempty=\nbare\n";
        let parsed = Properties::parse(text, "f").unwrap();
        let found: Vec<_> = parsed.iter().map(|(name, property)| (name, property.value.as_str())).collect();
        let expected =
            [("a", "1"), ("b", "two words"), ("bare", ""), ("c=d", "e"), ("empty", ""), ("long", "x,y"), ("u", "é\n.")];
        assert_eq!(found, expected);
        assert_eq!(parsed.find("b").unwrap().origin, "f:5");
    }

    #[test]
    fn a_broken_line_is_named_by_file_and_line() {
        assert_eq!(Properties::parse("a=1\n=2", "f").unwrap_err(), "f:2: expected `name=value`, found `=2`");
        assert!(Properties::parse("a=\\u12", "f").unwrap_err().starts_with("f:1: "));
    }
}
