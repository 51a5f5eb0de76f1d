//! The view that shows how well each method does: what the trainer measured, before any photo of the user's.

use shared::bundle::{DataSource, MethodEntry};
use shared::metric::OodRates;
use shared::score::method;
use web::lines::{self, Axes, Line};
use web::wording;
use web_sys::{Element, HtmlElement};

use super::dom;
use super::photo::Standard;

/// Shows table and figures, with the chosen method standing out.
pub fn show(standard: Option<&Standard>) {
    let summary: Element = dom::by_id("measured-summary");
    let Some(standard) = standard else {
        summary.set_text_content(Some("The model is being loaded."));
        return;
    };
    let own = match standard.outsiders {
        None => "",
        Some(_) => " Your own classes were never measured.",
    };
    summary.set_text_content(Some(&format!(
        "By the trainer, with the bundle's {} classes, before any photo of yours.{own} AUROC: how often a photo that belongs scores above one that does not. FPR95: how many that do not belong are let in when 95 % of those that do are kept.",
        standard.opened.classes.len()
    )));
    show_table(standard);
    show_roc(standard);
    show_reliability(standard);
    show_losses(standard);
    let data = standard.opened.data.iter();
    dom::replace(&dom::by_id("measured-data"), data.map(source));
}

fn name_of(id: &str) -> &str {
    method(id).map_or(id, |method| method.name())
}

/// A row a method, the least FPR95 first; figures in per cent.
fn show_table(standard: &Standard) {
    let mut entries: Vec<&MethodEntry> = standard.opened.methods.iter().collect();
    let average = |entry: &MethodEntry| OodRates::average(entry.ood.values());
    let rank = |entry: &MethodEntry| average(entry).map_or(f64::INFINITY, |rates| rates.fpr95);
    entries.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
    let sets: Vec<&String> = entries
        .first()
        .map_or_else(Vec::new, |entry| entry.ood.keys().collect());
    let mut columns = Vec::new();
    if !sets.is_empty() {
        columns.push(Column::of("AUROC", false, move |entry| {
            Some(average(entry)?.auroc)
        }));
        columns.push(Column::of("FPR95", true, move |entry| {
            Some(average(entry)?.fpr95)
        }));
    }
    for set in &sets {
        let rates = |entry: &MethodEntry| entry.ood.get(*set).cloned();
        columns.push(Column::of("AUROC", false, move |entry| {
            Some(rates(entry)?.auroc)
        }));
        columns.push(Column::of("FPR95", true, move |entry| {
            Some(rates(entry)?.fpr95)
        }));
    }
    columns.push(Column::of("ID top-1", false, |entry| Some(entry.id_top1)));
    let best: Vec<Option<f64>> = columns.iter().map(|column| column.best(&entries)).collect();
    let rows = entries.iter().map(|entry| {
        let row = dom::element("tr", "", "");
        if entry.id == standard.method {
            dom::set(&row, "aria-current", "true");
        }
        let name = dom::element("th", "stick", name_of(&entry.id));
        dom::set(&name, "scope", "row");
        dom::append(&row, &name);
        for (column, best) in columns.iter().zip(&best) {
            let value = (column.value)(entry);
            let text = value.map_or("–".to_owned(), percent);
            let is_best = value.is_some() && value.map(percent) == best.map(percent);
            let class = if is_best { "best" } else { "" };
            dom::append(&row, &dom::element("td", class, &text));
        }
        row
    });
    let (head, body) = (dom::element("thead", "", ""), dom::element("tbody", "", ""));
    dom::replace(&head, heads(&sets, &columns));
    dom::replace(&body, rows);
    let table = groups(&sets).into_iter().chain([head, body]);
    dom::replace(&dom::by_id("measured-table"), table);
}

type Value<'a> = dyn Fn(&MethodEntry) -> Option<f64> + 'a;

struct Column<'a> {
    name: &'static str,
    /// Whether less is better.
    less: bool,
    value: Box<Value<'a>>,
}

impl<'a> Column<'a> {
    fn of(
        name: &'static str,
        less: bool,
        value: impl Fn(&MethodEntry) -> Option<f64> + 'a,
    ) -> Self {
        Self {
            name,
            less,
            value: Box::new(value),
        }
    }

    fn best(&self, entries: &[&MethodEntry]) -> Option<f64> {
        let values = entries.iter().filter_map(|entry| (self.value)(entry));
        match self.less {
            true => values.min_by(f64::total_cmp),
            false => values.max_by(f64::total_cmp),
        }
    }
}

/// The columns of each set belong together, also for who hears the table.
fn groups(sets: &[&String]) -> Vec<HtmlElement> {
    let together = if sets.is_empty() { 0 } else { 1 + sets.len() };
    let spans = [1].into_iter().chain(vec![2; together]).chain([1]);
    spans
        .map(|span| {
            let group = dom::element("colgroup", "", "");
            dom::set(&group, "span", &span.to_string());
            group
        })
        .collect()
}

/// Two lines: the sets, and what is measured of each.
fn heads(sets: &[&String], columns: &[Column]) -> Vec<HtmlElement> {
    let (above, below) = (dom::element("tr", "", ""), dom::element("tr", "", ""));
    let over = |text: &str, columns: usize| {
        let cell = dom::element("th", "", text);
        dom::set(&cell, "scope", "colgroup");
        dom::set(&cell, "colspan", &columns.to_string());
        cell
    };
    let method = dom::element("th", "stick", "Method");
    dom::set(&method, "rowspan", "2");
    dom::set(&method, "scope", "col");
    dom::append(&above, &method);
    if !sets.is_empty() {
        dom::append(&above, &over("average", 2));
    }
    for set in sets {
        dom::append(&above, &over(&set.replace('_', " "), 2));
    }
    dom::append(&above, &dom::element("td", "", ""));
    for column in columns {
        let arrow = if column.less { "↓" } else { "↑" };
        let cell = dom::element("th", "", &format!("{} {arrow}", column.name));
        dom::set(&cell, "scope", "col");
        dom::append(&below, &cell);
    }
    vec![above, below]
}

fn percent(rate: f64) -> String {
    format!("{:.1}", rate * 100.0)
}

/// A small chart for each set, all methods in it.
fn show_roc(standard: &Standard) {
    let charts: String = standard
        .opened
        .figures
        .roc
        .iter()
        .map(|(set, curves)| {
            let lines: Vec<Line> = curves
                .iter()
                .map(|(id, curve)| Line {
                    curve,
                    name: name_of(id),
                    chosen: id == standard.method,
                    dots: false,
                })
                .collect();
            let set = set.replace('_', " ");
            let title = format!("ROC curves against {set}");
            let axes = Axes {
                title: &title,
                x: "let in of those that do not belong",
                y: &set,
                shares: true,
            };
            format!("<div>{}</div>", lines::chart(&axes, &lines))
        })
        .collect();
    let caption = format!(
        "For every threshold: how many photos that belong are kept (upwards) against how many others are let in (to the right), a chart for each kind of others. Strong: {}; the others are thin.",
        standard.method_name()
    );
    dom::fill_figure("figure-roc", &charts, &caption);
}

fn show_reliability(standard: &Standard) {
    let curve = standard.opened.figures.reliability.get(standard.method);
    let svg = curve.map_or_else(String::new, |curve| {
        let axes = Axes {
            title: "Reliability",
            x: "how sure of its first choice",
            y: "how often that is right",
            shares: true,
        };
        let line = Line {
            curve,
            name: standard.method_name(),
            chosen: true,
            dots: true,
        };
        lines::chart(&axes, &[line])
    });
    let caption = format!(
        "{}, among photos that belong. On the diagonal its probabilities mean what they say; below it, it is too sure of itself, and above it not sure enough.",
        standard.method_name()
    );
    dom::fill_figure("figure-reliability", &svg, &caption);
}

fn show_losses(standard: &Standard) {
    let charts: String = standard
        .opened
        .figures
        .losses
        .iter()
        .map(|loss| {
            let title = format!("{}, {}", loss.stage, loss.name);
            let axes = Axes {
                title: &title,
                x: "step",
                y: &title,
                shares: false,
            };
            let line = Line {
                curve: &loss.curve,
                name: &loss.name,
                chosen: true,
                dots: false,
            };
            format!("<div>{}</div>", lines::chart(&axes, &[line]))
        })
        .collect();
    let caption =
        "The loss at every step of each stage, on a batch of the photos that it was learned from.";
    dom::fill_figure("figure-losses", &charts, caption);
}

fn source(data: &DataSource) -> HtmlElement {
    let item = dom::element("li", "", "");
    dom::append(
        &item,
        &dom::element("strong", "", &data.name.replace('_', " ")),
    );
    let images = wording::photos(usize::try_from(data.images).unwrap_or(usize::MAX));
    let text = format!("{images}: {}. {}", data.used_for, data.source);
    dom::append(&item, &dom::element("span", "", &text));
    item
}
