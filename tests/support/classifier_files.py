"""A small network that classifies pictures, and an archive of them, as the pages of the documentation take them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

SPEC = {
    "spec": 1,
    "task": "classify",
    "name": "nodule",
    "input": {"channels": ["grey"], "size": [32, 32]},
    "output": {
        "activation": "sigmoid",
        "labels": [{"name": "nodule", "channel": 0, "threshold": 0.5}, {"name": "dark", "channel": 1}],
    },
}


def make_classifier(path: Path) -> Path:
    """Two labels: a bright spot, and a dark picture. Four channels, a ReLU, their means, a linear layer."""
    import onnx

    from support.onnx_files import save

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    kernels = np.zeros((4, 1, 3, 3))
    kernels[0] = 1 / 9  # bright
    kernels[1] = -1 / 9  # dark
    kernels[2, 0] = [[-1, 0, 1]] * 3
    kernels[3, 0] = np.transpose([[-1, 0, 1]] * 3)
    weights = {
        "kernels": kernels,
        "offsets": [-0.6, 0.4, -1.0, -1.0],
        "weights": [[900.0, -20.0], [0.0, 40.0], [1.0, 0.0], [1.0, 0.0]],
        "bias": [-2.0, -8.0],
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernels", "offsets"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
    ]
    initializers = [onnx.numpy_helper.from_array(np.array(v, np.float32), name) for name, v in weights.items()]
    ends = {"image": (kind, ["n", 1, 32, 32])}, {"logits": (kind, ["n", 2])}
    return save(path, nodes, *ends, {"itk_infer": json.dumps(SPEC)}, initializers)


def make_archive(folder: Path) -> Path:
    """Three folders of four pictures; the first of the first two folders has a bright spot. And what is true of them."""
    rng = np.random.default_rng(0)
    rows = [("file", "nodule")]
    for study in range(3):
        for number in range(4):
            picture = 0.4 + 0.02 * rng.normal(size=(48, 40))
            spot = number == 0 and study < 2
            if spot:
                picture[10:16, 20:28] = 0.95
            path = folder / f"p{study + 1}" / f"{number + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture * 255).astype(np.uint8)).save(path)
            rows.append((path.relative_to(folder).as_posix(), str(int(spot))))
    with (folder.parent / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder
