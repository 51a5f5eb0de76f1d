#!/usr/bin/env python3
"""Seconds and peak memory of `trainer encode`, of one shard, and of `--merge`, against the number of
images. The images are tiny and so is the tower: what is measured is everything else, which is all
that could grow.

    cargo build --release -p trainer
    python3 benches/encode_scale.py --trainer target/release/trainer

Every image file is different, so that none is taken over from another.
"""

import argparse
import os
import pathlib
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
CLASSES = 100


def make_images(folder, start, end):
    """Pictures of 4 × 4 pixels as PPM, in class folders."""
    for index in range(start, end):
        place = folder / f"class {index % CLASSES:03}"
        place.mkdir(parents=True, exist_ok=True)
        grain = (index * 2654435761 % 2**32).to_bytes(4, "little") + index.to_bytes(4, "little")
        (place / f"{index:08}.ppm").write_bytes(b"P6 4 4 255\n" + (grain * 6)[:48])


def measure(*command):
    """Seconds, and the most memory that the process ever had, in MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{command} ended with status {status}"
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", type=pathlib.Path, default=ROOT / "target/release/trainer")
    parser.add_argument("--images", type=int, nargs="+", default=[5_000, 10_000, 20_000, 40_000])
    parser.add_argument("--shard-size", type=int, default=5_000, help="images a shard, about")
    arguments = parser.parse_args()
    trainer = arguments.trainer.resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = folder / "model"
        checkpoint = ROOT / "tests/fixtures/clip/openai_vit.pt"
        measure(trainer, "import", checkpoint, "--out", model)
        print("| images | all at once, s | MiB | shards | one shard, s | MiB | merge, s | MiB |")
        print("|---|---|---|---|---|---|---|---|")
        made = 0
        for count in arguments.images:
            assert count >= made, "give the numbers in growing order"
            data = folder / "images"
            make_images(data, made, count)
            made = count
            encode = (trainer, "encode", "--model", model, "--data", data, "--device", "cpu")
            whole = measure(*encode, "--out", folder / f"whole-{count}.safetensors")
            shards = max(1, round(count / arguments.shard_size))
            out = folder / f"shards-{count}/f.safetensors"
            each = [measure(*encode, "--out", out, "--shard", f"{index}/{shards}") for index in range(shards)]
            merge = measure(trainer, "encode", "--merge", "--out", out)
            assert out.read_bytes() == (folder / f"whole-{count}.safetensors").read_bytes()
            mean = sum(seconds for seconds, _ in each) / shards
            most = max(memory for _, memory in each)
            print(
                f"| {count:,} | {whole[0]:.1f} | {whole[1]:.0f} | {shards} | {mean:.1f} | {most:.0f} "
                f"| {merge[0]:.1f} | {merge[1]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
