#!/usr/bin/env python3
"""Encodes a large folder of photos on a Ray cluster: one task a shard, nothing shared but the disk.

    pip install ray
    python encode_shards.py --trainer target/release/trainer --model models/compact \
        --data photos --out out/features.safetensors --shards 64

A task is one `trainer encode --shard I/N --resume`, which takes all processors of its machine: a task
reserves `--cpus` of them, as many as the smallest machine of the cluster has if that is left out, so that
one runs on a machine at a time. A worker that dies takes its task's process with it; Ray starts the task
on another worker, which goes on behind the last image that was encoded. The program, the model, the photos
and the output have to be at the same paths on every machine.
"""

import argparse
import ctypes
import pathlib
import shutil
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


@ray.remote(max_retries=-1)
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


def smallest_machine():
    """Processors of the smallest machine of the cluster that has any."""
    counts = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return min((count for count in counts if count > 0), default=1)


def run(trainer, arguments, out, shards, cpus=1, gpus=0):
    """Encodes all shards, joins them into `out`, and gives what the merge says. A task reserves
    `cpus` processors and `gpus` graphics cards."""
    command = [str(trainer), "encode", *map(str, arguments), "--out", str(out)]
    waiting = [
        encode.options(
            num_cpus=cpus, num_gpus=gpus, retry_exceptions=[ray.exceptions.WorkerCrashedError]
        ).remote(f"{index}/{shards}", command)
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
    parser.add_argument("--trainer", default="trainer", help="the program: a path, or a name on the PATH")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="model directory")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--device", default="auto", help="what the trainer computes on, as in `trainer encode --help`")
    parser.add_argument("--cpus", type=int, help="processors that a task reserves [default: all of the smallest machine]")
    parser.add_argument("--gpus", type=float, default=0, help="graphics cards that a task reserves; --device says which it uses")
    arguments = parser.parse_args()
    # A worker runs in a folder of its own: relative paths would mean something else there.
    trainer = shutil.which(arguments.trainer)
    if trainer is None:
        parser.error(f"there is no program {arguments.trainer}: give its path with --trainer")
    trainer = pathlib.Path(trainer).absolute()
    model, data, out = (path.resolve() for path in (arguments.model, arguments.data, arguments.out))
    if not model.is_dir():
        parser.error(f"there is no model directory {model}: make one with `trainer import`")
    ray.init()
    shared = ["--model", model, "--data", data, "--device", arguments.device]
    cpus = smallest_machine() if arguments.cpus is None else arguments.cpus
    print(run(trainer, shared, out, arguments.shards, cpus, arguments.gpus), end="")


if __name__ == "__main__":
    main()
