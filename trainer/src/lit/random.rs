//! Random draws that depend on the seed alone, on every platform.

/// SplitMix64 (Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The draws of one purpose: `stream` tells stages and steps apart.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self {
            state: seed ^ stream.wrapping_mul(0xD134_2543_DE82_EF95),
        };
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In `0..count`; 0 for none.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// `count` numbers in `0..bound`.
    pub fn indices(&mut self, count: usize, bound: usize) -> Vec<usize> {
        (0..count).map(|_| self.below(bound)).collect()
    }

    /// Standard normal (Box–Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }

    /// `count` normal draws of this standard deviation.
    pub fn normals(&mut self, count: usize, deviation: f32) -> Vec<f32> {
        (0..count).map(|_| self.normal() * deviation).collect()
    }
}

/// Things drawn in proportion to their weights.
#[derive(Clone, Debug)]
pub struct Weighted<T> {
    things: Vec<T>,
    /// Sums of the weights up to and including each thing.
    sums: Vec<f64>,
}

impl<T> Weighted<T> {
    /// Things with their weights.
    pub fn new(pairs: impl IntoIterator<Item = (T, f64)>) -> Self {
        let (mut things, mut sums, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for (thing, weight) in pairs {
            sum += weight;
            things.push(thing);
            sums.push(sum);
        }
        Self { things, sums }
    }

    /// One of the things; none only if there is none.
    pub fn draw(&self, random: &mut Random) -> Option<&T> {
        let at = random.uniform() * self.sums.last()?;
        let index = self.sums.partition_point(|&sum| sum <= at);
        self.things.get(index.min(self.things.len() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_for_a_seed_and_differ_between_streams() {
        let draw = |seed, stream| Random::new(seed, stream).indices(8, 1000);
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn normal_draws_have_mean_zero_and_variance_one() {
        let values = Random::new(7, 0).normals(20_000, 1.0);
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 20_000.0;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
    }

    #[test]
    fn weights_are_kept() {
        let coin = Weighted::new([("a", 3.0), ("never", 0.0), ("b", 1.0)]);
        let mut random = Random::new(1, 1);
        let drawn: Vec<_> = (0..4000).filter_map(|_| coin.draw(&mut random)).collect();
        let share = drawn.iter().filter(|thing| ***thing == "a").count() as f64 / 4000.0;
        assert!((share - 0.75).abs() < 0.03, "{share}");
        assert!(!drawn.contains(&&"never"));
    }
}
