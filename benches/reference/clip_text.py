"""What the PyTorch references of prompt learning have in common: CLIP's text tower with random
weights, a made-up class list, the paper's objective, and the protocol of `cargo xtask bench`.

Written from the equations: CLIP's text transformer (Radford et al., 2021, section 2.4), NegPrompt
(CVPR 2024, equations of NIS, NPD and NND). Needs only pip's torch.

Protocol: a program prints a JSON line when it is ready; then, for every line on its standard
input, it does one step (forward, and backward to the negative contexts) and prints a JSON line
with `seconds`.
"""

import argparse
import json
import resource
import sys
import time

import torch
import torch.nn.functional as F

BETA, GAMMA, SCALE = 0.1, 0.05, 100.0
START = 49_406
END = 49_407


def arguments(about):
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--negatives", type=int, default=2)
    parser.add_argument("--context-tokens", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser


def suffix_lengths(classes):
    """4, 5, 6, 4, 5, 6, …: name, full stop and [EOS], as the class names of ImageNet mostly have."""
    return [4 + j % 3 for j in range(classes)]


class Block(torch.nn.Module):
    """x + attention(ln_1(x)), then x + mlp(ln_2(x))."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1 = torch.nn.LayerNorm(width)
        self.query_key_value = torch.nn.Linear(width, 3 * width)
        self.output = torch.nn.Linear(width, width)
        self.ln_2 = torch.nn.LayerNorm(width)
        self.mlp_in = torch.nn.Linear(width, 4 * width)
        self.mlp_out = torch.nn.Linear(4 * width, width)

    def project(self, x):
        """[batch, tokens, width] → query, key, value, each [batch, heads, tokens, head width]."""
        batch, tokens, width = x.shape
        x = self.query_key_value(self.ln_1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        return x.permute(2, 0, 3, 1, 4).unbind(0)

    def finish(self, x, attended):
        """attended: [batch, heads, tokens, head width] → the block's output."""
        x = x + self.output(attended.transpose(1, 2).reshape(x.shape))
        hidden = self.mlp_in(self.ln_2(x))
        return x + self.mlp_out(hidden * torch.sigmoid(1.702 * hidden))


class TextTower(torch.nn.Module):
    """The text tower of ViT-B/16, frozen."""

    def __init__(self, width=512, heads=8, layers=12, positions=77, joint=512):
        super().__init__()
        self.token_embedding = torch.nn.Embedding(49_408, width)
        self.positions = torch.nn.Parameter(torch.randn(positions, width) * 0.01)
        self.blocks = torch.nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_final = torch.nn.LayerNorm(width)
        self.projection = torch.nn.Parameter(torch.randn(width, joint) * width**-0.5)
        torch.nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.requires_grad_(False).eval()

    @property
    def width(self):
        return self.positions.shape[1]

    def features(self, x):
        """[EOS] tokens [..., width] → text features."""
        return self.ln_final(x) @ self.projection


class Problem:
    """A class list, contexts, a batch of image features, from one seed."""

    def __init__(self, options):
        torch.manual_seed(0)
        torch.set_num_threads(options.threads)
        self.tower = TextTower()
        k, p, m = options.classes, options.negatives, options.context_tokens
        self.lengths = suffix_lengths(k)
        self.suffixes = [
            torch.cat([torch.randint(1000, 40_000, (length - 1,)), torch.tensor([END])]) for length in self.lengths
        ]
        width = self.tower.width
        self.positive_context = torch.randn(1, m, width) * 0.02
        self.negative_contexts = (torch.randn(p, m, width) * 0.02).requires_grad_()
        joint = self.tower.projection.shape[1]
        self.images = F.normalize(torch.randn(options.batch, joint), dim=-1)


def objective(images, positive, negative):
    """NIS + β NPD + γ NND; images [batch, d], positive [k, d], negative [p, k, d], not normalised."""
    positive, negative = F.normalize(positive, dim=-1), F.normalize(negative, dim=-1)
    p, k, d = negative.shape
    logits = SCALE * images @ negative.reshape(p * k, d).T
    nis = -torch.log_softmax(logits, dim=1).mean()
    npd = -(negative * positive).sum(-1).mean()
    pairs = torch.einsum("ikd,lkd->ilk", negative, negative)
    nnd = (pairs.sum() - pairs.diagonal().sum()) / (k * p * max(p - 1, 1))
    return nis + BETA * npd + GAMMA * nnd


def serve(step, about):
    """Steps whenever a line comes; `step` does the work and may return a loss to show."""
    print(json.dumps({"ready": about, "torch": torch.__version__}), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        value = step()
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "value": value, "peak_bytes": peak}), flush=True)
