//! `index.html`: every scenario on one page: its lesson, what came of it and of each of its variants, its page.

use super::page::{escape, style};
use crate::check::Claim;

/// A scenario as the catalogue lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name: the file without folder and ending.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What it teaches.
    pub teaches: Option<String>,
    /// Ids of the catalogue of scenarios.
    pub ids: Vec<String>,
    /// Number of questions that it asks.
    pub questions: usize,
    /// As written, then its variants.
    pub runs: Vec<ListedRun>,
}

/// One run of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRun {
    /// The variant; none for the scenario as written.
    pub variant: Option<String>,
    /// The release whose behaviour it has, where that is not the newest.
    pub era: Option<String>,
    /// The seed.
    pub seed: u64,
    /// What came of it, as a sentence.
    pub verdict: String,
    /// The claims that broke, by name.
    pub broken: Vec<String>,
    /// Exit code: 0 when all is as the scenario expects.
    pub exit: u8,
    /// Where its page lies, beside the catalogue; none where no page was written.
    pub page: Option<String>,
    /// The command that runs it.
    pub command: String,
}

/// The page.
pub fn catalogue(scenarios: &[Listed]) -> String {
    let runs: usize = scenarios.iter().map(|scenario| scenario.runs.len()).sum();
    let unexpected = scenarios.iter().flat_map(|scenario| &scenario.runs).filter(|run| run.exit != 0).count();
    let verdict = match unexpected {
        0 => "each as it expects".to_owned(),
        some => format!("{some} not as expected"),
    };
    let rows: String = scenarios.iter().map(scenario).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Scenarios - Highwater</title>\n<style>\n{}</style>\n</head>\n<body>\n<header>\n\
         <div class=\"where\"><b>Highwater</b><span>{} scenarios, {runs} runs with their variants, {verdict}</span></div>\n\
         <h1>What becomes of an acknowledged record?</h1>\n\
         <p class=\"sub\">Each scenario is a story of faults, run by seed. A scenario that teaches a loss is as expected exactly \
         when the documented loss happens.</p>\n\
         <p class=\"sub\">A run whose name is a link has its page here, which opens at the decisive moment. The command of any other \
         line makes its page; <code>cargo sim catalogue --pages</code> makes that of every scenario, and this list with links to \
         them.</p>\n</header>\n<main>\n\
         <nav class=\"jump\" aria-label=\"Scenarios\">{}</nav>\n\
         <table class=\"catalogue\"><thead><tr><th scope=\"col\">scenario</th><th scope=\"col\">run</th>\
         <th scope=\"col\">what came of it</th></tr></thead>\n{rows}</table>\n</main>\n</body>\n</html>\n",
        style(),
        scenarios.len(),
        scenarios.iter().map(jump).collect::<String>(),
    )
}

/// A link down to the scenario, with the sign of its run as written.
fn jump(scenario: &Listed) -> String {
    let name = escape(&scenario.name);
    let class = scenario.runs.first().map_or("none", class_of);
    format!("<a href=\"#{name}\"><span class=\"v {class}\"></span>{name}</a> ")
}

/// The class that colours what came of a run.
fn class_of(run: &ListedRun) -> &'static str {
    match (run.exit, run.broken.is_empty()) {
        (0, true) => "held",
        (2, _) => "unknown",
        _ => "lost",
    }
}

fn scenario(scenario: &Listed) -> String {
    let Listed { name, title, teaches, ids, questions, runs } = scenario;
    let teaches = teaches
        .as_ref()
        .map(|teaches| format!("<span class=\"lesson\">{}</span>", escape(teaches)))
        .unwrap_or_default();
    let mut small: Vec<String> = ids.iter().map(|id| escape(id)).collect();
    match questions {
        0 => {}
        1 => small.push("1 question".into()),
        more => small.push(format!("{more} questions")),
    }
    let about = format!(
        "<td rowspan=\"{}\" id=\"{name}\"><b>{}</b><span class=\"meaning\">{}</span>{teaches}<span class=\"soft ids\">{}</span></td>",
        runs.len(),
        escape(name),
        escape(title),
        small.join(", "),
        name = escape(name),
    );
    let rows: String = runs
        .iter()
        .enumerate()
        .map(|(index, run)| format!("<tr>{}{}</tr>\n", if index == 0 { about.as_str() } else { "" }, row(run)))
        .collect();
    format!("<tbody>{rows}</tbody>\n")
}

fn row(run: &ListedRun) -> String {
    let ListedRun { variant, era, seed, verdict, broken, exit, page, command } = run;
    let name = escape(variant.as_deref().unwrap_or("as written"));
    let name = match page {
        Some(page) => format!("<a href=\"{}\">{name}</a>", escape(page)),
        None => name,
    };
    let era = era.as_ref().map(|era| format!(", behaviour of Kafka {}", escape(era))).unwrap_or_default();
    let (head, rest) = verdict.split_once(": ").unwrap_or((verdict.as_str(), ""));
    // Of lost records the verdict has told already.
    let broken: Vec<&str> =
        broken.iter().map(String::as_str).filter(|claim| *claim != Claim::AckedRecordsSurvive.name()).collect();
    let broken = match broken.is_empty() {
        true => String::new(),
        false => format!("<span class=\"meaning\">broke: {}</span>", escape(&broken.join(", "))),
    };
    let makes = if page.is_some() { "again" } else { "makes its page" };
    let unexpected = if *exit == 0 { "" } else { " <b class=\"lost\">not as expected</b>" };
    format!(
        "<td><b>{name}</b><span class=\"soft meaning\">seed {seed}{era}</span></td><td><span class=\"v {}\">{}</span>{unexpected}\
         <span class=\"meaning\">{}</span>{broken}<span class=\"command\">{makes}: <code>{}</code></span></td>",
        class_of(run),
        escape(head),
        escape(rest),
        escape(command),
    )
}
