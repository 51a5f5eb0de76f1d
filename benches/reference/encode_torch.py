"""ViT-B/32's image tower in PyTorch, random weights, beside `trainer time-step encode`.

Written from the paper (Radford et al., 2021, section 2.4), with the fastest attention that PyTorch
has; needs pip's torch alone. Protocol: see clip_text.py.
"""

import argparse

import torch
import torch.nn.functional as F

import clip_text

SIZE, PATCH, WIDTH, HEADS, LAYERS, JOINT = 224, 32, 768, 12, 12, 512


class ImageTower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.kind = torch.nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.positions = torch.nn.Parameter(torch.randn((SIZE // PATCH) ** 2 + 1, WIDTH) * 0.02)
        self.before = torch.nn.LayerNorm(WIDTH)
        self.blocks = torch.nn.ModuleList(clip_text.Block(WIDTH, HEADS) for _ in range(LAYERS))
        self.after = torch.nn.LayerNorm(WIDTH)
        self.projection = torch.nn.Parameter(torch.randn(WIDTH, JOINT) * 0.02)

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.kind.expand(len(x), -1, -1), x], dim=1) + self.positions
        x = self.before(x)
        for block in self.blocks:
            x = block.finish(x, F.scaled_dot_product_attention(*block.project(x)))
        return self.after(x[:, 0]) @ self.projection


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    tower = ImageTower().eval()
    pixels = torch.randn(options.batch, 3, SIZE, SIZE)

    def encode():
        with torch.inference_mode():
            return tower(pixels)[0, 0].item()

    clip_text.serve(encode, {"batch": options.batch})


main()
