//! The small language within a scenario's texts, as words: triggers and actions are built of them.

use super::source::Problem;

/// One word or sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// Letters, digits, `.`, `-`, `_`, `+`, `/`, `%`: a name, a number, a partition, a time, a rate.
    Word(String),
    /// `(` `)` `[` `]` `,` `;` `|` `=` or a comparison.
    Sign(&'static str),
}

impl Token {
    fn show(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Sign(sign) => format!("`{sign}`"),
        }
    }
}

const SIGNS: &[&str] = &["==", "!=", "<=", ">=", "(", ")", "[", "]", ",", ";", "|", "=", "<", ">"];

/// A text being read, word by word.
#[derive(Clone, Debug)]
pub struct Words {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

impl Words {
    /// The words of `text`, which begins at byte `at` of the file.
    ///
    /// # Errors
    /// A character that belongs to no word.
    pub fn of(text: &str, at: usize) -> Result<Self, Problem> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(char) = rest.chars().next() {
            let place = at + text.len() - rest.len();
            if char.is_whitespace() {
                rest = &rest[char.len_utf8()..];
            } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                tokens.push((place, Token::Sign(sign)));
                rest = &rest[sign.len()..];
            } else {
                let in_word = |char: char| char.is_alphanumeric() || "._-+/%@".contains(char);
                let length = rest.find(|char| !in_word(char)).unwrap_or(rest.len());
                if length == 0 {
                    return Err(Problem::at(place, format!("`{char}` is not understood here")));
                }
                tokens.push((place, Token::Word(rest[..length].to_owned())));
                rest = &rest[length..];
            }
        }
        Ok(Self { tokens, next: 0, end: at + text.len() })
    }

    /// Where the next word stands.
    pub fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    /// The next word, without taking it.
    pub fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.peek().is_none()
    }

    /// Takes the sign if it comes next.
    pub fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.next += usize::from(found);
        found
    }

    /// Takes the word if it comes next.
    pub fn keyword(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(next)) if next == word);
        self.next += usize::from(found);
        found
    }

    /// Takes one of `signs`.
    pub fn one_of(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        signs.iter().copied().find(|sign| self.sign(sign))
    }

    /// Takes the sign.
    ///
    /// # Errors
    /// Something else comes next.
    pub fn need(&mut self, sign: &str) -> Result<(), Problem> {
        if self.sign(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    /// Takes any word.
    ///
    /// # Errors
    /// Something else comes next; `what` says what was expected.
    pub fn word(&mut self, what: &str) -> Result<(usize, String), Problem> {
        match self.tokens.get(self.next) {
            Some((at, Token::Word(word))) => {
                self.next += 1;
                Ok((*at, word.clone()))
            }
            _ => Err(self.expected(what)),
        }
    }

    /// What was expected at the next word.
    pub fn expected(&self, what: &str) -> Problem {
        let found = self.peek().map_or_else(|| "the end".to_owned(), Token::show);
        Problem::at(self.at(), format!("expected {what}, found {found}"))
    }
}
