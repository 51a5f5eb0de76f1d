//! A photo of the user's, from file to verdict.

use shared::score::{ScoreScale, Verdict, method};
use web::message::{MethodScore, Opened, Reading};
use web::record::{ClassShare, Record};
use web::wording;
use web_sys::{Blob, Url};

use super::card::Card;
use super::{folder, method_panel};

/// A photo and what is known of it.
pub struct Photo {
    /// Name of the file.
    pub name: String,
    /// The name with the folders below the one that was chosen, on the card alone: what is taken away
    /// holds no path.
    pub shown: String,
    /// The file.
    pub blob: Blob,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether it was read, and waits to be read again.
    pub again: bool,
    /// Whether its scores are of other classes than those that count.
    pub stale: bool,
    /// Why it could not be read again; what it was read before still stands.
    pub again_failed: Option<String>,
    /// Its card, once there is something to show.
    pub card: Option<Card>,
    /// Address of its thumbnail.
    pub thumbnail: Option<String>,
    /// What a program said of its failure; empty for nothing.
    pub detail: String,
}

/// What came of a photo.
pub enum Outcome {
    /// It waits in the queue.
    Waiting,
    /// It was read, on the device of this kind and name.
    Read(Box<Reading>, &'static str, String),
    /// It could not be read.
    Unreadable(String),
}

/// What a verdict depends on besides the photo.
pub struct Standard<'a> {
    /// The loaded bundle.
    pub opened: &'a Opened,
    /// The classes that now count.
    pub classes: &'a [String],
    /// The chosen method.
    pub method: &'a str,
    /// Its threshold.
    pub threshold: f64,
    /// With edited classes: the scores that the method gives to the bundle's photos of none of
    /// its classes, ascending.
    pub outsiders: Option<&'a [f64]>,
}

impl Standard<'_> {
    /// The method's name for people.
    pub fn method_name(&self) -> &str {
        method(self.method).map_or(self.method, |method| method.name())
    }

    /// What the method's scores mean.
    pub fn scale(&self) -> ScoreScale {
        method(self.method).map_or(ScoreScale::Logit, |method| method.scale())
    }

    /// The scores between which gauges and the slider run.
    pub fn range(&self) -> (f64, f64) {
        if let Some(range) = self.outsiders.and_then(web::edited::range) {
            return range;
        }
        let entry = self
            .opened
            .methods
            .iter()
            .find(|entry| entry.id == self.method);
        entry
            .and_then(|entry| web::plot::range(&entry.calibration))
            .unwrap_or((self.threshold - 1.0, self.threshold + 1.0))
    }

    /// How rare a score is, in words: among photos that belong, or, with edited classes, among
    /// those that do not.
    pub fn rarity(&self, score: &MethodScore) -> String {
        match self.outsiders {
            None => wording::rarity(score.p_value),
            Some(outsiders) => wording::among_outsiders(web::edited::share_at_or_above(
                outsiders,
                score.explanation.score,
            )),
        }
    }

    /// A class's name.
    pub fn class(&self, index: usize) -> &str {
        self.classes.get(index).map_or("?", String::as_str)
    }
}

impl Photo {
    /// A photo that waits.
    pub fn new(name: String, blob: Blob) -> Self {
        let path = folder::path_of(&blob);
        let below = path.and_then(|path| Some(path.split_once('/')?.1.to_owned()));
        Self {
            shown: below.unwrap_or_else(|| name.clone()),
            name,
            blob,
            outcome: Outcome::Waiting,
            again: false,
            stale: false,
            again_failed: None,
            card: None,
            thumbnail: None,
            detail: String::new(),
        }
    }

    /// Whether it had a verdict and will have one.
    pub fn is_read_again(&self) -> bool {
        self.again || matches!(self.outcome, Outcome::Waiting)
    }

    /// What was read, if it was.
    pub fn reading(&self) -> Option<&Reading> {
        match &self.outcome {
            Outcome::Read(reading, ..) => Some(reading),
            _ => None,
        }
    }

    /// What the chosen method says of it.
    pub fn score<'a>(&'a self, standard: &Standard) -> Option<&'a MethodScore> {
        self.reading()?.scores.method(standard.method)
    }

    /// The verdict, when there is a score.
    pub fn verdict(&self, standard: &Standard) -> Option<Verdict> {
        let score = self.score(standard)?.explanation.score;
        Some(Verdict::from_score(score, standard.threshold))
    }

    /// The verdict as a screen reader says it.
    pub fn sentence(&self, standard: Option<&Standard>) -> String {
        if let Outcome::Unreadable(message) = &self.outcome {
            return format!("{}: not read. {message}", self.name);
        }
        let verdict = standard.and_then(|standard| {
            let score = self.score(standard)?;
            Some(match self.verdict(standard)? {
                Verdict::In => format!("in, {}", standard.class(score.explanation.predicted)),
                Verdict::Out => "out, none of these".to_owned(),
            })
        });
        let verdict = verdict.unwrap_or_else(|| match self.is_read_again() {
            true => "being read again".to_owned(),
            false => "no verdict".to_owned(),
        });
        format!("{}: {verdict}.", self.name)
    }

    /// Keeps what is known of a photo that could not be read again, or says that it was not read.
    pub fn fail(&mut self, message: String) {
        self.detail.clear();
        match self.outcome {
            Outcome::Read(..) => self.again_failed = Some(message),
            _ => self.outcome = Outcome::Unreadable(message),
        }
    }

    /// Why a photo that was read has no score by the chosen method.
    pub fn lack(&self, standard: &Standard) -> String {
        let name = standard.method_name();
        if self.again {
            return format!("It is read again, for {name}.");
        }
        if !method_panel::is_usable(standard.method, standard.outsiders.is_some()) {
            return format!("{name} cannot score against edited classes; choose another method.");
        }
        if let Some(message) = &self.again_failed {
            return format!("It could not be read again for {name}. {message}");
        }
        format!(
            "It was not read again for {name}, because that was cancelled: choose another method and then this one, or choose the photo again."
        )
    }

    /// The verdict to take away.
    pub fn record(&self, standard: &Standard) -> Record {
        let mut record = Record {
            file: self.name.clone(),
            verdict: "error",
            ..Record::default()
        };
        match &self.outcome {
            Outcome::Waiting => record.error = Some("not read yet".to_owned()),
            Outcome::Unreadable(error) => record.error = Some(error.clone()),
            Outcome::Read(reading, _, device) => {
                record.device.clone_from(device);
                record.milliseconds = Some(reading.timings.together());
            }
        }
        if self.reading().is_some() && self.score(standard).is_none() {
            record.error = Some(self.lack(standard));
        }
        if let Some(score) = self.score(standard) {
            let explanation = &score.explanation;
            record.verdict = Verdict::from_score(explanation.score, standard.threshold).as_str();
            record.class = Some(standard.class(explanation.predicted).to_owned());
            record.score = Some(explanation.score);
            record.threshold = Some(standard.threshold);
            record.class_list = match standard.outsiders {
                None => "bundle",
                Some(_) => "edited",
            };
            record.p_value = standard.outsiders.is_none().then_some(score.p_value);
            record.outsider_rate = standard
                .outsiders
                .and_then(|scores| web::edited::share_at_or_above(scores, explanation.score));
            record.method = Some(standard.method_name().to_owned());
            record.none = Some(explanation.none);
            record.top5 = explanation
                .top
                .iter()
                .zip(explanation.shares())
                .map(|(entry, share)| ClassShare {
                    class: standard.class(entry.class).to_owned(),
                    probability: entry.probability,
                    share,
                })
                .collect();
        }
        record
    }
}

impl Drop for Photo {
    fn drop(&mut self) {
        if let Some(thumbnail) = &self.thumbnail {
            // An address that is not known any more is no loss.
            let _ = Url::revoke_object_url(thumbnail);
        }
    }
}
