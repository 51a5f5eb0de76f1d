"""The compact model's image tower in onnxruntime, on the CPU: what `trainer encode` is measured beside.

    python benches/reference/encode_onnxruntime.py MODEL_DIRECTORY PHOTO_FOLDER [THREADS]

Needs onnx, onnxruntime, pillow, numpy and safetensors. The network is built from the weights of
MODEL_DIRECTORY (f32), so that both sides compute the same features. Prints one JSON line with images
per second of the network alone, by batch size, and of the whole way from file to feature with
Pillow's decoder and bicubic.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageOps
from safetensors.numpy import load_file


def build(folder):
    """ONNX of the tower that `config.json` and `image.safetensors` describe."""
    config = json.loads((folder / "config.json").read_text())
    image = config["image"]
    weights = {name: value.astype(np.float32) for name, value in load_file(folder / "image.safetensors").items()}
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(value, name))
        return name

    low, high = constant("low", np.float32(0)), constant("high", np.float32(6))

    def convolution(x, name, size, stride=1, groups=1, relu6=True):
        weight = weights[f"visual.{name}.weight"]
        kernel = weight.shape[2]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before = total // 2
        nodes.append(helper.make_node(
            "Conv",
            [x, constant(f"{name}.weight", weight), constant(f"{name}.bias", weights[f"visual.{name}.bias"])],
            [f"{name}.out"],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, total - before, total - before],
            group=groups,
        ))
        x = f"{name}.out"
        if relu6:
            nodes.append(helper.make_node("Clip", [x, low, high], [f"{name}.clipped"]))
            x = f"{name}.clipped"
        return x, -(-size // stride)

    x, size = convolution("pixels", "stem", image["image_size"], stride=2)
    number = 0
    for stage in image["stages"]:
        for repeat in range(stage["repeats"]):
            inputs = stage["input"] if repeat == 0 else stage["output"]
            stride = stage["stride"] if repeat == 0 else 1
            hidden = inputs * stage["expand"]
            name, entry = f"blocks.{number}", x
            if stage["expand"] != 1:
                x, _ = convolution(x, f"{name}.expand", size)
            x, size = convolution(x, f"{name}.depthwise", size, stride, hidden)
            x, _ = convolution(x, f"{name}.project", size, relu6=False)
            if stride == 1 and inputs == stage["output"]:
                nodes.append(helper.make_node("Add", [x, entry], [f"{name}.sum"]))
                x = f"{name}.sum"
            number += 1
    x, _ = convolution(x, "head", size)
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node(
        "Gemm",
        ["flat", constant("proj.weight", weights["visual.proj.weight"]), constant("proj.bias", weights["visual.proj.bias"])],
        ["features"],
        transB=1,
    ))
    side = image["image_size"]
    graph = helper.make_graph(
        nodes,
        "image",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", config["embed_dim"]])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString(), config["preprocessing"]


def pixels(path, preprocessing):
    """Short side to `resize`, centre crop, normalised: `[3, size, size]`."""
    photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    short, size = preprocessing["resize"], preprocessing["size"]
    scale = short / min(photo.size)
    photo = photo.resize([round(side * scale) for side in photo.size], Image.BICUBIC)
    left, top = (photo.width - size) // 2, (photo.height - size) // 2
    photo = photo.crop((left, top, left + size, top + size))
    values = np.asarray(photo, np.float32) / 255
    mean, std = np.float32(preprocessing["mean"]), np.float32(preprocessing["std"])
    return ((values - mean) / std).transpose(2, 0, 1)


def main():
    folder, photos = Path(sys.argv[1]), Path(sys.argv[2])
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else os.cpu_count()
    model, preprocessing = build(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    first = np.stack([pixels(path, preprocessing) for path in files[:64]])
    report = {"threads": threads, "images": len(files), "network": {}}
    for batch in (1, 16, 32):
        session.run(None, {"pixels": first[:batch]})
        rates = []
        for _ in range(5):
            started, done = time.perf_counter(), 0
            while time.perf_counter() - started < 1.5:
                session.run(None, {"pixels": first[done % 32 : done % 32 + batch]})
                done += batch
            rates.append(done / (time.perf_counter() - started))
        report["network"][batch] = round(sorted(rates)[2], 1)
    started, done = time.perf_counter(), 0
    with ThreadPoolExecutor(threads) as pool:
        waiting = [files[at : at + 16] for at in range(0, len(files), 16)]
        for batch in waiting:
            session.run(None, {"pixels": np.stack(list(pool.map(lambda path: pixels(path, preprocessing), batch)))})
            done += len(batch)
    report["files"] = round(done / (time.perf_counter() - started), 1)
    print(json.dumps(report))


main()
