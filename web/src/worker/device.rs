//! What to compute on.

use burn::tensor::Device;
use js_sys::{Function, Object, Promise, Reflect};
use shared::clip::ClipConfig;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web::message::{DeviceChoice, DeviceKind, DeviceReport, Report};
use web::wording;

use super::{browser, line};

/// Photos that a real GPU encodes at a time.
const GPU_BATCH: usize = 8;

/// A device, and what to say of it.
pub struct Chosen {
    /// Where tensors go.
    pub device: Device,
    /// Its description.
    pub report: DeviceReport,
    /// Photos to encode at a time.
    pub batch: usize,
}

/// A GPU as the browser describes it.
struct Adapter {
    name: String,
    software: bool,
    /// Most bytes in one buffer that a kernel reads.
    binding: f64,
}

/// WASM with SIMD, on this thread.
pub fn cpu(note: Option<String>) -> Chosen {
    let report = DeviceReport {
        kind: DeviceKind::Cpu,
        name: "CPU (WASM SIMD)".to_owned(),
        software: false,
        note,
        check: None,
    };
    Chosen {
        device: Device::flex(),
        report,
        batch: 1,
    }
}

/// The device that `choice` asks for, or the CPU with the reason why not.
pub async fn choose(choice: DeviceChoice, model: &ClipConfig) -> Chosen {
    if choice == DeviceChoice::Cpu {
        return cpu(None);
    }
    let adapter = match find().await {
        Ok(adapter) => adapter,
        Err(reason) => return cpu(Some(format!("{reason} So the CPU computes."))),
    };
    if adapter.software && choice == DeviceChoice::Auto {
        let note = format!(
            "The browser offers {}, a GPU imitated in software; the CPU backend is faster than that.",
            adapter.name
        );
        return cpu(Some(note));
    }
    let wanted = if adapter.software { 1 } else { GPU_BATCH };
    let buffers = model.largest_image_buffers();
    let Some(batch) = buffers.batch(adapter.binding as u64, wanted) else {
        return cpu(Some(wording::too_large_for(
            &adapter.name,
            adapter.binding as u64,
            &model.name,
            buffers.least(),
            &ClipConfig::published_within(adapter.binding as u64),
        )));
    };
    match Device::wgpu_options().init_with_setup_async().await {
        Ok((device, setup)) => {
            setup.device.set_device_lost_callback(|reason, message| {
                let message = if message.is_empty() {
                    format!("{reason:?}")
                } else {
                    message
                };
                line::send(&Report::DeviceLost { message });
            });
            let note = adapter.software.then(|| {
                "A GPU imitated in software is slow: choose CPU or Automatic to go faster."
                    .to_owned()
            });
            let report = DeviceReport {
                kind: DeviceKind::Gpu,
                name: adapter.name,
                software: adapter.software,
                note,
                check: None,
            };
            Chosen {
                device,
                report,
                batch,
            }
        }
        Err(error) => cpu(Some(format!(
            "{} could not be set up ({error}). So the CPU computes.",
            adapter.name
        ))),
    }
}

async fn find() -> Result<Adapter, String> {
    let gpu = browser::field(&browser::scope().navigator(), "gpu");
    if gpu.is_undefined() || gpu.is_null() {
        return Err("This browser has no WebGPU.".to_owned());
    }
    let options = Object::new();
    // Setting a field of an object made here cannot fail.
    let _ = Reflect::set(
        &options,
        &"powerPreference".into(),
        &"high-performance".into(),
    );
    let request: Function = browser::field(&gpu, "requestAdapter").unchecked_into();
    let refused = |error: JsValue| format!("WebGPU was refused ({}).", browser::said(&error));
    let promise: Promise = request
        .call1(&gpu, &options)
        .map_err(refused)?
        .unchecked_into();
    let adapter = JsFuture::from(promise).await.map_err(refused)?;
    if adapter.is_null() || adapter.is_undefined() {
        return Err("WebGPU is there, but gives no GPU.".to_owned());
    }
    let info = browser::field(&adapter, "info");
    let text = |name: &str| browser::field(&info, name).as_string().unwrap_or_default();
    let (vendor, architecture, description) =
        (text("vendor"), text("architecture"), text("description"));
    let everything = format!("{vendor} {architecture} {description}").to_lowercase();
    let software = browser::field(&info, "isFallbackAdapter").is_truthy()
        || browser::field(&adapter, "isFallbackAdapter").is_truthy()
        || [
            "swiftshader",
            "llvmpipe",
            "lavapipe",
            "basic render",
            "warp",
        ]
        .iter()
        .any(|name| everything.contains(name));
    let name = if description.is_empty() {
        format!("{vendor} {architecture}")
    } else {
        description
    };
    let name = match (name.trim(), everything.contains("swiftshader")) {
        (_, true) => "SwiftShader".to_owned(),
        ("", _) => "a GPU without a name".to_owned(),
        (name, _) => name.to_owned(),
    };
    let limits = browser::field(&adapter, "limits");
    let binding = browser::field(&limits, "maxStorageBufferBindingSize")
        .as_f64()
        .unwrap_or(128e6);
    Ok(Adapter {
        name,
        software,
        binding,
    })
}
