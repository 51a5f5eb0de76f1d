//! Contexts being learned: their text features, and the gradient back to them.

use burn::tensor::{Tensor, TensorData};

use super::PromptEncoder;
use crate::clip::TextTower;
use crate::clip::text::direct::{DirectTextTower, Suffixes, Tape};

/// Activations that are kept for the way back on the CPU if nothing else is said, in bytes; what a
/// step needs beyond them is computed twice. Those of 1,000 classes and two contexts in ViT-B/16's text
/// tower fit in.
pub const ACTIVATION_MEMORY: usize = 5 << 29;

/// A frozen text tower behind a class list.
///
/// On a GPU the work is done by Burn's operations and its autodiff, on the CPU by
/// [`DirectTextTower`], which is several times as fast there. Which one runs is decided by the
/// device, here and nowhere else.
pub struct ContextEncoder {
    tower: TextTower,
    prompts: PromptEncoder,
    /// Those of the classes that take part in the next losses, if not all.
    selected: Option<PromptEncoder>,
    class_specific: bool,
    activation_memory: usize,
    direct: Option<Direct>,
}

struct Direct {
    tower: DirectTextTower,
    /// Of all classes.
    every: Suffixes,
    /// Of the classes that are encoded now.
    suffixes: Suffixes,
    tape: Tape,
}

/// A loss, and its gradient with respect to the contexts.
pub struct LossGradient {
    /// The loss.
    pub loss: f32,
    /// `[contexts, k or 1, M, width]`, outside autodiff.
    pub gradient: Tensor<4>,
}

impl ContextEncoder {
    /// `tower`: frozen, on a device that records gradients. `class_specific`: each class has
    /// contexts of its own.
    pub fn new(tower: TextTower, prompts: PromptEncoder, class_specific: bool) -> Self {
        let direct = DirectTextTower::new(tower.clone()).map(|direct| {
            let every = Suffixes::new(&tower.tokens(), prompts.start(), prompts.suffixes());
            Direct {
                tower: direct,
                suffixes: every.clone(),
                every,
                tape: Tape::default(),
            }
        });
        Self {
            tower,
            prompts,
            selected: None,
            class_specific,
            activation_memory: ACTIVATION_MEMORY,
            direct,
        }
    }

    /// Keeps at most as many bytes of activations on the CPU as `bytes` says, instead of
    /// [`ACTIVATION_MEMORY`]. Gradients are the same to the last bit, whatever it is.
    pub fn with_activation_memory(self, bytes: usize) -> Self {
        Self {
            activation_memory: bytes,
            ..self
        }
    }

    /// The tower.
    pub fn tower(&self) -> &TextTower {
        &self.tower
    }

    /// The class list.
    pub fn prompts(&self) -> &PromptEncoder {
        &self.prompts
    }

    /// Lets the next losses see `classes` only, in that order, or all again. Contexts that are
    /// class-specific have to be selected by the caller.
    pub fn select(&mut self, classes: Option<&[usize]>) {
        if classes.is_none() && self.selected.is_none() {
            return;
        }
        self.selected = classes.map(|classes| self.prompts.select(classes));
        if let Some(direct) = &mut self.direct {
            direct.suffixes = match classes {
                Some(classes) => direct.every.select(classes),
                None => direct.every.clone(),
            };
        }
    }

    /// Contexts `[contexts, k or 1, M, width]` → text features `[contexts, k, d]` of all classes,
    /// not normalised, outside autodiff.
    pub fn encode(&mut self, contexts: Tensor<4>) -> Tensor<3> {
        self.select(None);
        match &mut self.direct {
            Some(direct) => {
                let device = contexts.device().inner();
                let (features, shape) = direct.encode(&contexts, self.class_specific, 0);
                Tensor::from_data(TensorData::new(features, shape), &device)
            }
            None => {
                let contexts = Tensor::from_inner(contexts.inner());
                let prompts = &self.prompts;
                recorded(&self.tower, prompts, contexts, self.class_specific).inner()
            }
        }
    }

    /// Multiplications with weights in the last pass and its way back; none where Burn does the
    /// work, which does not count them.
    pub fn multiplications(&self) -> Option<usize> {
        let direct = self.direct.as_ref()?;
        Some(direct.tape.multiplications())
    }

    /// The loss of the text features `[contexts, k, d]`, not normalised, of contexts
    /// `[contexts, k or 1, M, width]` outside autodiff, and its gradient.
    ///
    /// None when `loss` does not depend on the features.
    pub fn loss_gradient(
        &mut self,
        contexts: Tensor<4>,
        loss: impl FnOnce(Tensor<3>) -> Tensor<1>,
    ) -> Option<LossGradient> {
        match &mut self.direct {
            Some(direct) => {
                let (features, shape) =
                    direct.encode(&contexts, self.class_specific, self.activation_memory);
                let features = TensorData::new(features, shape);
                let features = Tensor::<3>::from_data(features, &self.tower.device());
                let features = features.require_grad();
                let loss = loss(features.clone());
                let value = loss.clone().into_scalar();
                let gradient = features.grad(&loss.backward())?;
                let gradient: Vec<f32> = gradient.into_data().iter().collect();
                let gradient = direct
                    .tower
                    .gradient(&direct.suffixes, &mut direct.tape, &gradient);
                let gradient = TensorData::new(gradient, contexts.dims());
                Some(LossGradient {
                    loss: value,
                    gradient: Tensor::from_data(gradient, &contexts.device()),
                })
            }
            None => {
                let contexts = Tensor::from_inner(contexts).require_grad();
                let prompts = self.selected.as_ref().unwrap_or(&self.prompts);
                let features =
                    recorded(&self.tower, prompts, contexts.clone(), self.class_specific);
                let loss = loss(features);
                Some(LossGradient {
                    loss: loss.clone().into_scalar(),
                    gradient: contexts.grad(&loss.backward())?,
                })
            }
        }
    }
}

impl Direct {
    fn encode(
        &mut self,
        contexts: &Tensor<4>,
        class_specific: bool,
        memory: usize,
    ) -> (Vec<f32>, [usize; 3]) {
        let count = contexts.dims()[0];
        let values: Vec<f32> = contexts.to_data().iter().collect();
        let (suffixes, tape) = (&self.suffixes, &mut self.tape);
        let features = self
            .tower
            .encode(&values, count, !class_specific, suffixes, memory, tape);
        let shape = [count, suffixes.classes(), self.tower.embed_dim()];
        (features, shape)
    }
}

/// Contexts `[contexts, k or 1, M, width]` → text features `[contexts, k, d]` by Burn's operations.
fn recorded(
    tower: &TextTower,
    prompts: &PromptEncoder,
    contexts: Tensor<4>,
    class_specific: bool,
) -> Tensor<3> {
    let [count, _, tokens, width] = contexts.dims();
    if class_specific {
        prompts.encode_class_specific(tower, contexts)
    } else {
        prompts.encode(tower, contexts.reshape([count, tokens, width]))
    }
}
