#!/usr/bin/env python3
"""Encodes a large folder of photos on a Ray cluster: one task a shard, nothing shared but the disk.

    pip install ray
    python encode_shards.py --trainer target/release/trainer --model models/compact \
        --data photos --out out/features.safetensors --shards 64

A task is one `trainer encode --shard I/N --resume`. A worker that dies takes its task's process with
it; Ray starts the task on another worker, which goes on behind the last image that was encoded. The
model, the photos and the output have to be at the same paths on every machine.
"""

import argparse
import ctypes
import pathlib
import signal
import subprocess
import sys

import ray


def die_with_parent():
    """Lets the program end when its worker is killed, so that it does not hold the shard's file when
    another worker takes over (Linux; elsewhere Ray has to end it)."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@ray.remote(max_retries=-1, num_cpus=1)
def encode(shard, command):
    """Encodes one shard. A death of the worker is retried by Ray, as often as it takes; an error
    that the program reports (a missing model, a full disk) is not, and ends the run."""
    command = [*command, "--shard", shard, "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=die_with_parent)
    if done.returncode < 0:
        # Killed, not failed: by the system when memory ran out, or by hand.
        raise ray.exceptions.WorkerCrashedError()
    if done.returncode != 0:
        raise RuntimeError(f"shard {shard}: {done.stderr.strip()}")
    return shard


def run(trainer, arguments, out, shards):
    """Encodes all shards, joins them into `out`, and gives what the merge says."""
    command = [str(trainer), "encode", *map(str, arguments), "--out", str(out)]
    waiting = [
        encode.options(retry_exceptions=[ray.exceptions.WorkerCrashedError]).remote(
            f"{index}/{shards}", command
        )
        for index in range(shards)
    ]
    while waiting:
        done, waiting = ray.wait(waiting)
        for shard in ray.get(done):
            print(f"shard {shard} is finished, {len(waiting)} to go", flush=True)
    merge = [str(trainer), "encode", "--merge", "--out", str(out)]
    return subprocess.run(merge, check=True, capture_output=True, text=True).stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", type=pathlib.Path, default="trainer", help="the program")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    ray.init()
    shared = ["--model", arguments.model, "--data", arguments.data, "--device", arguments.device]
    print(run(arguments.trainer, shared, arguments.out, arguments.shards), end="")


if __name__ == "__main__":
    main()
