// out = gamma (x - mean) / sqrt(variance + epsilon) + beta, of one row in {{ every }}: a workgroup for each row
// of the result, (32, tiles) of them, as no dimension may have more than 65,535.

const WIDTH: u32 = {{ width }}u / 4u;

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> gamma: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> beta: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> parts: array<f32, 64>;

fn total(part: f32, index: u32) -> f32 {
    parts[index] = part;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if index < half {
            parts[index] += parts[index + half];
        }
        workgroupBarrier();
    }
    let sum = parts[0];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) part: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let row = part.y * 32u + part.x;
    // Rows that fill up the last tile of the result may have none that they come from.
    let start = min(row * {{ every }}u, arrayLength(&x) / WIDTH - 1u) * WIDTH;
    let ones = vec4<f32>(1.0);
    var sum = 0.0;
    for (var at = index; at < WIDTH; at += 64u) {
        sum += dot(x[start + at], ones);
    }
    let mean = total(sum, index) / f32({{ width }});
    var squares = 0.0;
    for (var at = index; at < WIDTH; at += 64u) {
        let value = x[start + at] - mean;
        squares += dot(value, value);
    }
    let scale = inverseSqrt(total(squares, index) / f32({{ width }}) + {{ epsilon }});
    for (var at = index; at < WIDTH; at += 64u) {
        out[row * WIDTH + at] = (x[start + at] - mean) * scale * gamma[at] + beta[at];
    }
}
