//! Regular expressions as RE2 reads them, which Kafka's clients and brokers use (KIP-848), written for another engine of the
//! same kind.
//!
//! Both match in time linear in expression and name; they differ in what is an expression. Quotes (`\Q...\E`), a brace that
//! repeats nothing and numbers in base 8 are RE2's alone; sets within sets, free spacing and a repetition of a repetition are
//! the other's.

use std::{iter::Peekable, str::Chars};

/// How often something may be repeated.
const REPETITIONS_MAX: u32 = 1000;

/// The same expression for [`regex`].
///
/// # Errors
/// What RE2 says of it. What is wrong for both is left to the other.
pub(super) fn translated(text: &str) -> Result<String, &'static str> {
    let mut from = Reader { chars: text.chars().peekable() };
    let mut out = String::with_capacity(text.len());
    let mut after_repetition = false;
    while let Some(char) = from.chars.next() {
        let mut repeats = false;
        match char {
            '\\' if from.chars.next_if_eq(&'Q').is_some() => out.push_str(&regex::escape(&from.quoted())),
            '\\' => drop(from.escape(&mut out)?),
            '[' => from.class(&mut out)?,
            '(' => {
                out.push('(');
                from.flags(&mut out)?;
            }
            '*' | '+' | '?' => {
                out.push(char);
                repeats = true;
            }
            '{' => match from.repetition()? {
                Some(repetition) => {
                    out.push_str(&repetition);
                    repeats = true;
                }
                None => out.push_str(r"\{"),
            },
            '}' | ']' => out.extend(['\\', char]),
            _ => out.push(char),
        }
        if repeats && after_repetition {
            return Err("invalid nested repetition operator");
        }
        // The question mark that makes it lazy is part of it.
        if repeats && from.chars.next_if_eq(&'?').is_some() {
            out.push('?');
        }
        after_repetition = repeats;
    }
    Ok(out)
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    /// What stands in quotes, which may be left open.
    fn quoted(&mut self) -> String {
        let mut quoted = String::new();
        while let Some(char) = self.chars.next() {
            if char == '\\' && self.chars.next_if_eq(&'E').is_some() {
                break;
            }
            quoted.push(char);
        }
        quoted
    }

    /// What follows a backslash; `true`: it stands for a set of characters.
    fn escape(&mut self, out: &mut String) -> Result<bool, &'static str> {
        let char = self.chars.next().ok_or("trailing backslash at end of expression")?;
        match char {
            'p' | 'P' | 'x' => {
                out.extend(['\\', char]);
                if self.chars.next_if_eq(&'{').is_some() {
                    out.push('{');
                    for next in self.chars.by_ref() {
                        out.push(next);
                        if next == '}' {
                            break;
                        }
                    }
                }
                Ok(char != 'x')
            }
            '0'..='7' => {
                let mut digits = char.to_string();
                while digits.len() < 3
                    && let Some(digit) = self.chars.next_if(|next| matches!(next, '0'..='7'))
                {
                    digits.push(digit);
                }
                // A digit alone would be a back-reference.
                if char != '0' && digits.len() == 1 {
                    return Err("invalid escape sequence");
                }
                let number = u32::from_str_radix(&digits, 8).expect("three digits of base 8");
                out.push_str(&format!(r"\x{{{number:x}}}"));
                Ok(false)
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                out.extend(['\\', char]);
                Ok(true)
            }
            'b' | 'B' | 'A' | 'z' | 'a' | 'f' | 'n' | 'r' | 't' | 'v' => {
                out.extend(['\\', char]);
                Ok(false)
            }
            _ if char.is_ascii_alphanumeric() => Err("invalid escape sequence"),
            _ => {
                out.push_str(&regex::escape(&char.to_string()));
                Ok(false)
            }
        }
    }

    /// A set of characters, after its bracket.
    fn class(&mut self, out: &mut String) -> Result<(), &'static str> {
        out.push('[');
        if self.chars.next_if_eq(&'^').is_some() {
            out.push('^');
        }
        if self.chars.next_if_eq(&']').is_some() {
            out.push_str(r"\]");
        }
        // After a set or a hyphen a hyphen is one, and no range.
        let mut is_hyphen = false;
        while let Some(char) = self.chars.next() {
            let before = std::mem::take(&mut is_hyphen);
            match char {
                ']' => {
                    out.push(']');
                    return Ok(());
                }
                '\\' => is_hyphen = self.escape(out)?,
                '[' if self.chars.peek() == Some(&':') => {
                    out.push('[');
                    for next in self.chars.by_ref() {
                        out.push(next);
                        if next == ']' {
                            break;
                        }
                    }
                    is_hyphen = true;
                }
                '-' if before => out.push_str(r"\-"),
                '-' => {
                    out.push('-');
                    is_hyphen = true;
                }
                '[' | '&' | '~' => out.extend(['\\', char]),
                _ => out.push(char),
            }
        }
        Err("missing closing ]")
    }

    /// What follows a parenthesis and a question mark, where they are flags.
    fn flags(&mut self, out: &mut String) -> Result<(), &'static str> {
        if self.chars.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        out.push('?');
        match self.chars.peek() {
            Some('P' | '<' | ':' | 'i' | 'm' | 's' | 'U' | '-') => Ok(()),
            _ => Err("invalid or unsupported Perl syntax"),
        }
    }

    /// A number of repetitions with its braces; `None`: there is none, and the brace is one.
    fn repetition(&mut self) -> Result<Option<String>, &'static str> {
        let rest: String = self.chars.clone().take_while(|char| *char != '}').collect();
        let has_end = self.chars.clone().nth(rest.chars().count()) == Some('}');
        let (least, most) = rest.split_once(',').map_or((rest.as_str(), None), |(least, most)| (least, Some(most)));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !has_end || !is_number(least) || most.is_some_and(|most| !most.is_empty() && !is_number(most)) {
            return Ok(None);
        }
        let is_too_large = |text: &str| text.parse::<u32>().map_or(true, |number| number > REPETITIONS_MAX);
        if is_too_large(least) || most.is_some_and(|most| !most.is_empty() && is_too_large(most)) {
            return Err("bad repetition operator");
        }
        self.chars.nth(rest.chars().count());
        Ok(Some(format!("{{{rest}}}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::regex::compile;

    /// As Apache Kafka 4.3.1 answered heartbeats with them.
    #[test]
    fn what_is_an_expression_is_what_kafka_takes_for_one() {
        let taken = r"\Qt.1\E|t\Q|(?i)T|t{0,2}|a{|a{,5}|{|}|a*?|[[:alpha:]]+|[^x]*|\p{L}+|\pL|\p{Greek}*|(?P<n>a)|(?<n>a)|\z|\At|\bt\b|\x41|\x{41}|\07|()|[]a]|[a&&b]|[a[b]]|(?U)a*|(?-i)a|(?s).*|a{1000}|\_|\-|\@|\#|\<|\d+|\D|\w|\v|\t|^*|$*|(?:)|é|\é|[\d-z]|.{0,1000}|\Qab\Ec*|(a*)*";
        for text in taken.split('|').chain(["]", "a|", "|", "(a{100}){100}"]) {
            assert!(compile(text).is_ok(), "{text}: {:?}", compile(text));
        }
        let refused = r"a{1,2}{3}|a**|a++|\p{Foo}|(?=a)|(?!a)|\Z|\C|\u0041|\1|\8|(|)|[a|[a-|[z-a]|[a--b]|(?x)a b|(?u)a|(?R)|a{1001}|\h|\e|*|+a|?|(?i|x{2}{2}|x*{2}|[a-\d]|(?#c)a|(?P=n)|\E|\";
        for text in refused.split('|') {
            assert!(compile(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_rewritten_matches_the_same() {
        let cases = [
            (r"\Qa.b\E.*", "a.bc", "axbc"),
            (r"\Qa.b", "a.b", "axb"),
            (r"\Qab\E*", "abbb", "abab"),
            (r"a\056b", "a.b", "axb"),
            (r"[a&&b]", "&", "c"),
            (r"[\d-z]", "-", "y"),
            (r"[]a]", "]", "b"),
            (r"[^a-c]+", "xyz", "xbz"),
            (r"x{2}y{,3}", "xxy{,3}", "xxyyy"),
            (r"\p{L}+", "abc", "a1c"),
        ];
        for (text, yes, no) in cases {
            let compiled = compile(text).unwrap();
            assert!(compiled.is_match(yes) && !compiled.is_match(no), "{text}");
        }
    }
}
