//! One stage of prompt learning: contexts, their optimizer, and where they stand.

use anyhow::{Context, Result, bail};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{Optimizer, RecordState, Sgd, SgdConfig, SgdState, StateSink, StateSource};
use burn::tensor::{Device, Tensor, TensorData};
use shared::bundle::{TensorValues, Tensors};
use shared::prompt::LossGradient;

/// Share of the steps over which the learning rate rises from zero.
const WARM_UP: f64 = 0.05;

/// Name under which the optimizer's state stands in a checkpoint.
const STATE: &str = "optimizer";

/// Contexts being learned by SGD with momentum and a cosine schedule.
///
/// This is a loop of its own rather than Burn's `Learner`: a step needs no data loader (the
/// features of all images are in memory), no model in training mode (CLIP is frozen) and a
/// checkpoint of a few kilobytes; the optimizer is Burn's.
pub struct ContextLearner {
    optimizer: Sgd,
    state: Option<SgdState<4>>,
    /// `[contexts, k or 1, M, width]`, outside autodiff.
    contexts: Tensor<4>,
    peak_rate: f64,
    steps: usize,
    losses: Vec<f32>,
}

impl ContextLearner {
    /// Starts from `contexts` `[contexts, k or 1, M, width]`.
    pub fn new(contexts: Tensor<4>, steps: usize, peak_rate: f64) -> Self {
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        Self {
            optimizer: SgdConfig::new().with_momentum(Some(momentum)).build(),
            state: None,
            contexts: contexts.inner(),
            peak_rate,
            steps,
            losses: Vec::with_capacity(steps),
        }
    }

    /// Steps in all.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Steps done.
    pub fn step(&self) -> usize {
        self.losses.len()
    }

    /// Whether all steps are done.
    pub fn is_finished(&self) -> bool {
        self.step() >= self.steps
    }

    /// Loss of every step so far.
    pub fn losses(&self) -> &[f32] {
        &self.losses
    }

    /// The contexts as they are, `[contexts, k or 1, M, width]`, outside autodiff.
    pub fn contexts(&self) -> Tensor<4> {
        self.contexts.clone()
    }

    /// One step down the gradient that `evaluate` finds at the contexts; returns the loss.
    ///
    /// # Errors
    /// When the loss is not finite: the contexts stay as they were before the step.
    pub fn advance(
        &mut self,
        evaluate: impl FnOnce(Tensor<4>) -> Option<LossGradient>,
    ) -> Result<f32> {
        let LossGradient { loss, gradient } =
            evaluate(self.contexts.clone()).context("the loss does not depend on the contexts")?;
        if !loss.is_finite() {
            bail!(
                "the loss is {loss} at step {}; lower the learning rate (--positive-rate, \
                 --negative-rate)",
                self.step() + 1
            );
        }
        let (contexts, state) = self.optimizer.step(
            self.rate(),
            self.contexts.clone(),
            gradient,
            self.state.take(),
        );
        self.contexts = contexts;
        self.state = state;
        self.losses.push(loss);
        Ok(loss)
    }

    /// The learning rate of the next step: a linear rise, then half a cosine.
    pub fn rate(&self) -> f64 {
        let step = self.step() as f64 + 1.0;
        let steps = self.steps.max(1) as f64;
        let warm_up = (steps * WARM_UP).max(1.0);
        if step < warm_up {
            return self.peak_rate * step / warm_up;
        }
        let progress = (step - warm_up) / (steps - warm_up).max(1.0);
        self.peak_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
    }

    /// Everything that a later run needs to go on exactly here.
    pub fn to_tensors(&self) -> Result<Tensors> {
        let mut sink = StateSink::default();
        if let Some(state) = &self.state {
            state.state_flatten(STATE, &mut sink);
        }
        sink.tensors
            .push(("contexts".into(), self.contexts.to_data()));
        let losses = TensorData::new(self.losses.clone(), [self.losses.len()]);
        sink.tensors.push(("losses".into(), losses));
        sink.tensors
            .into_iter()
            .map(|(name, data)| {
                let shape = data.shape().to_vec();
                let values = data
                    .try_into_vec::<f32>()
                    .context("a tensor that is not f32")?;
                Ok((name, TensorValues { shape, values }))
            })
            .collect()
    }

    /// Goes on from [`to_tensors`](Self::to_tensors) of an equal learner.
    ///
    /// # Errors
    /// When the checkpoint is of contexts of another shape or of more steps than this run has.
    pub fn restore(&mut self, tensors: &Tensors) -> Result<()> {
        let contexts = tensors
            .get("contexts")
            .context("the checkpoint has no `contexts`")?;
        if contexts.shape != self.contexts.dims() {
            bail!(
                "the checkpoint holds contexts of shape {:?}, this run learns {:?}; start afresh \
                 without --resume",
                contexts.shape,
                self.contexts.dims()
            );
        }
        let losses = tensors
            .get("losses")
            .context("the checkpoint has no `losses`")?;
        if losses.values.len() > self.steps {
            bail!(
                "the checkpoint stands at step {}, this run has {} steps; start afresh without \
                 --resume",
                losses.values.len(),
                self.steps
            );
        }
        let device: Device = self.contexts.device();
        let mut source = StateSource::default();
        for (name, tensor) in tensors {
            let data = TensorData::new(tensor.values.clone(), tensor.shape.clone());
            source.insert_tensor(name.clone(), data);
        }
        let data = TensorData::new(contexts.values.clone(), contexts.shape.clone());
        self.contexts = Tensor::from_data(data, &device);
        self.state = SgdState::state_unflatten(STATE, &mut source, &device)
            .filter(|state| state.momentum.is_some());
        self.losses = losses.values.clone();
        Ok(())
    }
}
