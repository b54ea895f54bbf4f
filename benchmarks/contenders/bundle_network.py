"""The network of a bundle alone: seconds and arithmetic of one window, on one thread.

    python -m contenders.bundle_network BUNDLE IMAGE

Prints one JSON object: windows of the image, GFLOP of a window (convolutions, two per multiply-add), CPU seconds
of a window in OpenVINO, as we run it, and in torch, as MONAI does, OpenVINO's peak rate, and the largest errors of
logits against the network in float64, on some windows of the image.
"""

from __future__ import annotations

import copy
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
EVERY = 50  # window of the image is compared with float64


def main() -> None:
    bundle, image = sys.argv[1:]
    import torch

    from itk_infer import Predictor
    from itk_infer.volume.read import read_header

    torch.set_num_threads(1)
    predictor = Predictor.load(bundle, device="cpu", precision="fp32", threads=1)
    by_torch = Predictor.load(bundle, device="cpu", provider="cpu", precision="fp32", threads=1).backend
    header = read_header(Path(image))
    windows = len(predictor.plan(header.grid, header.dtype.itemsize).windows)
    shape = (BATCH, predictor.backend.shape.channels_in or 1, *predictor.model.window.patch)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    backend = predictor.backend
    backend.forward(values)  # compiles, and compares with NumPy
    found = {
        "windows": windows,
        "window_gflop": convolution_gflop(by_torch, values[:1]),
        "openvino_seconds": fastest(lambda: backend.forward(values)) / BATCH,
        "torch_seconds": fastest(lambda: by_torch.forward(values)) / BATCH,
        "peak_gflops": peak_gflops("openvino", "fp32", 1),
        "errors": errors(backend, by_torch, some_windows(predictor, Path(image))),
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


def some_windows(predictor: Any, image: Path) -> list[np.ndarray]:
    """Windows (1, C, Z, Y, X) of an image, as the network sees them."""
    from itk_infer.case.clock import Clock
    from itk_infer.case.images import volume_of_images
    from itk_infer.case.network_run import NetworkRun
    from itk_infer.engine.host import HostWorkspace

    volume, _ = volume_of_images([str(image)])
    plan = predictor.plan(volume.grid, volume.array.itemsize)
    run = NetworkRun(predictor.model, HostWorkspace(), volume, None, plan, Clock())
    grid, values = run.plan.windows, run.prepared.volume[:]
    beside = grid.pads_beside(tuple((0, 0) for _ in range(3))) if values.shape[1:] != grid.padded_size else ()
    padded = np.pad(values, ((0, 0), *beside)) if beside else values
    found = []
    for index in list(grid)[::EVERY]:
        where = tuple(slice(at, at + size) for at, size in zip(grid.origin(index), grid.patch, strict=True))
        found.append(np.ascontiguousarray(padded[(slice(None), *where)][None], np.float32))
    return found


def errors(backend: Any, by_torch: Any, windows: list[np.ndarray]) -> dict[str, float]:
    """Largest errors of the logits of torch, of OpenVINO as it is, and as we run it; and the largest logit."""
    import torch

    from itk_infer.model.runtimes import openvino

    exact = copy.deepcopy(by_torch._network).double()
    rewrites = ("normalise_exactly", "compose", "fill_vectors", "multiply_last")
    own = {name: getattr(openvino, name) for name in rewrites}
    vars(openvino).update(dict.fromkeys(rewrites, lambda model: None))
    plain = openvino.OpenVinoNetwork(backend._network.build, "fp32", 1)
    plain(windows[0])  # compiles
    vars(openvino).update(own)
    ours = openvino.OpenVinoNetwork(backend._network.build, "fp32", 1)
    found = dict.fromkeys(("torch", "plain", "ours", "largest"), 0.0)
    for window in windows:
        with torch.inference_mode():
            reference = exact(torch.from_numpy(window).double()).numpy()
        answers = {"torch": by_torch.forward, "plain": plain, "ours": ours}
        for name, run in answers.items():
            found[name] = max(found[name], float(np.abs(run(window) - reference).max()))
        found["largest"] = max(found["largest"], float(np.abs(reference).max()))
    return found


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
