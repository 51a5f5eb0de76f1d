// out = then(x W + b): tiles of 32 rows and 32 outputs, of which each of 64 invocations computes four by
// four. x [rows, inputs] has rows in whole tiles; W [inputs, outputs]; both widths are multiples of 32.

// Groups of four values, in which everything is read.
const INPUTS: u32 = {{ inputs }}u / 4u;
const OUTPUTS: u32 = {{ outputs }}u / 4u;

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
{{ more }}

var<workgroup> some_x: array<array<vec4<f32>, 8>, 32>;
var<workgroup> some_weight: array<array<vec4<f32>, 8>, 32>;

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_id) own: vec3<u32>) {
    let row = own.y * 4u;
    let first_row = tile.y * 32u + row;
    let column = tile.x * 8u + own.x;
    var sum_0 = vec4<f32>(0.0);
    var sum_1 = vec4<f32>(0.0);
    var sum_2 = vec4<f32>(0.0);
    var sum_3 = vec4<f32>(0.0);
    // What the next tiles hold is on its way while these are multiplied.
    var next_x: array<vec4<f32>, 4>;
    var next_weight: array<vec4<f32>, 4>;
    for (var i = 0u; i < 4u; i++) {
        next_x[i] = x[(first_row + i) * INPUTS + own.x];
        next_weight[i] = weight[(row + i) * OUTPUTS + column];
    }
    for (var first = 0u; first < INPUTS; first += 8u) {
        for (var i = 0u; i < 4u; i++) {
            some_x[row + i][own.x] = next_x[i];
            some_weight[row + i][own.x] = next_weight[i];
        }
        workgroupBarrier();
        let next = first + 8u;
        if next < INPUTS {
            for (var i = 0u; i < 4u; i++) {
                next_x[i] = x[(first_row + i) * INPUTS + next + own.x];
                next_weight[i] = weight[(next * 4u + row + i) * OUTPUTS + column];
            }
        }
        for (var four = 0u; four < 8u; four++) {
            let weight_0 = some_weight[four * 4u][own.x];
            let weight_1 = some_weight[four * 4u + 1u][own.x];
            let weight_2 = some_weight[four * 4u + 2u][own.x];
            let weight_3 = some_weight[four * 4u + 3u][own.x];
            let x_0 = some_x[row][four];
            sum_0 += x_0.x * weight_0 + x_0.y * weight_1 + x_0.z * weight_2 + x_0.w * weight_3;
            let x_1 = some_x[row + 1u][four];
            sum_1 += x_1.x * weight_0 + x_1.y * weight_1 + x_1.z * weight_2 + x_1.w * weight_3;
            let x_2 = some_x[row + 2u][four];
            sum_2 += x_2.x * weight_0 + x_2.y * weight_1 + x_2.z * weight_2 + x_2.w * weight_3;
            let x_3 = some_x[row + 3u][four];
            sum_3 += x_3.x * weight_0 + x_3.y * weight_1 + x_3.z * weight_2 + x_3.w * weight_3;
        }
        workgroupBarrier();
    }
    let place = first_row * OUTPUTS + column;
    out[place] = then(sum_0 + bias[column], place);
    out[place + OUTPUTS] = then(sum_1 + bias[column], place + OUTPUTS);
    out[place + 2u * OUTPUTS] = then(sum_2 + bias[column], place + 2u * OUTPUTS);
    out[place + 3u * OUTPUTS] = then(sum_3 + bias[column], place + 3u * OUTPUTS);
}
