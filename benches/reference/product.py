"""A large matrix product in PyTorch: the machine's own limit, beside `trainer time-step product`."""

import json
import sys
import time

import torch


def main():
    rows, columns, depth = map(int, sys.argv[1:4])
    torch.manual_seed(0)
    a, b = torch.randn(rows, depth), torch.randn(depth, columns)
    print(json.dumps({"ready": {"rows": rows, "columns": columns, "depth": depth}}), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        value = (a @ b)[0, 0].item()
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "value": value, "multiplications": rows * columns * depth}), flush=True)


main()
