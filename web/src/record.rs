//! Verdicts to take away: CSV, JSON and plain text.

use serde::Serialize;

use crate::wording;

/// One photo's verdict, complete in itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Record {
    /// Name of the file.
    pub file: String,
    /// `in`, `out` or `error`.
    pub verdict: &'static str,
    /// The class, also of what is out: the nearest one.
    pub class: Option<String>,
    /// The score, higher = more in-distribution.
    pub score: Option<f64>,
    /// The threshold it was held against.
    pub threshold: Option<f64>,
    /// `bundle`, or `edited`.
    pub class_list: &'static str,
    /// Conformal p-value; none with edited classes, of which nobody has measured photos.
    pub p_value: Option<f64>,
    /// With edited classes: the fraction of the bundle's photos of none of its classes that score this
    /// high or higher.
    pub outsider_rate: Option<f64>,
    /// The scoring method.
    pub method: Option<String>,
    /// The probability of "none of these".
    pub none: Option<f64>,
    /// The nearest classes.
    pub top5: Vec<ClassShare>,
    /// The name of the device that computed it.
    pub device: String,
    /// Milliseconds in all.
    pub milliseconds: Option<f64>,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// A class and how probable it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassShare {
    /// The class.
    pub class: String,
    /// Beside "none of these": a fraction of one.
    pub probability: f64,
    /// Among the classes, as a card shows it: the part of what they have together.
    pub share: f64,
}

/// The records as CSV (RFC 4180), with a header.
pub fn csv(records: &[Record]) -> String {
    let mut text = String::from(
        "file,verdict,class,score,threshold,class_list,p_value,outsider_rate,method,none",
    );
    for place in 1..=5 {
        text.push_str(&format!(",class_{place},probability_{place},share_{place}"));
    }
    text.push_str(",device,milliseconds,error\r\n");
    for record in records {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let mut fields = vec![
            words(&record.file),
            record.verdict.to_owned(),
            words(record.class.as_deref().unwrap_or_default()),
            number(record.score),
            number(record.threshold),
            record.class_list.to_owned(),
            number(record.p_value),
            number(record.outsider_rate),
            words(record.method.as_deref().unwrap_or_default()),
            number(record.none),
        ];
        for place in 0..5 {
            let share = record.top5.get(place);
            fields.push(share.map(|share| words(&share.class)).unwrap_or_default());
            fields.push(number(share.map(|share| share.probability)));
            fields.push(number(share.map(|share| share.share)));
        }
        fields.push(words(&record.device));
        fields.push(number(record.milliseconds));
        fields.push(words(record.error.as_deref().unwrap_or_default()));
        let line: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
        text.push_str(&line.join(","));
        text.push_str("\r\n");
    }
    text
}

/// The records as a JSON array.
///
/// # Errors
/// None that a record of this type could cause.
pub fn json(records: &[Record]) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(records)
}

/// One record as a few lines of text, for the clipboard.
pub fn text(record: &Record) -> String {
    if let Some(error) = &record.error {
        return format!("{}: not read. {error}", record.file);
    }
    let class = match (record.verdict, &record.class) {
        ("in", Some(class)) => format!("In: {class}"),
        (_, Some(class)) => format!("Out: none of these (nearest: {class})"),
        (_, None) => "Out: none of these".to_owned(),
    };
    let mut lines = vec![record.file.clone(), class];
    if let (Some(score), Some(threshold)) = (record.score, record.threshold) {
        let [own, cut] = wording::beside(score, threshold);
        lines.push(format!(
            "Score {own}, threshold {cut} ({})",
            record.method.as_deref().unwrap_or("unknown method")
        ));
    }
    match record.p_value {
        Some(p_value) => lines.push(wording::rarity(p_value)),
        None => lines.push(wording::among_outsiders(record.outsider_rate)),
    }
    lines.push("Among the classes:".to_owned());
    for class in &record.top5 {
        let share = wording::percent(class.share);
        lines.push(format!("{} {share}", class.class));
    }
    lines.join("\n")
}

/// A field of words. One that begins like a formula gets a mark before it, or a spreadsheet computes
/// it: names of files come from strangers.
fn words(field: &str) -> String {
    match field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => format!("'{field}"),
        false => field.to_owned(),
    }
}

fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            file: "a, \"b\".jpg".to_owned(),
            verdict: "in",
            class: Some("cup".to_owned()),
            score: Some(4.25),
            threshold: Some(2.0),
            class_list: "bundle",
            p_value: Some(0.5),
            outsider_rate: None,
            method: Some("NegPrompt".to_owned()),
            none: Some(0.2),
            top5: vec![ClassShare {
                class: "cup".to_owned(),
                probability: 0.75,
                share: 0.9375,
            }],
            device: "CPU".to_owned(),
            milliseconds: Some(90.5),
            error: None,
        }
    }

    #[test]
    fn csv_quotes_what_it_must() {
        let text = csv(&[record()]);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0].split(',').count(), 28);
        assert_eq!(lines[1].split(',').count(), 28 + 1);
        let start = "\"a, \"\"b\"\".jpg\",in,cup,4.25,2,bundle,0.5,,NegPrompt,0.2,cup,0.75,0.9375,";
        assert!(lines[1].starts_with(start), "{}", lines[1]);
        assert!(lines[1].ends_with(",CPU,90.5,"));
    }

    #[test]
    fn csv_holds_no_formulas() {
        let named = |file: &str| {
            let record = Record {
                file: file.to_owned(),
                score: Some(-4.5),
                ..record()
            };
            csv(&[record])
        };
        for file in ["=1+1.jpg", "+1.jpg", "-1.jpg", "@a.jpg"] {
            assert!(named(file).contains(&format!("\r\n'{file},in,cup,-4.5,")));
        }
        for file in ["\r=1.jpg", "\n=1.jpg"] {
            assert!(named(file).contains(&format!("\r\n\"'{file}\",in,cup,-4.5,")));
        }
        assert!(named("a=1.jpg").contains("\r\na=1.jpg,"));
    }

    #[test]
    fn text_says_it_in_words() {
        let text = text(&record());
        assert!(
            text.contains("In: cup\nScore 4.250, threshold 2.000 (NegPrompt)\nOrdinary"),
            "{text}"
        );
        // A card says the same.
        assert!(text.contains("\nAmong the classes:\ncup 93."), "{text}");
        let failed = Record {
            verdict: "error",
            error: Some("empty".to_owned()),
            ..record()
        };
        assert_eq!(super::text(&failed), "a, \"b\".jpg: not read. empty");
        let edited = Record {
            class_list: "edited",
            p_value: None,
            outsider_rate: Some(0.04),
            ..record()
        };
        // The card's line.
        let line = wording::among_outsiders(Some(0.04));
        assert!(super::text(&edited).contains(&line), "{line}");
        assert!(json(&[record()]).unwrap().contains("\"p_value\": 0.5"));
    }
}
