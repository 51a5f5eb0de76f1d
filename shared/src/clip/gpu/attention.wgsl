// Attention of every token of an image to all of it. Of the workgroups (queries / 64, heads, images) each
// invocation has one query, and passes the keys once: the softmax is that of what has been seen so far.

// Groups of four values: of a head and of a whole row.
const HEAD: u32 = {{ head_width }}u / 4u;
const WIDTH: u32 = {{ width }}u / 4u;
const TOKENS: u32 = {{ tokens }}u;
// Keys and values that are at hand at once.
const TILE: u32 = 16u;

// Queries beside keys beside values, [images * TOKENS, 3 * WIDTH].
@group(0) @binding(0) var<storage, read_write> projected: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> keys: array<vec4<f32>, TILE * HEAD>;
var<workgroup> values: array<vec4<f32>, TILE * HEAD>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) part: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let first_row = part.z * TOKENS;
    let column = part.y * HEAD;
    let token = part.x * 64u + index;
    let row = first_row + min(token, TOKENS - 1u);
    var query: array<vec4<f32>, HEAD>;
    var sums: array<vec4<f32>, HEAD>;
    for (var i = 0u; i < HEAD; i++) {
        query[i] = projected[row * 3u * WIDTH + column + i] * {{ scale }};
        sums[i] = vec4<f32>(0.0);
    }
    var most = -3.0e38;
    var total = 0.0;
    for (var first = 0u; first < TOKENS; first += TILE) {
        for (var at = index; at < TILE * HEAD; at += 64u) {
            let seen = first_row + min(first + at / HEAD, TOKENS - 1u);
            let place = seen * 3u * WIDTH + column + at % HEAD;
            keys[at] = projected[place + WIDTH];
            values[at] = projected[place + 2u * WIDTH];
        }
        workgroupBarrier();
        for (var seen = 0u; seen < min(TILE, TOKENS - first); seen++) {
            var products = vec4<f32>(0.0);
            for (var i = 0u; i < HEAD; i++) {
                products += query[i] * keys[seen * HEAD + i];
            }
            let score = dot(products, vec4<f32>(1.0));
            let above = max(most, score);
            let before = exp(most - above);
            let weight = exp(score - above);
            total = total * before + weight;
            for (var i = 0u; i < HEAD; i++) {
                sums[i] = sums[i] * before + values[seen * HEAD + i] * weight;
            }
            most = above;
        }
        workgroupBarrier();
    }
    if token < TOKENS {
        for (var i = 0u; i < HEAD; i++) {
            out[row * WIDTH + column + i] = sums[i] / total;
        }
    }
}
