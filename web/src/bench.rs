//! What `cargo xtask bench score --browser` times: the scoring of many images, and a bare matrix
//! product. No part of the page.

#[cfg(target_arch = "wasm32")]
mod timed {
    use burn::tensor::{Device, Tensor, TensorData};
    use shared::score::{ClassFeatures, Method, NegPrompt, score_all};
    use wasm_bindgen::prelude::*;

    const LOGIT_SCALE: f32 = 100.0;

    /// Milliseconds that Burn's CPU backend takes for a product of f32 matrices.
    #[wasm_bindgen]
    pub fn product(rows: usize, columns: usize, depth: usize) -> Result<f64, JsValue> {
        let device = Device::flex();
        let draw = |rows: usize, columns: usize| {
            let data = TensorData::new(unit_rows(rows, columns), [rows, columns]);
            Tensor::<2>::from_data(data, &device)
        };
        let (a, b) = (draw(rows, depth), draw(depth, columns));
        let began = now()?;
        let product = a.matmul(b);
        let took = now()? - began;
        keep(product.slice([0..1, 0..1]).into_scalar::<f32>());
        Ok(took)
    }

    /// Milliseconds that NegPrompt's score of image features against k(1 + p) text features takes.
    #[wasm_bindgen]
    pub fn score(
        classes: usize,
        negatives: usize,
        images: usize,
        width: usize,
    ) -> Result<f64, JsValue> {
        let features = ClassFeatures {
            embed_dim: width,
            logit_scale: LOGIT_SCALE,
            positive: unit_rows(classes, width),
            negative: unit_rows(negatives * classes, width),
            ..ClassFeatures::default()
        };
        let images = unit_rows(images, width);
        let settings = NegPrompt.default_settings(LOGIT_SCALE);
        let said = |error: shared::score::ScoreError| JsValue::from(error.to_string());
        let began = now()?;
        let scores = features
            .each_block(&images, None, |similarities| {
                score_all(&NegPrompt, similarities, &settings)
            })
            .map_err(said)?;
        let took = now()? - began;
        keep(scores.first().copied());
        Ok(took)
    }

    /// A result that is looked at is computed.
    fn keep<T>(value: T) {
        std::hint::black_box(value);
    }

    fn now() -> Result<f64, JsValue> {
        let performance = web_sys::window().and_then(|window| window.performance());
        Ok(performance.ok_or("there is no clock")?.now())
    }

    /// `[rows, width]`, each of length 1.
    fn unit_rows(rows: usize, width: usize) -> Vec<f32> {
        let mut state = 1u32;
        let mut values: Vec<f32> = (0..rows * width)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        for row in values.chunks_exact_mut(width) {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            row.iter_mut().for_each(|value| *value /= length);
        }
        values
    }
}

#[cfg(target_arch = "wasm32")]
fn main() {
    web::constructors::run();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    eprintln!("This program runs in a browser: `cargo xtask bench score --browser` starts it.");
    std::process::exit(2);
}
