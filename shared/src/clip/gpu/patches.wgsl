// Cuts images into patches: a row for each token, the class token's and those behind the last image of zeros.
// Tiles of 32 rows and 32 columns, of which each of 64 invocations writes sixteen values.

const SIZE: u32 = {{ image_size }}u;
const PATCH: u32 = {{ patch_size }}u;
const SIDE: u32 = SIZE / PATCH;
const TOKENS: u32 = SIDE * SIDE + 1u;
// Values of a patch, and columns, which are a multiple of 32.
const FILLED: u32 = 3u * PATCH * PATCH;
const COLUMNS: u32 = {{ columns }}u;

// [images, 3, SIZE, SIZE].
@group(0) @binding(0) var<storage, read_write> pixels: array<f32>;
// [rows, COLUMNS], a patch by channel, row and column.
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let images = arrayLength(&pixels) / (3u * SIZE * SIZE);
    let column = tile.x * 32u + index % 32u;
    let channel = column / (PATCH * PATCH);
    let down = column / PATCH % PATCH;
    let across = column % PATCH;
    for (var row = tile.y * 32u + index / 32u; row < tile.y * 32u + 32u; row += 2u) {
        let image = row / TOKENS;
        let token = row % TOKENS;
        var value = 0.0;
        if token > 0u && image < images && column < FILLED {
            let y = (token - 1u) / SIDE * PATCH + down;
            let x = (token - 1u) % SIDE * PATCH + across;
            value = pixels[((image * 3u + channel) * SIZE + y) * SIZE + x];
        }
        out[row * COLUMNS + column] = value;
    }
}
