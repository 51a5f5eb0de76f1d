//! A small deterministic source of test inputs (SplitMix64).

pub(crate) struct Generator {
    state: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number in `0..bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// A number in `[low, high)`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
        low + unit * (high - low)
    }

    /// `count` scores; with `levels` they fall on that many values, so that many tie.
    pub(crate) fn scores(&mut self, count: usize, shift: f64, levels: Option<usize>) -> Vec<f64> {
        (0..count)
            .map(|_| match levels {
                Some(levels) => (self.below(levels) as f64 + (2.0 * shift).floor()) / 8.0,
                None => self.between(-1.0, 1.0) + shift,
            })
            .collect()
    }

    /// ID and OOD scores of random sizes; three rounds in four with ties.
    pub(crate) fn id_and_ood(&mut self, round: usize) -> (Vec<f64>, Vec<f64>) {
        let levels = [None, Some(1), Some(3), Some(12)][round % 4];
        let (id_count, ood_count) = (1 + self.below(40), 1 + self.below(40));
        let shift = self.between(-0.2, 0.8);
        (
            self.scores(id_count, shift, levels),
            self.scores(ood_count, 0.0, levels),
        )
    }
}
