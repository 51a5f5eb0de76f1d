//! CLIP's vision transformer.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Attribute, Graph, setting};

/// The sizes of a tower.
struct Sizes {
    tokens: u64,
    width: u64,
    heads: u64,
    quick: bool,
}

/// Adds the tower to the graph; its output and the side of its input.
pub fn tower(graph: &mut Graph, config: &Value) -> Result<(String, u64)> {
    let (size, patch) = (
        setting(config, "image_size")?,
        setting(config, "patch_size")?,
    );
    let (width, side) = (setting(config, "width")?, size / patch);
    let sizes = Sizes {
        tokens: side * side + 1,
        width,
        heads: setting(config, "heads")?,
        quick: config["activation"] == "quick-gelu",
    };
    constants(graph, &sizes);
    let weight = graph.stored("visual.conv1.weight")?;
    let patches = graph.node(
        "Conv",
        &["pixels", &weight],
        "patches",
        &[
            ("kernel_shape", Attribute::Integers(vec![patch; 2])),
            ("strides", Attribute::Integers(vec![patch; 2])),
        ],
    );
    graph.integers("flat shape", &[1, width as i64, (side * side) as i64]);
    let flat = graph.node("Reshape", &[&patches, "flat shape"], "flat", &[]);
    let rows = graph.node("Transpose", &[&flat], "rows", &[permutation(&[0, 2, 1])]);
    let class = shaped(graph, "visual.class_embedding", &[1, 1, width])?;
    let with_class = graph.node(
        "Concat",
        &[&class, &rows],
        "with class",
        &[("axis", Attribute::Integer(1))],
    );
    let positions = shaped(
        graph,
        "visual.positional_embedding",
        &[1, sizes.tokens, width],
    )?;
    let mut x = graph.node("Add", &[&with_class, &positions], "placed", &[]);
    x = norm(graph, &x, "visual.ln_pre")?;
    for layer in 0..setting(config, "layers")? {
        x = block(
            graph,
            &x,
            &format!("visual.transformer.resblocks.{layer}"),
            &sizes,
        )?;
    }
    graph.integers("first", &[0]);
    graph.integers("row shape", &[1, width as i64]);
    x = graph.node(
        "Gather",
        &[&x, "first"],
        "class token",
        &[("axis", Attribute::Integer(1))],
    );
    x = graph.node("Reshape", &[&x, "row shape"], "class row", &[]);
    x = norm(graph, &x, "visual.ln_post")?;
    let projection = graph.stored("visual.proj")?;
    x = graph.node("MatMul", &[&x, &projection], "feature", &[]);
    Ok((x, size))
}

fn constants(graph: &mut Graph, sizes: &Sizes) {
    let (tokens, width, heads) = (sizes.tokens as i64, sizes.width as i64, sizes.heads as i64);
    graph.integers("heads shape", &[1, tokens, heads, width / heads]);
    graph.integers("tokens shape", &[1, tokens, width]);
    let scale = ((sizes.width / sizes.heads) as f32).powf(-0.5);
    graph.constant("attention scale", &[], &[scale]);
    graph.constant("1.702", &[], &[1.702]);
    graph.constant("root of a half", &[], &[std::f32::consts::FRAC_1_SQRT_2]);
    graph.constant("a half", &[], &[0.5]);
    graph.constant("one", &[], &[1.0]);
}

/// `x + attention(ln_1(x))`, then `x + mlp(ln_2(x))`.
fn block(graph: &mut Graph, x: &str, name: &str, sizes: &Sizes) -> Result<String> {
    let of = |part: &str| format!("{name}.{part}");
    let normed = norm(graph, x, &of("ln_1"))?;
    let weight = transposed(graph, &of("attn.in_proj_weight"))?;
    let bias = graph.stored(&of("attn.in_proj_bias"))?;
    let all = linear(graph, &normed, &weight, &bias, &of("qkv"));
    let parts = ["q", "k", "v"].map(of);
    let outputs = parts.each_ref().map(String::as_str);
    graph.add(
        "Split",
        &[&all],
        &outputs,
        &[("axis", Attribute::Integer(2))],
    );
    let heads = |graph: &mut Graph, part: &str, order: &[u64]| {
        let split = graph.node(
            "Reshape",
            &[part, "heads shape"],
            &format!("{part} heads"),
            &[],
        );
        graph.node(
            "Transpose",
            &[&split],
            &format!("{part} turned"),
            &[permutation(order)],
        )
    };
    let query = heads(graph, &parts[0], &[0, 2, 1, 3]);
    let key = heads(graph, &parts[1], &[0, 2, 3, 1]);
    let value = heads(graph, &parts[2], &[0, 2, 1, 3]);
    let query = graph.node("Mul", &[&query, "attention scale"], &of("scaled"), &[]);
    let scores = graph.node("MatMul", &[&query, &key], &of("scores"), &[]);
    let shares = graph.node("Softmax", &[&scores], &of("shares"), &[]);
    let seen = graph.node("MatMul", &[&shares, &value], &of("seen"), &[]);
    let seen = graph.node(
        "Transpose",
        &[&seen],
        &of("seen turned"),
        &[permutation(&[0, 2, 1, 3])],
    );
    let seen = graph.node("Reshape", &[&seen, "tokens shape"], &of("seen rows"), &[]);
    let attended = layer(graph, &seen, &of("attn.out_proj"))?;
    let x = graph.node("Add", &[x, &attended], &of("attended"), &[]);
    let normed = norm(graph, &x, &of("ln_2"))?;
    let hidden = layer(graph, &normed, &of("mlp.c_fc"))?;
    let hidden = activated(graph, &hidden, name, sizes.quick);
    let out = layer(graph, &hidden, &of("mlp.c_proj"))?;
    Ok(graph.node("Add", &[&x, &out], &of("out"), &[]))
}

/// QuickGELU or GELU.
fn activated(graph: &mut Graph, x: &str, name: &str, quick: bool) -> String {
    let of = |part: &str| format!("{name}.gelu {part}");
    if quick {
        let wide = graph.node("Mul", &[x, "1.702"], &of("wide"), &[]);
        let gate = graph.node("Sigmoid", &[&wide], &of("gate"), &[]);
        return graph.node("Mul", &[x, &gate], &of("out"), &[]);
    }
    let narrow = graph.node("Mul", &[x, "root of a half"], &of("narrow"), &[]);
    let error = graph.node("Erf", &[&narrow], &of("error"), &[]);
    let share = graph.node("Add", &[&error, "one"], &of("share"), &[]);
    let both = graph.node("Mul", &[x, &share], &of("both"), &[]);
    graph.node("Mul", &[&both, "a half"], &of("out"), &[])
}

/// Layer norm with ONNX's own ε, which is CLIP's.
fn norm(graph: &mut Graph, x: &str, name: &str) -> Result<String> {
    let weight = graph.stored(&format!("{name}.weight"))?;
    let bias = graph.stored(&format!("{name}.bias"))?;
    Ok(graph.node(
        "LayerNormalization",
        &[x, &weight, &bias],
        &format!("{name}.out"),
        &[],
    ))
}

fn layer(graph: &mut Graph, x: &str, name: &str) -> Result<String> {
    let weight = transposed(graph, &format!("{name}.weight"))?;
    let bias = graph.stored(&format!("{name}.bias"))?;
    Ok(linear(graph, x, &weight, &bias, name))
}

fn linear(graph: &mut Graph, x: &str, weight: &str, bias: &str, name: &str) -> String {
    let product = graph.node("MatMul", &[x, weight], &format!("{name}.product"), &[]);
    graph.node("Add", &[&product, bias], &format!("{name}.out"), &[])
}

/// A matrix turned over, as a product from the right takes it.
fn transposed(graph: &mut Graph, name: &str) -> Result<String> {
    let (shape, values) = graph.take(name)?;
    ensure!(shape.len() == 2, "{name} is no matrix");
    let (rows, columns) = (shape[0] as usize, shape[1] as usize);
    let turned: Vec<f32> = (0..rows * columns)
        .map(|index| values[index % rows * columns + index / rows])
        .collect();
    graph.constant(name, &[shape[1], shape[0]], &turned);
    Ok(name.to_owned())
}

/// The same values in another shape.
fn shaped(graph: &mut Graph, name: &str, shape: &[u64]) -> Result<String> {
    let (_, values) = graph.take(name)?;
    graph.constant(name, shape, &values);
    Ok(name.to_owned())
}

fn permutation(order: &[u64]) -> (&'static str, Attribute) {
    ("perm", Attribute::Integers(order.to_vec()))
}
