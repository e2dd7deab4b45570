//! What was on the wire: each message of a run as lines of words, kept small.
//!
//! Messages say the same again and again, but for their numbers. So each form of words is kept once, with holes, and a
//! message is its form with the numbers that fill it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::trace::EventId;

/// Stands for a number in a form. No message has it: what is told of one has no control characters but line ends.
const HOLE: char = '\u{1}';
/// The greatest number, with either sign, that a browser reads as it is written.
const NUMBER_MAX: i64 = (1 << 53) - 1;

/// The messages of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    /// Words with holes.
    forms: Vec<String>,
    /// For each message, in their order: the event of its sending, its form, and the numbers that fill its holes.
    sent: Vec<Vec<i64>>,
    #[serde(skip)]
    numbers: BTreeMap<String, i64>,
}

impl Messages {
    /// Adds the message that event `sent` put on the wire, told as `words`.
    pub fn add(&mut self, sent: EventId, words: &str) {
        let mut message = vec![sent.0 as i64, 0];
        let form = with_holes(words, &mut message);
        let forms = &mut self.forms;
        message[1] = *self.numbers.entry(form).or_insert_with_key(|form| {
            forms.push(form.clone());
            forms.len() as i64 - 1
        });
        self.sent.push(message);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// As many of the messages as take no more than `bytes` as JSON, those around event `around` first.
    pub(super) fn around(&self, around: EventId, bytes: usize) -> Self {
        let mut order: Vec<&Vec<i64>> = self.sent.iter().collect();
        order.sort_by_key(|message| (message[0] - around.0 as i64).abs());
        let (mut left, mut chosen) = (bytes, Self::default());
        let mut renumbered: BTreeMap<i64, i64> = BTreeMap::new();
        for message in order {
            let form = &self.forms[message[1] as usize];
            let known = renumbered.get(&message[1]).copied();
            let size = message.iter().map(|number| number.to_string().len() + 1).sum::<usize>()
                + if known.is_none() { serde_json::to_string(form).expect("text").len() + 1 } else { 2 };
            let Some(rest) = left.checked_sub(size) else { break };
            left = rest;
            let number = known.unwrap_or_else(|| {
                chosen.forms.push(form.clone());
                chosen.forms.len() as i64 - 1
            });
            renumbered.insert(message[1], number);
            let mut message = message.clone();
            message[1] = number;
            chosen.sent.push(message);
        }
        chosen.sent.sort_by_key(|message| message[0]);
        chosen
    }

    /// Whether each message has a form, and as many numbers as that has holes.
    ///
    /// # Errors
    /// Which one has not.
    pub fn check(&self) -> Result<(), String> {
        let holes: Vec<usize> = self.forms.iter().map(|form| form.matches(HOLE).count()).collect();
        let fits = |message: &[i64]| match message {
            [_, form, numbers @ ..] => {
                usize::try_from(*form).ok().and_then(|form| holes.get(form)) == Some(&numbers.len())
            }
            _ => false,
        };
        match self.sent.iter().position(|message| !fits(message)) {
            Some(index) => Err(format!("message {index} does not fill a form")),
            None => Ok(()),
        }
    }
}

/// The words with a hole in place of each number that stands alone; the numbers go to `numbers`.
fn with_holes(words: &str, numbers: &mut Vec<i64>) -> String {
    let mut form = String::with_capacity(words.len());
    for (index, token) in words.split_inclusive([' ', ',', '\n', '[', ']', '(', ')']).enumerate() {
        let (word, end) = match token.char_indices().next_back() {
            Some((at, char)) if " ,\n[]()".contains(char) => token.split_at(at),
            _ => (token, ""),
        };
        let number = word
            .parse()
            .ok()
            .filter(|number: &i64| index > 0 && number.abs() <= NUMBER_MAX && number.to_string() == word);
        match number {
            Some(number) => {
                numbers.push(number);
                form.push(HOLE);
            }
            None => form.push_str(word),
        }
        form.push_str(end);
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(messages: &Messages, sent: i64) -> Option<String> {
        let message = messages.sent.iter().find(|message| message[0] == sent)?;
        let mut numbers = message[2..].iter();
        let form = &messages.forms[message[1] as usize];
        Some(form.split(HOLE).fold(String::new(), |told, part| match told.is_empty() {
            true => part.to_owned(),
            false => format!("{told}{}{part}", numbers.next().expect("a number for each hole")),
        }))
    }

    fn messages() -> (Messages, Vec<(i64, String)>) {
        let words = |id: i64| {
            format!(
                "version 18, client b{}\nepoch {}, isr [{id} -1], limit 9223372036854775807, at 007 AB12",
                id % 2,
                id * 7
            )
        };
        let all: Vec<(i64, String)> = (1..=200).map(|id| (id * 3, words(id))).collect();
        let mut messages = Messages::default();
        all.iter().for_each(|(sent, words)| messages.add(EventId(*sent as u64), words));
        (messages, all)
    }

    #[test]
    fn every_message_comes_back_from_its_form_and_its_numbers() {
        let (messages, all) = messages();
        assert_eq!((messages.forms.len(), messages.len()), (2, 200));
        messages.check().unwrap();
        all.iter().for_each(|(sent, words)| assert_eq!(told(&messages, *sent).as_ref(), Some(words)));
    }

    #[test]
    fn where_not_all_fit_those_around_an_event_are_chosen() {
        let (messages, all) = messages();
        let some = messages.around(EventId(300), 1000);
        let bytes = serde_json::to_string(&some).unwrap().len();
        assert!(some.len() > 20 && some.len() < 60 && bytes < 1100, "{} messages in {bytes} bytes", some.len());
        some.check().unwrap();
        let near = all.iter().filter(|(sent, _)| (sent - 300).abs() < 20);
        near.for_each(|(sent, words)| assert_eq!(told(&some, *sent).as_ref(), Some(words)));
        assert_eq!(messages.around(EventId(1), 1_000_000).len(), 200);
    }

    #[test]
    fn a_message_that_fills_no_form_is_found() {
        for damage in [
            r#"{"forms":[],"sent":[[1,0]]}"#,
            r#"{"forms":["a"],"sent":[[1,0,5]]}"#,
            r#"{"forms":["a"],"sent":[[1,-1]]}"#,
        ] {
            let messages: Messages = serde_json::from_str(damage).unwrap();
            assert!(messages.check().unwrap_err().contains("message 0"), "{damage}");
        }
    }
}
