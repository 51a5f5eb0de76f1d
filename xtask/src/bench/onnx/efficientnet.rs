//! EfficientNet-Lite.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Attribute, Graph, setting};

/// Adds the tower to the graph; its output and the side of its input.
pub fn tower(graph: &mut Graph, config: &Value) -> Result<(String, u64)> {
    let size = setting(config, "image_size")?;
    graph.constant("zero", &[], &[0.0]);
    graph.constant("six", &[], &[6.0]);
    let mut side = size;
    let mut x = convolution(graph, "visual.stem", "pixels", 3, 2, 1, &mut side, true)?;
    let mut block = 0;
    for stage in config["stages"]
        .as_array()
        .context("the configuration has no stages")?
    {
        for repeat in 0..setting(stage, "repeats")? {
            let stride = if repeat == 0 {
                setting(stage, "stride")?
            } else {
                1
            };
            let inputs = setting(stage, if repeat == 0 { "input" } else { "output" })?;
            let (kernel, expand, output) = (
                setting(stage, "kernel")?,
                setting(stage, "expand")?,
                setting(stage, "output")?,
            );
            let name = format!("visual.blocks.{block}");
            let mut hidden = x.clone();
            if expand != 1 {
                hidden = convolution(
                    graph,
                    &format!("{name}.expand"),
                    &hidden,
                    1,
                    1,
                    1,
                    &mut side,
                    true,
                )?;
            }
            hidden = convolution(
                graph,
                &format!("{name}.depthwise"),
                &hidden,
                kernel,
                stride,
                inputs * expand,
                &mut side,
                true,
            )?;
            let projected = convolution(
                graph,
                &format!("{name}.project"),
                &hidden,
                1,
                1,
                1,
                &mut side,
                false,
            )?;
            x = if stride == 1 && inputs == output {
                graph.node("Add", &[&projected, &x], &format!("{name}.sum"), &[])
            } else {
                projected
            };
            block += 1;
        }
    }
    x = convolution(graph, "visual.head", &x, 1, 1, 1, &mut side, true)?;
    x = graph.node("GlobalAveragePool", &[&x], "pooled", &[]);
    x = graph.node("Flatten", &[&x], "flat", &[]);
    if config["projection"].as_bool() == Some(true) {
        let (weight, bias) = (
            graph.stored("visual.proj.weight")?,
            graph.stored("visual.proj.bias")?,
        );
        x = graph.node(
            "Gemm",
            &[&x, &weight, &bias],
            "projected",
            &[("transB", Attribute::Integer(1))],
        );
    }
    Ok((x, size))
}

#[expect(clippy::too_many_arguments)]
fn convolution(
    graph: &mut Graph,
    name: &str,
    input: &str,
    kernel: u64,
    stride: u64,
    groups: u64,
    side: &mut u64,
    activated: bool,
) -> Result<String> {
    let (weight, bias) = (
        graph.stored(&format!("{name}.weight"))?,
        graph.stored(&format!("{name}.bias"))?,
    );
    let output = side.div_ceil(stride);
    let padding = ((output - 1) * stride + kernel).saturating_sub(*side);
    let (before, after) = (padding / 2, padding - padding / 2);
    *side = output;
    let convolved = graph.node(
        "Conv",
        &[input, &weight, &bias],
        name,
        &[
            ("kernel_shape", Attribute::Integers(vec![kernel; 2])),
            ("strides", Attribute::Integers(vec![stride; 2])),
            (
                "pads",
                Attribute::Integers(vec![before, before, after, after]),
            ),
            ("group", Attribute::Integer(groups)),
        ],
    );
    Ok(if activated {
        graph.node(
            "Clip",
            &[&convolved, "zero", "six"],
            &format!("{name}.relu6"),
            &[],
        )
    } else {
        convolved
    })
}
