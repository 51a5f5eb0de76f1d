/// `value` rounded down to 12 significant decimal digits, for what is stored as JSON.
///
/// Written out in full, an `f64` has 17 digits, and a fast JSON reader may be wrong in the last
/// one: neighbours could change places. With 12 they cannot, and the file is shorter. Rounding
/// *down* a threshold keeps at least as many images, and rounding down calibration scores makes
/// p-values no smaller, so that what is promised of both still holds.
pub(crate) fn rounded_down(value: f64) -> f64 {
    let nearest = with_digits(value);
    if nearest <= value {
        return nearest;
    }
    // `nearest` is less than one unit of its last digit too high; this step is one to ten units.
    with_digits(nearest - nearest.abs() * 1e-11)
}

fn with_digits(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::super::generator::Generator;
    use super::*;

    #[test]
    fn is_never_above_and_never_far_below() {
        let mut generator = Generator::new(10);
        for round in 0..2000 {
            let scale = 10f64.powi(round % 40 - 20);
            let value = generator.between(-10.0, 10.0) * scale;
            let rounded = rounded_down(value);
            assert!(rounded <= value, "{value} {rounded}");
            assert!(
                value - rounded <= value.abs() * 2.1e-11,
                "{value} {rounded}"
            );
            assert_eq!(with_digits(rounded), rounded);
            let read: f64 = serde_json::from_str(&rounded.to_string()).unwrap();
            assert!((read - rounded).abs() <= rounded.abs() * f64::EPSILON);
        }
    }

    #[test]
    fn short_numbers_stay() {
        for value in [0.0, -0.0, 1.0, -0.125, 123_456.75, 1e-300, -2.5e30] {
            assert_eq!(rounded_down(value), value);
        }
    }
}
