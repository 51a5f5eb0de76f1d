//! Where the tensors live: a real GPU through wgpu, or the CPU.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use burn::tensor::wgpu::{WgpuBackend, WgpuInitError, WgpuSetup};
use burn::tensor::{Device, DeviceKind};

use crate::progress::say;

/// One entry of what `--device` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A real GPU when there is one, else the CPU; never a software adapter.
    Auto,
    /// A GPU through Vulkan, Metal or DirectX 12, the first or the one of this number; a software
    /// adapter only if there is nothing else.
    Wgpu(Option<usize>),
    Cpu,
}

/// What `--device` takes: `auto`, `cpu`, `wgpu`, or several joined by commas, such as
/// `wgpu:0,wgpu:1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices(Vec<DeviceChoice>);

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |text: &str| match text.trim() {
            "auto" => Some(DeviceChoice::Auto),
            "cpu" => Some(DeviceChoice::Cpu),
            "wgpu" => Some(DeviceChoice::Wgpu(None)),
            numbered => {
                let number = numbered.strip_prefix("wgpu:")?.parse().ok()?;
                Some(DeviceChoice::Wgpu(Some(number)))
            }
        };
        let choices: Option<Vec<_>> = text.split(',').map(one).collect();
        choices.map(Self).ok_or_else(|| {
            "write auto, cpu or wgpu; wgpu:N for a GPU by its number; several joined by commas"
                .to_owned()
        })
    }
}

impl Devices {
    /// Opens the one device that work which cannot be divided runs on.
    ///
    /// # Errors
    /// When several are given, and as [`DeviceChoice::open`].
    pub fn open(&self) -> Result<ChosenDevice> {
        match self.0.as_slice() {
            [one] => one.open(),
            several => bail!(
                "--device names {} devices, and this command computes on one. Give one device; `trainer encode` shares its images among several; learning on several would need Burn's distributed strategy, which its backends for GPUs through wgpu and for the CPU have not",
                several.len()
            ),
        }
    }

    /// Opens all of them, for work that is divided among them.
    ///
    /// # Errors
    /// As [`DeviceChoice::open`].
    pub fn open_all(&self) -> Result<Vec<ChosenDevice>> {
        self.0.iter().map(|choice| choice.open()).collect()
    }
}

/// The device that was chosen, and what it is called.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    pub device: Device,
    /// For people and for the report: `CPU (2 threads)`, `NVIDIA L4 (vulkan)`.
    pub name: String,
    pub kind: ChosenKind,
}

/// What kind of device runs the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenKind {
    Cpu,
    Gpu,
    /// A GPU interface that the CPU acts out, slowly.
    SoftwareAdapter,
}

impl DeviceChoice {
    /// Opens the device and says on stderr what the work runs on.
    ///
    /// # Errors
    /// With `wgpu`, when no adapter can be opened. `auto` and `cpu` always find a device.
    pub fn open(self) -> Result<ChosenDevice> {
        let chosen = self.choose()?;
        say(&format!("device: {}", chosen.name));
        if chosen.kind == ChosenKind::SoftwareAdapter {
            say(
                "warning: this adapter is software that acts out a GPU on the CPU; --device cpu is many times faster",
            );
        }
        Ok(chosen)
    }

    fn choose(self) -> Result<ChosenDevice> {
        match self {
            Self::Cpu => Ok(cpu()),
            Self::Auto if may_have_gpu() => Ok(gpu(0).unwrap_or_else(|_| cpu())),
            Self::Auto => Ok(cpu()),
            Self::Wgpu(Some(number)) => gpu(number).map_err(|reason| {
                anyhow!(
                    "no GPU {number} can be used through wgpu ({reason}): GPUs are counted from 0; leave the number out, or run with --device cpu"
                )
            }),
            Self::Wgpu(None) => gpu(0).or_else(|reason| {
                software_adapter().ok_or_else(|| {
                    anyhow!(
                        "no GPU can be used through wgpu ({reason}): install the graphics driver (Vulkan on Linux), or run with --device cpu"
                    )
                })
            }),
        }
    }
}

fn cpu() -> ChosenDevice {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    ChosenDevice {
        device: Device::flex(),
        name: format!(
            "CPU ({threads} thread{})",
            if threads == 1 { "" } else { "s" }
        ),
        kind: ChosenKind::Cpu,
    }
}

/// Device files of the graphics drivers on Linux: kernel drivers in general, NVIDIA's, and those of
/// WSL, Adreno and Mali.
const DEVICE_FILES: [&str; 5] = [
    "/dev/dri",
    "/dev/nvidiactl",
    "/dev/dxg",
    "/dev/kgsl-3d0",
    "/dev/mali0",
];

/// Whether it is worth asking for a GPU. On a Linux server without one, Mesa's drivers take a second
/// to say so and print a page of complaints about the missing screen.
fn may_have_gpu() -> bool {
    !cfg!(target_os = "linux") || DEVICE_FILES.iter().any(|file| Path::new(file).exists())
}

/// The adapter of this number, of the first kind that has so many, that calls itself a GPU and is
/// none of the known software ones. The kinds are asked for one by one because the default selection
/// settles for software.
fn gpu(number: usize) -> Result<ChosenDevice, String> {
    let mut reason = "no adapter found".to_owned();
    for kind in [
        DeviceKind::DiscreteGpu(number),
        DeviceKind::IntegratedGpu(number),
        DeviceKind::VirtualGpu(number),
    ] {
        match adapter(kind) {
            Ok((_, setup)) if is_software(&setup) => {
                reason = format!("{} is a software adapter", adapter_name(&setup));
            }
            Ok((device, setup)) => {
                return Ok(ChosenDevice {
                    device,
                    name: adapter_name(&setup),
                    kind: ChosenKind::Gpu,
                });
            }
            Err(_) => continue,
        }
    }
    Err(reason)
}

fn software_adapter() -> Option<ChosenDevice> {
    let (device, setup) = adapter(DeviceKind::Cpu).ok()?;
    Some(ChosenDevice {
        device,
        name: format!("{}, software adapter", adapter_name(&setup)),
        kind: ChosenKind::SoftwareAdapter,
    })
}

/// The first adapter of this kind. OpenGL is left out where there is Vulkan: it is slow to ask,
/// prints to the terminal on machines without a screen, and offers nothing that Vulkan does not.
fn adapter(kind: DeviceKind) -> Result<(Device, WgpuSetup), WgpuInitError> {
    let api = if cfg!(target_os = "linux") {
        WgpuBackend::Vulkan
    } else {
        WgpuBackend::Auto
    };
    Device::wgpu_options()
        .device_kind(kind)
        .graphics_api(api)
        .init_with_setup()
}

fn adapter_name(setup: &WgpuSetup) -> String {
    let info = setup.adapter.get_info();
    format!("{} ({})", info.name, info.backend)
}

/// Software adapters mostly say that they are CPUs, but not under every graphics API.
fn is_software(setup: &WgpuSetup) -> bool {
    let info = setup.adapter.get_info();
    info.device_type == burn::tensor::wgpu::wgpu::DeviceType::Cpu
        || names_software(&info.name)
        || names_software(&info.driver)
}

fn names_software(name: &str) -> bool {
    let name = name.to_lowercase();
    [
        "llvmpipe",
        "lavapipe",
        "swiftshader",
        "softpipe",
        "software rasterizer",
        "microsoft basic render",
        "warp",
    ]
    .iter()
    .any(|software| name.contains(software))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_adapters_are_known_by_name() {
        assert!(names_software("llvmpipe (LLVM 19.1.7, 256 bits)"));
        assert!(names_software("Google SwiftShader"));
        assert!(names_software("Microsoft Basic Render Driver"));
        assert!(!names_software("NVIDIA H200"));
        assert!(!names_software("Apple M2"));
    }

    #[test]
    fn devices_are_read_and_several_do_not_learn() {
        let read = |text: &str| text.parse::<Devices>();
        assert_eq!(
            read("wgpu:0, wgpu:1,cpu").unwrap().0,
            [
                DeviceChoice::Wgpu(Some(0)),
                DeviceChoice::Wgpu(Some(1)),
                DeviceChoice::Cpu
            ]
        );
        for wrong in ["", "gpu", "wgpu:", "wgpu:-1", "cpu,", "cuda"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let several = read("cpu,cpu").unwrap();
        assert_eq!(several.open_all().unwrap().len(), 2);
        let error = several.open().unwrap_err().to_string();
        assert!(
            error.contains("distributed") && error.contains("Give one device"),
            "{error}"
        );
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(DeviceChoice::Cpu.choose().unwrap().kind, ChosenKind::Cpu);
    }
}
