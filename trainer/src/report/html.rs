//! The report as one page that needs nothing else: no scripts, no fonts, no network.

use std::fmt::Write;

use serde_json::Value;

use super::Report;
use super::gallery::{Section, sections};
use super::results::{per_cent, results};
use super::svg::escape;
use crate::progress::duration_text;

const STYLE: &str = include_str!("style.css");

/// The whole page. Everything that comes from outside (names of classes, folders and files) is
/// escaped. `json`: the file that holds the same figures, where there is one.
pub fn write_html(report: &Report, json: Option<&str>) -> String {
    let title = if report.title.is_empty() {
        "Out-of-distribution detection"
    } else {
        &report.title
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(title)
    );
    page.push_str(&header(report, title));
    page.push_str(&results(report));
    page.push_str(&notes(report));
    for section in sections(&report.figures) {
        page.push_str(&figures(&section));
    }
    page.push_str(&mistakes(report));
    page.push_str(&data(report));
    page.push_str(&run(report));
    page.push_str(&reproduce(report));
    page.push_str("<footer>Rates are in per cent");
    if let Some(json) = json {
        page.push_str(&format!(
            "; the same figures stand in <code>{}</code> as fractions of one",
            escape(json)
        ));
    }
    page.push_str(".</footer>\n</main>\n</body>\n</html>\n");
    page
}

fn header(report: &Report, title: &str) -> String {
    let sets = report.sets();
    let id_images: u64 = report
        .data
        .iter()
        .filter(|data| data.used_for.contains("in-distribution test"))
        .map(|data| data.images)
        .sum();
    let mut lead = format!(
        "{} method{} on {} out-of-distribution set{}, with the model {}",
        report.methods.len(),
        plural(report.methods.len()),
        sets.len(),
        plural(sets.len()),
        escape(&report.model.name),
    );
    if id_images > 0 {
        let _ = write!(
            lead,
            " and {} in-distribution test images",
            thousands(id_images)
        );
    }
    let mut key = String::new();
    let mut figure = |name: &str, value: String, beside: String| {
        let _ = write!(
            key,
            "<div><dt>{}</dt><dd>{value}<small>{}</small></dd></div>",
            escape(name),
            escape(&beside)
        );
    };
    let averages = || {
        report
            .methods
            .iter()
            .filter_map(|method| Some((method, method.average?)))
    };
    if let Some((method, average)) = averages().max_by(|(_, a), (_, b)| a.auroc.total_cmp(&b.auroc))
    {
        figure(
            "Best average AUROC",
            format!("{} %", per_cent(average.auroc)),
            method.name.clone(),
        );
    }
    if let Some((method, average)) = averages().min_by(|(_, a), (_, b)| a.fpr95.total_cmp(&b.fpr95))
    {
        figure(
            "Best average FPR95",
            format!("{} %", per_cent(average.fpr95)),
            method.name.clone(),
        );
    }
    let accuracies = report
        .methods
        .iter()
        .filter_map(|method| Some((method, method.id_top1?)));
    // Of equal ones the first in the table.
    if let Some((method, top1)) = accuracies.rev().max_by(|(_, a), (_, b)| a.total_cmp(b)) {
        figure(
            "Best ID accuracy",
            format!("{} %", per_cent(top1)),
            method.name.clone(),
        );
    }
    if let Some(&seconds) = report.timings.get("total") {
        figure("Time", duration_text(seconds), report.device.clone());
    }
    let key = if key.is_empty() {
        key
    } else {
        format!("<dl class=\"key\">{key}</dl>\n")
    };
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"lead\">{lead}.</p>\n</header>\n{key}",
        escape(title)
    )
}

fn notes(report: &Report) -> String {
    if report.notes.is_empty() {
        return String::new();
    }
    let items: String = report
        .notes
        .iter()
        .map(|note| format!("<li>{}</li>\n", with_code(note)))
        .collect();
    format!("<h2>To read these figures rightly</h2>\n<ul class=\"notes\">\n{items}</ul>\n")
}

/// Text in which `names` between backticks are set as code.
fn with_code(text: &str) -> String {
    let escaped = escape(text);
    let parts: Vec<_> = escaped.split('`').collect();
    // An odd backtick is only a backtick.
    if parts.len().is_multiple_of(2) {
        return escaped;
    }
    parts
        .iter()
        .enumerate()
        .map(|(index, part)| match index % 2 {
            0 => (*part).to_owned(),
            _ => format!("<code>{part}</code>"),
        })
        .collect()
}

fn figures(section: &Section) -> String {
    let (title, introduction) = (section.title, section.introduction);
    let name = title.to_lowercase().replace(' ', "-");
    let mut html = format!(
        "<section aria-labelledby=\"{name}\">\n<h2 id=\"{name}\">{title}</h2>\n<p class=\"soft\">{introduction}</p>\n<div class=\"figures\">\n"
    );
    for (index, plot) in section.plots.iter().enumerate() {
        html.push_str(&plot.html(&format!("{name}-{index}")));
        html.push('\n');
    }
    html.push_str("</div>\n</section>\n");
    html
}

fn mistakes(report: &Report) -> String {
    let Some(mistakes) = &report.mistakes else {
        return String::new();
    };
    let rows: String = mistakes
        .images
        .iter()
        .map(|mistake| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"text wrap\"><code>{}</code></td><td>{}</td></tr>\n",
                escape(&mistake.set),
                escape(&mistake.file),
                format!("{:.3}", mistake.score).replace('-', "−")
            )
        })
        .collect();
    format!(
        "<section aria-labelledby=\"mistakes\">\n<h2 id=\"mistakes\">Most confident mistakes</h2>\n<p class=\"soft\">The images that {} put on the wrong side of its threshold by the widest margin, in the first seed.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Most confident mistakes\">\n<table>\n<thead>\n<tr><th scope=\"col\">Set</th><th scope=\"col\" class=\"text\">File</th><th scope=\"col\">Score</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</section>\n",
        escape(&mistakes.method)
    )
}

fn data(report: &Report) -> String {
    if report.data.is_empty() {
        return String::new();
    }
    let rows: String = report
        .data
        .iter()
        .map(|data| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"text wrap\">{}</td></tr>\n",
                escape(&data.name),
                escape(&data.used_for),
                thousands(data.images),
                data.classes.map_or("–".to_owned(), |n| thousands(n as u64)),
                thousands(data.skipped),
                escape(&data.source)
            )
        })
        .collect();
    format!(
        "<section aria-labelledby=\"data\">\n<h2 id=\"data\">Data</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Data\">\n<table>\n<thead>\n<tr><th scope=\"col\">Set</th><th scope=\"col\" class=\"text\">Used for</th><th scope=\"col\">Images</th><th scope=\"col\">Classes</th><th scope=\"col\">Unreadable</th><th scope=\"col\" class=\"text\">About it</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</section>\n"
    )
}

fn run(report: &Report) -> String {
    let mut settings = vec![
        ("model".to_owned(), report.model.name.clone()),
        (
            "image size".to_owned(),
            format!("{0} × {0} pixels", report.model.image_size),
        ),
        ("joint width".to_owned(), report.model.embed_dim.to_string()),
        (
            "logit scale".to_owned(),
            format!("{:.2}", report.model.logit_scale),
        ),
        ("device".to_owned(), report.device.clone()),
        ("seed".to_owned(), report.seed.to_string()),
    ];
    flatten("", &report.config, &mut settings);
    settings.extend(report.versions.clone());
    let mut html = String::from(
        "<section aria-labelledby=\"run\">\n<h2 id=\"run\">The run</h2>\n<div class=\"pairs\">\n",
    );
    html.push_str(&pairs("Setting", "Value", &settings));
    if !report.timings.is_empty() {
        let timings: Vec<_> = report
            .timings
            .iter()
            .map(|(what, &seconds)| (what.clone(), duration_text(seconds)))
            .collect();
        html.push_str(&pairs("Step", "Time", &timings));
    }
    let thresholds: Vec<_> = report
        .methods
        .iter()
        .map(|method| {
            let kept = method.kept.map_or(String::new(), |share| {
                format!(", keeps {} % of the ID test images", per_cent(share))
            });
            (
                method.name.clone(),
                format!("{:.4}{kept}", method.threshold).replace('-', "−"),
            )
        })
        .collect();
    if !thresholds.is_empty() {
        html.push_str(&pairs("Method", "Threshold", &thresholds));
    }
    html.push_str("</div>\n</section>\n");
    html
}

fn pairs(first: &str, second: &str, rows: &[(String, String)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(name, value)| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"text wrap\">{}</td></tr>\n",
                escape(name),
                escape(value)
            )
        })
        .collect();
    format!(
        "<div><table class=\"plain\">\n<thead><tr><th scope=\"col\">{first}</th><th scope=\"col\" class=\"text\">{second}</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// Nested settings as `stage_1.steps` → `400`, without lists.
fn flatten(prefix: &str, value: &Value, settings: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                flatten(&name, value, settings);
            }
        }
        // Lists are for programs; the words about them stand among the notes.
        Value::Null | Value::Array(_) => {}
        Value::String(text) => settings.push((prefix.to_owned(), text.clone())),
        other => settings.push((prefix.to_owned(), other.to_string())),
    }
}

fn reproduce(report: &Report) -> String {
    if report.reproduce.is_empty() {
        return String::new();
    }
    format!(
        "<section aria-labelledby=\"again\">\n<h2 id=\"again\">To get this report again</h2>\n<pre tabindex=\"0\"><code>{}</code></pre>\n</section>\n",
        escape(&report.reproduce.join("\n"))
    )
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Digits in threes, parted by thin spaces.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::test_report::report;
    use super::*;

    #[test]
    fn the_page_is_whole_and_escaped() {
        let page = write_html(&report(), Some("report.json"));
        assert!(page.contains("Negative prompts on &lt;Caltech-101&gt;"));
        assert!(!page.contains("<Caltech-101>") && !page.contains("<of>"));
        assert!(
            page.contains("<strong>96.3</strong> <small>± 0.4</small>"),
            "{page}"
        );
        assert!(page.contains("stage_2.beta"));
        assert!(page.contains("a &lt;b&gt;.jpg") && page.contains("−1.250"));
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains("<script")
        );
        assert_eq!(page.matches("role=\"img\"").count(), 7);
        assert_eq!(page.matches("<desc").count(), 7);
        for tag in [
            "section", "table", "figure", "div", "ul", "dl", "svg", "tr", "td", "th",
        ] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let page = write_html(&Report::default(), None);
        assert!(page.ends_with("</html>\n") && !page.contains("json"));
    }

    #[test]
    fn numbers_are_parted_in_threes() {
        assert_eq!(thousands(5233), "5233");
        assert_eq!(thousands(1_281_167), "1\u{202f}281\u{202f}167");
    }
}
