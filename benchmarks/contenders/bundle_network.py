"""The network of a bundle alone: seconds and arithmetic of one window, on one thread.

    python -m contenders.bundle_network BUNDLE IMAGE

Prints one JSON object: windows of the image, GFLOP of a window (convolutions, two per multiply-add), CPU seconds
of a window in OpenVINO, as we run it, and in torch, as MONAI does, and OpenVINO's peak rate.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from contenders.peak import peak_gflops

REPEATS, BATCH = 8, 4


def main() -> None:
    bundle, image = sys.argv[1:]
    import torch

    from itk_infer import Predictor
    from itk_infer.volume.read import read_header

    torch.set_num_threads(1)
    predictor = Predictor.load(bundle, device="cpu", precision="fp32", threads=1)
    header = read_header(Path(image))
    windows = len(predictor.plan(header.grid, header.dtype.itemsize).windows)
    shape = (BATCH, predictor.backend.shape.channels_in or 1, *predictor.model.window.patch)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    backend = predictor.backend
    backend.forward(values)  # compiles, and compares with torch
    found = {
        "windows": windows,
        "window_gflop": convolution_gflop(backend, values[:1]),
        "openvino_seconds": fastest(lambda: backend.forward(values)) / BATCH,
        "torch_seconds": fastest(lambda: backend._eager(values)) / BATCH,
        "peak_gflops": peak_gflops("openvino", "fp32", 1),
    }
    print(json.dumps(found))


def fastest(run: Callable[[], object]) -> float:
    """CPU seconds of the fastest of some runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def convolution_gflop(backend: Any, window: np.ndarray) -> float:
    """GFLOP of the convolutions and transposed convolutions of one window (1, C, Z, Y, X)."""
    from torch import nn

    counted = []

    def count(layer: Any, given: Any, answer: Any) -> None:
        # A convolution sums for each output voxel, a transposed one spreads each input voxel.
        transposed = isinstance(layer, nn.ConvTranspose3d)
        voxels = (given[0] if transposed else answer).numel()
        channels = (layer.out_channels if transposed else layer.in_channels) // layer.groups
        counted.append(2 * voxels * channels * math.prod(layer.kernel_size))

    layers = [layer for layer in backend._network.modules() if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        backend._eager(window)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counted) / 1e9


if __name__ == "__main__":
    main()
