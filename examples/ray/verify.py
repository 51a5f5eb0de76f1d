#!/usr/bin/env python3
"""Runs encode_shards.py on a local Ray cluster of several workers, kills one of them half-way, and
checks that nothing is lost: the merged file has to be, byte for byte, that of one undisturbed run.

    pip install ray safetensors numpy
    cargo build --release -p trainer
    python examples/ray/verify.py --trainer target/release/trainer --data PHOTOS

Afterwards the file is read with safetensors alone, as docs/features.md describes it.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

import ray
from safetensors import safe_open

import encode_shards

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARDS, WORKERS = 8, 3


def running_encoders(out):
    """(its parent, its shard) of every `trainer encode --shard` that writes below `out`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if b"--shard" in command and str(out).encode() in command:
            found.append((parent, command[command.index(b"--shard") + 1].decode()))
    return found


def kill_one_half_way(out, killed):
    """Waits until a shard is half-way, then kills the Ray worker that runs it."""
    while not killed:
        time.sleep(0.02)
        for worker, shard in running_encoders(out):
            index, count = (int(part) for part in shard.split("/"))
            stem = out.with_suffix("")
            journal = pathlib.Path(f"{stem}.{index:05}-of-{count:05}{out.suffix}.journal.partial")
            try:
                encoded = journal.read_bytes().count(b"\n") - 1
            except OSError:
                continue
            if encoded < 16:
                continue
            os.kill(worker, signal.SIGKILL)
            killed.append((shard, encoded, worker))
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", type=pathlib.Path, default=ROOT / "target/release/trainer")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models/compact")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of photos, some hundreds")
    arguments = parser.parse_args()
    trainer = arguments.trainer.resolve()
    shared = ["--model", arguments.model.resolve(), "--data", arguments.data.resolve(), "--device", "cpu"]
    with tempfile.TemporaryDirectory() as folder:
        whole = pathlib.Path(folder, "whole/features.safetensors")
        subprocess.run([trainer, "encode", *shared, "--out", whole], check=True, capture_output=True)

        out = pathlib.Path(folder, "shards/features.safetensors")
        ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
        killed = []
        killer = threading.Thread(target=kill_one_half_way, args=(out, killed), daemon=True)
        killer.start()
        said = encode_shards.run(trainer, shared, out, SHARDS)
        ray.shutdown()
        assert killed, "no worker was killed: give more photos, so that a shard takes longer"
        shard, encoded, worker = killed[0]
        print(f"killed worker {worker} with shard {shard} after {encoded} images")
        print(said.strip())
        assert out.read_bytes() == whole.read_bytes(), "the merged file differs from one run's"

        with safe_open(out, framework="numpy") as file:
            about = file.metadata()
            features = file.get_tensor("features")
            labels = file.get_tensor("labels")
            names = file.get_tensor("files").tobytes().decode().split("\n")
        classes = json.loads(about["classes"])
        assert about["format"] == "negprompt-features" and int(about["count"]) == len(features)
        assert len(names) == len(labels) == len(features) and names == sorted(names, key=str.encode)
        assert labels.max() < len(classes)
        print(f"{len(features)} features of {len(classes)} classes, the same bytes as one run")


if __name__ == "__main__":
    main()
