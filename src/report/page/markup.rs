//! Text into HTML: escaping, and a template with holes.

/// `text` so that it stands in an element or a quoted attribute as it is.
pub(in crate::report) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped
}

/// JSON so that it stands in a `script` element: nothing in it ends the element or begins a comment.
pub(super) fn json_in_script(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

/// `template` with each `{{name}}` replaced by what `fill` has for the name. What is filled in is not searched again.
pub(super) fn fill(template: &str, fill: impl Fn(&str) -> String) -> String {
    let mut parts = template.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").expect("every hole of the template is closed");
        text.push_str(&fill(name));
        text.push_str(rest);
    }
    text
}
