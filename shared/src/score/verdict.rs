use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether an image belongs to the classes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// To one of the classes.
    In,
    /// To none of them.
    Out,
}

impl Verdict {
    /// [`Verdict::In`] when `score >= threshold`, as in all metrics; a NaN is out.
    pub fn from_score(score: f64, threshold: f64) -> Self {
        if score >= threshold {
            Self::In
        } else {
            Self::Out
        }
    }

    /// `"in"` or `"out"`, as in files and attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_is_in() {
        assert_eq!(Verdict::from_score(1.0, 1.0), Verdict::In);
        assert_eq!(Verdict::from_score(0.999, 1.0), Verdict::Out);
        assert_eq!(Verdict::from_score(f64::NAN, 1.0), Verdict::Out);
        assert_eq!(serde_json::to_string(&Verdict::Out).unwrap(), "\"out\"");
        assert_eq!(Verdict::In.to_string(), "in");
    }
}
