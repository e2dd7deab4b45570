//! The stories of a run on its page: the lives of lost records, and the others.

use super::markup::escape;
use crate::{
    base::Offset,
    check::{
        Lost,
        story::{Kind, Line, Sentence, Story},
    },
    report::{Manifest, STORY_FILE, story_text, terminal},
};

/// Most lives told in full; records that share a fate share a life.
const LIVES_MAX: usize = 12;

/// The life of each lost record, told once for all that share it.
pub(super) fn told_of(manifest: &Manifest) -> String {
    let fates = story_text::fates(&manifest.verdict.lost);
    let others: String = manifest.stories.iter().filter(|story| story.kind != Kind::Lost).map(other_story).collect();
    if fates.is_empty() {
        return format!("<p class=\"soft\">No acknowledged record was lost.</p>{others}");
    }
    let mut text: String = fates.iter().take(LIVES_MAX).map(|sharers| life(sharers)).collect();
    if fates.len() > LIVES_MAX {
        text.push_str(&format!(
            "<p class=\"soft\">showing {LIVES_MAX} of {}; the rest is in {STORY_FILE}</p>",
            fates.len()
        ));
    }
    text + &others
}

fn life(sharers: &[&Lost]) -> String {
    let lost = sharers[0];
    let rest: Vec<Offset> = sharers[1..].iter().map(|other| other.offset).collect();
    let shared = match rest.is_empty() {
        true => String::new(),
        false => {
            let from = story_text::shared_from(lost, sharers);
            format!(" <span class=\"soft\">(@ {} share it from line {from} on)</span>", terminal::offsets(&rest))
        }
    };
    format!(
        "<h3>The life of {}@{}{shared}</h3>{}",
        escape(&lost.partition.to_string()),
        lost.offset,
        told(&lost.life.lines, &lost.life.therefore),
    )
}

/// A story that is not the life of a lost record.
fn other_story(story: &Story) -> String {
    let untold = match story.untold {
        0 => String::new(),
        more => format!("<p class=\"soft\">and {more} more of its kind</p>"),
    };
    let (word, subject) = (story.kind.word(), escape(&story.subject));
    format!("<h3>{word} <span class=\"soft\">{subject}</span></h3>{}{untold}", told(&story.lines, &story.therefore))
}

fn told(lines: &[Line], therefore: &[Sentence]) -> String {
    let lines: String = lines.iter().map(life_line).collect();
    let therefore: String = therefore.iter().map(conclusion).collect();
    let therefore = match therefore.is_empty() {
        true => therefore,
        false => format!("<div class=\"there\"><b>Therefore</b>{therefore}</div>"),
    };
    format!("<ol class=\"story\">{lines}</ol>{therefore}")
}

/// A sentence of a *Therefore*; one about settings has the sign of what they would have done.
fn conclusion(sentence: &Sentence) -> String {
    let class = match sentence.helps() {
        Some(true) => " class=\"v held\"",
        Some(false) => " class=\"v lost\"",
        None => "",
    };
    format!("<p{class}><span>{}</span></p>", escape(&sentence.to_string()))
}

fn life_line(line: &Line) -> String {
    let moment = line.moment.map(|moment| format!("<span class=\"key\">{}</span>", moment.name())).unwrap_or_default();
    let copies = line.copies.as_ref().map(|copies| format!(" <span class=\"copies\">copies {}</span>", escape(copies)));
    format!(
        "<li data-event=\"{0}\"><a href=\"#e={0}\"><span class=\"t\">{1}</span><b>{2}</b><span>{moment}{3}{4}</span></a></li>",
        line.event.0,
        line.time,
        escape(&line.node),
        escape(&line.text),
        copies.unwrap_or_default(),
    )
}
