//! The page of all combinations: settings down, budgets of faults across, one file that needs nothing else.
//!
//! Each cell has a sign beside its colour, so that it reads in grey and aloud; a row unfolds to the sentences behind it.

use std::fmt::Write;

use super::{Cell, Outcome, Row};
use crate::client::config::Acks;

const STYLE: &str = include_str!("page.css");

/// Renders the page. The same cells give the same bytes.
pub fn page(cells: &[Cell], seeds: u64) -> String {
    let mut html = String::new();
    let mut line = |content: &str| writeln!(html, "{content}").expect("writing to a string does not fail");
    line("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">");
    line("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    line("<title>What settings promise, and what they keep</title>");
    line(&format!("<style>\n{STYLE}</style>\n</head>\n<body>\n<main>"));
    line("<h1>What settings promise, and what they keep</h1>");
    let runs: u64 = cells.iter().flat_map(|cell| &cell.rows).map(|row| row.tally.runs).sum();
    // Who has others to lose has every budget; a replica alone has few.
    let budgets = cells.iter().map(|cell| &cell.rows[..]).max_by_key(|rows| rows.len()).unwrap_or_default();
    let mut factors: Vec<String> = cells.iter().map(|cell| cell.settings.replicas().to_string()).collect();
    factors.dedup();
    line(&format!(
        "<p>{runs} simulated runs: {} settings of a topic and its producer, each under {} budgets of faults or those of them \
         that mean something for its replicas, each of those by {seeds} seeds. After each run everything is healed, and \
         every record that was acknowledged (with acks=0: sent) is looked for.</p>",
        cells.len(),
        budgets.len(),
    ));
    legend(&mut line);
    line(
        "<h2>Settings by faults</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Settings by faults\">\n<table>\n<thead>\n<tr>",
    );
    for heading in ["replicas", "acks", "min ISR", "unclean", "flush"] {
        line(&format!("<th scope=\"col\">{heading}</th>"));
    }
    for row in budgets {
        line(&format!("<th scope=\"col\" class=\"budget\"><span>{}</span></th>", escaped(row.budget.title)));
    }
    line("</tr>\n</thead>");
    for (index, cell) in cells.iter().enumerate() {
        // One group for each number of replicas and acks.
        let group = |cell: &Cell| axes(cell)[..2].to_vec();
        if index.checked_sub(1).is_none_or(|before| group(&cells[before]) != group(cell)) {
            line(if index == 0 { "<tbody>" } else { "</tbody>\n<tbody>" });
        }
        line("<tr>");
        for (position, value) in axes(cell).iter().enumerate() {
            let link = if position == 0 { format!("<a href=\"#s{index}\">{value}</a>") } else { value.clone() };
            line(&format!("<th scope=\"row\">{link}</th>"));
        }
        for column in budgets {
            let Some(row) = cell.rows.iter().find(|row| row.budget.name == column.budget.name) else {
                line("<td title=\"there is no other replica\"></td>");
                continue;
            };
            let (outcome, text) = (row.outcome(), escaped(&row.tally.words()));
            line(&format!("<td class=\"{}\" title=\"{text}\">{}</td>", outcome.name(), sign(row)));
        }
        line("</tr>");
    }
    line("</tbody>\n</table>\n</div>\n<h2>Each setting in words</h2>");
    for (index, cell) in cells.iter().enumerate() {
        line(&format!("<details id=\"s{index}\">\n<summary><code>{}</code></summary>", escaped(&cell.settings.line())));
        line(
            "<table>\n<thead><tr><th scope=\"col\">faults</th><th scope=\"col\">documented</th><th scope=\"col\">found</th></tr></thead>\n<tbody>",
        );
        for row in &cell.rows {
            line(&format!(
                "<tr><th scope=\"row\">{}</th><td>{}: {}</td><td class=\"{}\">{}</td></tr>",
                escaped(row.budget.title),
                if row.promise.is_kept() { "promised" } else { "not promised" },
                escaped(row.promise.reason()),
                row.outcome().name(),
                escaped(&row.tally.words()),
            ));
        }
        line("</tbody>\n</table>\n</details>");
    }
    line("<h2>To see one</h2>\n<p>A setting with its counter-examples, each a scenario that runs by itself:</p>");
    line("<pre>cargo sim claims --set acks=1 --set enable.idempotence=false --seeds 200</pre>");
    line(&format!(
        "<p>This page again:</p>\n<pre>cargo sim claims --matrix --replicas {} --seeds {seeds}</pre>\n</main>\n</body>\n</html>",
        factors.join(",")
    ));
    html
}

fn legend(line: &mut impl FnMut(&str)) {
    line("<dl class=\"legend\">");
    for (outcome, sign, meaning) in [
        (Outcome::Kept, "&#10003;", "promised, and no run lost anything"),
        (Outcome::Spared, "&#183;", "not promised, and no run lost anything all the same"),
        (Outcome::Lost, "12%", "not promised, and lost in so many of a hundred runs"),
        (Outcome::Broken, "!", "promised, and broken: a bug"),
        (Outcome::NotExercised, "?", "no fault struck a loaded partition"),
    ] {
        line(&format!("<div><dt class=\"{}\">{sign}</dt><dd>{meaning}</dd></div>", outcome.name()));
    }
    line("</dl>");
}

fn axes(cell: &Cell) -> [String; 5] {
    let settings = &cell.settings;
    let acks = match settings.acks() {
        Acks::None => "0",
        Acks::Leader => "1",
        Acks::All => "all",
    };
    [
        settings.replicas().to_string(),
        acks.to_owned(),
        settings.min_isr().to_string(),
        if settings.is_unclean() { "yes" } else { "no" }.to_owned(),
        if settings.flushes_each_message() { "each" } else { "never" }.to_owned(),
    ]
}

fn sign(row: &Row) -> String {
    match row.outcome() {
        Outcome::Kept => "&#10003;".to_owned(),
        Outcome::Spared => "&#183;".to_owned(),
        Outcome::NotExercised => "?".to_owned(),
        Outcome::Broken => "!".to_owned(),
        Outcome::Lost => {
            let percent = (100.0 * row.tally.lossy as f64 / row.tally.exercised as f64).round();
            if percent < 1.0 { "&lt;1%".to_owned() } else { format!("{percent}%") }
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::claims::{BUDGETS, Found, Settings};

    #[test]
    fn a_cell_shows_its_outcome_by_a_sign_and_in_words() {
        let mut settings = Settings::default();
        settings.set("max.request.size", "1000").unwrap();
        let mut cells = Cell::matrix(&settings, &[3, 1]).unwrap();
        let budgets: Vec<_> = BUDGETS.iter().collect();
        for cell in &mut cells {
            cell.prepare(&budgets);
            for row in &mut cell.rows {
                let lost = u64::from(!row.promise.is_kept());
                row.tally.add(Found { seed: 1, exercised: true, lost, events: 9, broken: Vec::new() });
            }
        }
        let html = page(&cells, 1);
        let alone = BUDGETS.iter().filter(|budget| budget.applies_to(1)).count();
        assert_eq!(html.matches("<tr>").count(), 1 + 48 + 36 * (1 + BUDGETS.len()) + 12 * (1 + alone));
        assert_eq!(html.matches("no other replica").count(), 12 * (BUDGETS.len() - alone));
        assert!(html.contains("<td class=\"lost\" title=\"lost 1 record in 1 of 1\">100%</td>"));
        assert!(
            html.contains("<td class=\"kept\" title=\"held in 1 of 1, loss in at most 95.0 % of such runs (95 %)\">")
        );
        assert!(!html.contains("http"), "the page asks for nothing");
        assert_eq!(html, page(&cells, 1));
    }
}
