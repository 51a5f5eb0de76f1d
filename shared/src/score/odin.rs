use super::msp::probe_probabilities;
use super::softmax::{argmax, finite, softmax};
use super::{Input, Method, MethodSettings, Probe, ScoreError, ScoreScale, Similarities};

/// `T` of ODIN, also of the gradient that moves the input.
pub const ODIN_TEMPERATURE: f32 = 1000.0;

/// `ε` of ODIN: the step of each entry of the classifier's input.
///
/// The paper's, of pixels between 0 and 1. On the unit-length image feature it is in parts of the root
/// mean square of the entries, `1 / √d`.
pub const ODIN_STEP: f32 = 0.0014;

/// ODIN: the largest softmax probability of the linear probe at a high temperature, after a small
/// step of its input towards the class that it names.
///
/// ```text
/// u~ = u + ε · sign(∇_u ln softmax_b(logits(u) / T))     b = argmax_i logits_i(u)
/// score = T · (log-odds of max_i softmax_i(logits(u~) / T) − log-odds of 1 / k)
/// ```
///
/// `T` is 1000 and `ε` 0.0014, the paper's. At that temperature every probability is `1 / k` to three
/// digits; the score is their log-odds against `1 / k`, in logits, which ranks alike. ODIN moves the
/// pixels, back through the whole network; the trainer does that with images at hand (`bench
/// --odin-pixels`). Here the tower is frozen and the network that was trained is the probe, whose input is
/// the unit-length image feature `u`: the step is taken there, with the same result from kept features,
/// from images and in the browser, and its gradient has a closed form.
///
/// Source: Liang et al., *Enhancing The Reliability of Out-of-distribution Image Detection in Neural
/// Networks*, ICLR 2018.
pub struct Odin;

impl Method for Odin {
    fn id(&self) -> &'static str {
        "odin"
    }

    fn name(&self) -> &'static str {
        "ODIN"
    }

    fn equation(&self) -> &'static str {
        "max_i softmax_i(logits / T) of a linear probe on the feature moved towards its class, as log-odds against 1 / k"
    }

    fn source(&self) -> &'static str {
        "Liang et al., Enhancing The Reliability of Out-of-distribution Image Detection in Neural \
         Networks, ICLR 2018"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::PerturbedProbe, Input::Probe]
    }

    fn scale(&self) -> ScoreScale {
        ScoreScale::Logit
    }

    fn default_settings(&self, _logit_scale: f32) -> MethodSettings {
        MethodSettings::at_temperature(ODIN_TEMPERATURE)
    }

    fn score(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<f64, ScoreError> {
        settings.check()?;
        let logits = similarities.require(self.name(), Input::PerturbedProbe)?;
        let temperature = f64::from(settings.temperature);
        if logits.len() < 2 {
            return Err(ScoreError::OneClass {
                method: self.name(),
            });
        }
        let best = argmax(logits);
        let others = || {
            let all = logits.iter().enumerate();
            all.filter_map(|(class, logit)| (class != best).then_some(f64::from(*logit)))
        };
        // As it stands in the equation, a high temperature would multiply what rounding leaves of a
        // difference of logarithms that are nearly equal.
        let second = others().fold(f64::NEG_INFINITY, f64::max);
        let below: f64 = others()
            .map(|logit| ((logit - second) / temperature).exp_m1())
            .sum();
        let mean = (below / (logits.len() - 1) as f64).ln_1p() * temperature;
        finite(self.name(), f64::from(logits[best]) - second - mean)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        probe_probabilities(self, similarities, settings)
    }
}

/// How far ODIN moves each entry of a unit-length image feature of this width, `ε`.
pub fn odin_step(width: usize) -> f32 {
    ODIN_STEP / (width as f32).sqrt()
}

/// Unit-length image features `[images, d]` moved by `step` towards the class that the probe names for
/// each, by their `logits` `[images, k]`.
///
/// The gradient of `ln softmax_b(logits / T)` is `(w_b − Σ_i softmax_i(logits / T) w_i) / T`.
pub(super) fn moved_to_class(
    mut units: Vec<f32>,
    logits: &[f32],
    probe: &Probe,
    step: f32,
) -> Vec<f32> {
    let classes = probe.bias.len();
    let width = probe.weight.len().checked_div(classes).unwrap_or(0);
    if width == 0 {
        return units;
    }
    let mut gradient = vec![0.0f64; width];
    for (unit, logits) in units
        .chunks_exact_mut(width)
        .zip(logits.chunks_exact(classes))
    {
        let named = argmax(logits);
        gradient.fill(0.0);
        let shares = softmax(logits, 1.0 / f64::from(ODIN_TEMPERATURE));
        for (class, (share, weights)) in shares
            .iter()
            .zip(probe.weight.chunks_exact(width))
            .enumerate()
        {
            let factor = f64::from(u8::from(class == named)) - share;
            for (gradient, weight) in gradient.iter_mut().zip(weights) {
                *gradient += factor * f64::from(*weight);
            }
        }
        for (value, gradient) in unit.iter_mut().zip(&gradient) {
            if *gradient != 0.0 {
                *value += step.copysign(*gradient as f32);
            }
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_high_temperature_it_is_the_margin_over_the_mean_of_the_others() {
        let similarities = Similarities::default()
            .with(Input::PerturbedProbe, &[5.0, 1.0, 2.0, 0.0])
            .with(Input::Probe, &[4.0, 1.0, 2.0, 0.0]);
        let settings = Odin.default_settings(100.0);
        let score = Odin.score(&similarities, &settings).unwrap();
        assert!((score - 4.0).abs() < 0.01, "{score}");
    }

    #[test]
    fn it_is_what_the_equation_says_and_stands_any_temperature() {
        let logits = [5.0f32, 1.0, 2.0, 0.0];
        let similarities = Similarities::default()
            .with(Input::PerturbedProbe, &logits)
            .with(Input::Probe, &logits);
        let score = |temperature: f32| {
            let settings = MethodSettings::at_temperature(temperature);
            Odin.score(&similarities, &settings).unwrap()
        };
        for temperature in [0.5f32, 2.0, 30.0] {
            let share = |logit: f32| f64::from(logit / temperature).exp();
            let others: f64 = logits[1..].iter().map(|logit| share(*logit)).sum();
            let log_odds = (share(5.0) / others).ln();
            let wanted = f64::from(temperature) * (log_odds + 3f64.ln());
            assert!((score(temperature) - wanted).abs() < 1e-6, "{temperature}");
        }
        assert!((score(1e30) - 4.0).abs() < 1e-9);
        assert!((score(1e-30) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn the_step_is_uphill_and_as_long_as_it_should_be() {
        let probe = Probe {
            weight: vec![1.0, 0.0, 0.0, 2.0, -1.0, 0.0],
            bias: vec![0.0, 0.0, 0.5],
        };
        // The second class is named; its weights less the mean of all: (0, 4/3).
        let step = odin_step(2);
        let moved = moved_to_class(vec![0.6, 0.8], &[0.6, 1.6, -0.1], &probe, step);
        assert!((moved[1] - 0.8 - step).abs() < 1e-7, "{moved:?}");
        assert!((moved[0] - 0.6).abs() <= step + 1e-7);
        assert!((step - 0.0014 / 2f32.sqrt()).abs() < 1e-9);
    }
}
