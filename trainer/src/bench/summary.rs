//! Rows of several seeds as one table, with its figures.

use std::collections::BTreeMap;

use crate::report::{
    AblationFigure, AblationRow, Figures, MapFigure, MethodReport, MistakeReport,
    ReliabilityFigure, RocFigure, SetReport,
};

use super::row::{Row, TrialRecord};

/// What a suite found.
#[derive(Default)]
pub struct Summary {
    /// Means over seeds, with deviations, and what the first seed chose; best average first.
    pub methods: Vec<MethodReport>,
    /// Figures of the first seed.
    pub figures: Figures,
    /// The most confident mistakes of the best method, in the first seed.
    pub mistakes: Option<MistakeReport>,
}

/// Means and standard deviations over seeds; figures, thresholds and settings come from the first
/// seed, whose rows and record come first.
pub fn summarise(rows: &[Row], record: Option<&TrialRecord>) -> Summary {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        let same = |group: &&mut Vec<&Row>| {
            group.first().is_some_and(|first| {
                first.method.id == row.method.id && first.variant == row.variant
            })
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    let average = |method: &MethodReport| {
        let average = method.average.map_or((0.0, 0.0), |a| (a.auroc, a.fpr95));
        average.0 - average.1
    };
    let mut methods: Vec<(MethodReport, &Row)> = groups
        .iter()
        .filter_map(|group| Some((mean(group), *group.first()?)))
        .collect();
    methods.sort_by(|a, b| average(&b.0).total_cmp(&average(&a.0)));
    let mut figures = Figures::default();
    for (_, row) in &methods {
        figures.scores.push(row.scores.clone());
        if let Some(reliability) = &row.reliability {
            add_reliability(&mut figures.reliability, reliability);
        }
        for of_set in &row.roc {
            match figures.roc.iter_mut().find(|roc| roc.set == of_set.set) {
                Some(roc) => roc.curves.extend(of_set.curves.clone()),
                None => figures.roc.push(RocFigure {
                    set: of_set.set.clone(),
                    curves: of_set.curves.clone(),
                }),
            }
        }
    }
    if let Some(record) = record {
        figures.losses.clone_from(&record.losses);
        figures.similarities.clone_from(&record.similarities);
        figures.map = record.map.clone().map(|map| MapFigure { map });
    }
    let mistakes = methods.first().map(|(method, row)| MistakeReport {
        method: method.name.clone(),
        images: row.mistakes.clone(),
    });
    Summary {
        methods: methods.into_iter().map(|(method, _)| method).collect(),
        figures,
        mistakes: mistakes.filter(|mistakes| !mistakes.images.is_empty()),
    }
}

/// Average AUROC and FPR95 of each group of variants, mean and standard deviation over seeds.
///
/// `groups`: a title, and the names of the settings with the variants they are; the empty variant is the
/// one the others are measured against.
pub fn ablation_figures(
    rows: &[Row],
    groups: &[(&'static str, Vec<(String, String)>)],
) -> Vec<AblationFigure> {
    let report = |variant: &str| {
        let averages: Vec<&SetReport> = rows
            .iter()
            .filter(|row| row.variant == variant)
            .filter_map(|row| row.method.average.as_ref())
            .collect();
        (!averages.is_empty()).then(|| mean_of_sets(&averages))
    };
    type Rate = fn(&SetReport) -> (f64, Option<f64>);
    let rates: [(&str, Rate); 2] = [
        ("average AUROC, %", |set| (set.auroc, set.auroc_deviation)),
        ("average FPR95, %", |set| (set.fpr95, set.fpr95_deviation)),
    ];
    let mut figures = Vec::new();
    for (title, members) in groups {
        for (rate, of) in rates {
            let rows: Vec<AblationRow> = members
                .iter()
                .filter_map(|(name, variant)| {
                    let (rate, deviation) = of(&report(variant)?);
                    Some(AblationRow {
                        name: name.clone(),
                        own: variant.is_empty(),
                        rate,
                        deviation,
                    })
                })
                .collect();
            if rows.len() > 1 {
                figures.push(AblationFigure {
                    title: (*title).to_owned(),
                    rate: rate.to_owned(),
                    rows,
                });
            }
        }
    }
    figures
}

/// Methods that name the class alike share a diagram.
fn add_reliability(figures: &mut Vec<ReliabilityFigure>, figure: &ReliabilityFigure) {
    let same = |other: &&mut ReliabilityFigure| {
        (&other.curve.x, &other.curve.y) == (&figure.curve.x, &figure.curve.y)
    };
    match figures.iter_mut().find(same) {
        Some(other) => other.method = format!("{}, {}", other.method, figure.method),
        None => figures.push(figure.clone()),
    }
}

fn mean(group: &[&Row]) -> MethodReport {
    let of = |rate: &dyn Fn(&Row) -> Option<f64>| -> Option<f64> {
        let rates: Option<Vec<f64>> = group.iter().map(|row| rate(row)).collect();
        let rates = rates?;
        Some(rates.iter().sum::<f64>() / rates.len().max(1) as f64)
    };
    let first = group[0];
    // Threshold, settings and the share kept stay those of the first seed: they belong together, and no
    // threshold keeps what several keep on average.
    let mut method = first.method.clone();
    method.name = first.name();
    method.id_top1 = of(&|row| row.method.id_top1);
    method.ece = of(&|row| row.method.ece);
    method.seconds = of(&|row| Some(row.seconds));
    method.ood = first
        .method
        .ood
        .keys()
        .map(|set| {
            let reports: Vec<&SetReport> = group
                .iter()
                .filter_map(|row| row.method.ood.get(set))
                .collect();
            (set.clone(), mean_of_sets(&reports))
        })
        .collect::<BTreeMap<_, _>>();
    let averages: Vec<&SetReport> = group
        .iter()
        .filter_map(|row| row.method.average.as_ref())
        .collect();
    method.average = (!averages.is_empty()).then(|| mean_of_sets(&averages));
    method
}

/// Mean over seeds, with the sample standard deviation where there are several.
fn mean_of_sets(seeds: &[&SetReport]) -> SetReport {
    let mut mean = SetReport::average(seeds.iter().copied()).unwrap_or(SetReport {
        auroc: 0.0,
        fpr95: 0.0,
        aupr_in: None,
        aupr_out: None,
        oscr: None,
        auroc_deviation: None,
        fpr95_deviation: None,
    });
    let deviation = |rate: fn(&SetReport) -> f64, mean: f64| {
        (seeds.len() > 1).then(|| {
            let squares: f64 = seeds.iter().map(|set| (rate(set) - mean).powi(2)).sum();
            (squares / (seeds.len() - 1) as f64).sqrt()
        })
    };
    mean.auroc_deviation = deviation(|set| set.auroc, mean.auroc);
    mean.fpr95_deviation = deviation(|set| set.fpr95, mean.fpr95);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(auroc: f64, fpr95: f64) -> SetReport {
        SetReport {
            auroc,
            fpr95,
            aupr_in: None,
            aupr_out: None,
            oscr: None,
            auroc_deviation: None,
            fpr95_deviation: None,
        }
    }

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let seeds = [set(0.9, 0.2), set(0.92, 0.2), set(0.94, 0.5)];
        let mean = mean_of_sets(&seeds.iter().collect::<Vec<_>>());
        assert!((mean.auroc - 0.92).abs() < 1e-12);
        assert!((mean.auroc_deviation.unwrap() - 0.02).abs() < 1e-12);
        assert!((mean.fpr95_deviation.unwrap() - 0.03f64.sqrt()).abs() < 1e-12);
        assert_eq!(mean_of_sets(&[&seeds[0]]).auroc_deviation, None);
    }
}
