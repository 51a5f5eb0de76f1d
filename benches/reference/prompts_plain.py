"""The reference's computation of a step of stage 2: every prompt of every class, positive and
negative, through all 77 positions, forward and backward to the negative contexts.

Where the whole class list does not fit into memory, --measured N runs N of the classes: prompts do
not depend on each other before the loss, so that k classes take k/N times as long. What is then
left out in its favour: someone without the memory would need another forward pass, because the
loss couples all classes.
"""

import torch
import torch.nn.functional as F

import clip_text


def encode(tower, prompts, ends):
    """Embedded prompts [prompts, 77, width] → features [prompts, d]."""
    x = prompts + tower.positions
    for block in tower.blocks:
        query, key, value = block.project(x)
        x = block.finish(x, F.scaled_dot_product_attention(query, key, value, is_causal=True))
    return tower.features(x[torch.arange(len(x)), ends])


def main():
    parser = clip_text.arguments(__doc__)
    parser.add_argument("--measured", type=int, help="classes that are run; all when left out")
    options = parser.parse_args()
    problem = clip_text.Problem(options)
    tower, m = problem.tower, options.context_tokens
    classes = min(options.measured or options.classes, options.classes)
    positions = len(tower.positions)
    tokens = torch.zeros(classes, positions, dtype=torch.int64)
    tokens[:, 0] = clip_text.START
    for row, suffix in zip(tokens, problem.suffixes):
        row[1 + m : 1 + m + len(suffix)] = suffix
    embedded = tower.token_embedding(tokens)
    ends = torch.tensor([m + length for length in problem.lengths[:classes]])
    contexts = 1 + options.negatives

    def step():
        problem.negative_contexts.grad = None
        context = torch.cat([problem.positive_context, problem.negative_contexts])
        prompts = torch.cat(
            [
                embedded[None, :, :1].expand(contexts, -1, -1, -1),
                context[:, None].expand(-1, classes, -1, -1),
                embedded[None, :, 1 + m :].expand(contexts, -1, -1, -1),
            ],
            dim=2,
        )
        features = encode(tower, prompts.flatten(0, 1), ends.repeat(contexts))
        features = features.view(contexts, classes, -1)
        loss = clip_text.objective(problem.images, features[0], features[1:])
        loss.backward()
        return loss.item()

    clip_text.serve(step, {"classes": options.classes, "measured": classes})


main()
