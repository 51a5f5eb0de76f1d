//! Every figure of a report, in the order of the page: one list behind the page and the files beside it.

use anyhow::Result;

use super::chart;
use super::figures::Figures;
use super::plot::Plot;
use super::{png, svg};

/// Figures of one kind.
pub struct Section {
    pub title: &'static str,
    /// How to read them.
    pub introduction: &'static str,
    pub plots: Vec<Plot>,
}

/// A figure as files.
pub struct Drawn {
    /// Without an extension: `roc-curves-textures`.
    pub name: String,
    pub svg: Vec<u8>,
    pub png: Vec<u8>,
}

/// The sections that have a figure.
pub fn sections(figures: &Figures) -> Vec<Section> {
    let section = |title, introduction, plots: Vec<Plot>| Section {
        title,
        introduction,
        plots,
    };
    let all = vec![
        section(
            "Ablations",
            "What each part is worth, and each value of a setting: mean and standard deviation over the seeds. The setting that the others are measured against has the first colour.",
            figures.ablations.iter().map(chart::ablation).collect(),
        ),
        section(
            "Scores",
            "How each method's scores are distributed. What lies right of the threshold is taken for one of the classes; the less the sets overlap, the better.",
            figures.scores.iter().map(chart::scores).collect(),
        ),
        section(
            "ROC curves",
            "For every threshold: how many in-distribution images are kept against how many others are taken for them. Up and to the left is better. Of more than eight methods, the first eight of the table are drawn.",
            figures.roc.iter().map(chart::roc).collect(),
        ),
        section(
            "Similarity to the prompts",
            "Cosines between image and prompt features: in-distribution images should be near their positive prompts and far from the negative ones.",
            figures.similarities.iter().map(chart::similarity).collect(),
        ),
        section(
            "Reliability",
            "How often the first choice is right by how sure it is. On the diagonal, probabilities mean what they say; below it, the method is too sure of itself.",
            figures.reliability.iter().map(chart::reliability).collect(),
        ),
        section(
            "Map",
            "Images and prompts laid out so that neighbours in the joint space are neighbours here (t-SNE); distances between far groups mean little.",
            figures.map.iter().map(chart::map).collect(),
        ),
        section(
            "Training",
            "The losses of both stages.",
            figures.losses.iter().map(chart::losses).collect(),
        ),
    ];
    all.into_iter()
        .filter(|section| !section.plots.is_empty())
        .collect()
}

/// Every figure as SVG and PNG, with its caption and legend.
pub fn gallery(figures: &Figures) -> Result<Vec<Drawn>> {
    let mut drawn: Vec<Drawn> = Vec::new();
    for section in sections(figures) {
        for plot in &section.plots {
            let base = file_name(&format!("{} {}", section.title, plot.caption));
            let taken = |name: &str| drawn.iter().any(|other| other.name == name);
            let numbered = (2..).map(|number| format!("{base}-{number}"));
            let mut names = std::iter::once(base.clone()).chain(numbered);
            let name = names.find(|name| !taken(name)).unwrap_or(base);
            let whole = plot.whole();
            drawn.push(Drawn {
                name,
                svg: svg::file(&whole, &plot.title, &plot.description).into_bytes(),
                png: png::file(&whole)?,
            });
        }
    }
    Ok(drawn)
}

/// Words as a file name: lower case, other characters than letters and digits as one hyphen.
fn file_name(words: &str) -> String {
    let plain: String = words
        .to_lowercase()
        .chars()
        .map(|character| match character.is_ascii_alphanumeric() {
            true => character,
            false => ' ',
        })
        .collect();
    let name = plain.split_whitespace().collect::<Vec<_>>().join("-");
    name.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::super::test_report::report;
    use super::*;

    #[test]
    fn every_figure_is_there_twice_under_a_name_of_its_own() {
        let mut figures = report().figures;
        figures.scores.push(figures.scores[0].clone());
        let drawn = gallery(&figures).unwrap();
        assert_eq!(drawn.len(), 8);
        for (place, figure) in drawn.iter().enumerate() {
            assert!(drawn[..place].iter().all(|other| other.name != figure.name));
            let svg = std::str::from_utf8(&figure.svg).unwrap();
            assert!(
                svg.starts_with("<svg xmlns") && !svg.contains("<of>"),
                "{svg}"
            );
            let painted = image::load_from_memory(&figure.png).unwrap();
            assert!(painted.width() > 1000, "{}", figure.name);
        }
        assert!(
            drawn
                .iter()
                .any(|figure| figure.name == "roc-curves-drawings")
        );
    }
}
