"""Runs what `tacit export --format onnx` wrote in onnxruntime, after onnx's own checker, and compares the features.

    python check_onnx.py FILE FEATURES DIR normalised|pixels      what the file wants as input; DIR has the images
"""
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image


def input_of(model, directory, kind):
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    side, channels = int(metadata["image_size"]), int(metadata["channels"])
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["N", channels, side, side]
    images = [Image.open(p).convert("L" if channels == 1 else "RGB") for p in sorted(directory.glob("*.png"))]
    x = np.stack([np.asarray(i, np.float32).reshape(side, side, channels) for i in images]).transpose(0, 3, 1, 2) / 255
    mean, std = (np.array(json.loads(metadata[key]), np.float32).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    return x if kind == "pixels" else (x - mean) / std


def compare(file, features, directory, kind):
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8 and [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    expected = np.load(features)
    assert [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == ["N", expected.shape[1]]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    x = input_of(model, directory, kind)
    worst = 0
    for batch in (1, 5):
        ours = session.run(["features"], {"image": x[:batch]})[0]
        assert ours.shape == expected[:batch].shape, ours.shape
        worst = max(worst, np.abs(ours - expected[:batch]).max() / np.abs(expected).max())
    print(f"onnx {model.graph.name}, {kind}: {len(model.graph.node)} nodes, largest difference {worst:.2e} of the largest value")
    return 0 if worst < 2e-6 else 1


sys.exit(compare(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]))
