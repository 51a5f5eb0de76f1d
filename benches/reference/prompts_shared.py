"""The same step with this project's idea in plain PyTorch: each context runs once, each class costs
its suffix against the kept keys and values, suffixes of one length together, positives computed
before the first step.
"""

import torch
import torch.nn.functional as F

import clip_text


def encode(tower, contexts, start, buckets, classes):
    """Contexts [c, M, width] → features [c, k, d]."""
    count, _, width = contexts.shape
    x = torch.cat([start.expand(count, 1, width), contexts], dim=1)
    prefix_tokens = x.shape[1]
    x = x + tower.positions[:prefix_tokens]
    prefix = []
    for layer, block in enumerate(tower.blocks):
        query, key, value = block.project(x)
        prefix.append((key, value))
        if layer + 1 < len(tower.blocks):
            x = block.finish(x, F.scaled_dot_product_attention(query, key, value, is_causal=True))
    parts = []
    for embedded in buckets["embedded"]:
        rows, tokens, _ = embedded.shape
        x = embedded + tower.positions[prefix_tokens : prefix_tokens + tokens]
        x = x[None].expand(count, -1, -1, -1).reshape(count * rows, tokens, width)
        causal = torch.ones(tokens, prefix_tokens + tokens, dtype=torch.bool).tril(prefix_tokens)
        for layer, block in enumerate(tower.blocks):
            query, key, value = block.project(x)
            key, value = (
                torch.cat([kept[:, None].expand(-1, rows, -1, -1, -1).flatten(0, 1), own], dim=2)
                for kept, own in zip(prefix[layer], (key, value))
            )
            mask = causal
            if layer + 1 == len(tower.blocks):
                # Of the last layer only [EOS] is read.
                x, query, mask = x[:, -1:], query[:, :, -1:], causal[-1:]
            x = block.finish(x, F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
        parts.append(tower.features(x[:, -1]).view(count, rows, -1))
    return torch.cat(parts, dim=1)[:, buckets["order"]]


def main():
    options = clip_text.arguments(__doc__).parse_args()
    problem = clip_text.Problem(options)
    tower, k = problem.tower, options.classes
    members = [[j for j in range(k) if problem.lengths[j] == length] for length in sorted(set(problem.lengths))]
    laid_out = torch.tensor([j for bucket in members for j in bucket])
    buckets = {
        "embedded": [tower.token_embedding(torch.stack([problem.suffixes[j] for j in bucket])) for bucket in members],
        "order": laid_out.argsort(),
    }
    start = tower.token_embedding(torch.tensor([clip_text.START]))
    with torch.no_grad():
        positive = encode(tower, problem.positive_context, start, buckets, k)[0]

    def step():
        problem.negative_contexts.grad = None
        negative = encode(tower, problem.negative_contexts, start, buckets, k)
        loss = clip_text.objective(problem.images, positive, negative)
        loss.backward()
        return loss.item()

    clip_text.serve(step, {"classes": k, "measured": k})


main()
