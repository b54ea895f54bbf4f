"""Adding one weighted window to an accumulator, one thread, by several ways in turn.

    python -m contenders.accumulate REPEATS

The ways of the peers are the statements of their sources: nnU-Net 2.8.1 multiplies the fp32 window by a
half Gaussian in place and adds it to half logits, then the Gaussian to half counts; MONAI 1.6.1
multiplies into a new array, and adds. ``addcmul`` is torch's fused multiply and add, the least that can
be done. Prints one JSON object: milliseconds of each way, the smallest of all repeats, and the largest error.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

CLASSES, PATCH, PLANE = 14, (96, 96, 96), (192, 192)


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import torch

    from itk_infer.engine.accumulator import HostAccumulator

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    window = rng.normal(size=(CLASSES, *PATCH)).astype(np.float32)
    along = np.exp(-0.5 * ((np.arange(96) - 47.5) / 12) ** 2).astype(np.float32)
    weights = np.einsum("z,y,x->zyx", along, along, along)
    there = (slice(None), slice(0, 96), slice(48, 144), slice(48, 144))
    shape = (CLASSES, 96, *PLANE)

    gauss, half_gauss = torch.from_numpy(weights), (torch.from_numpy(weights) * 10).half()
    single, fused = torch.zeros(shape), torch.zeros(shape)
    half, counts = torch.zeros(shape, dtype=torch.half), torch.zeros(shape[1:], dtype=torch.half)
    accumulator = HostAccumulator(CLASSES, 96, PLANE)
    tensor = torch.from_numpy(window)

    def nnunet(prediction):
        prediction *= half_gauss
        half[there] += prediction
        counts[there[1:]] += half_gauss

    def monai(prediction):
        single[there] += prediction * gauss

    ways = {
        "nnunet": lambda: nnunet(tensor.clone()),
        "monai": lambda: monai(tensor),
        "addcmul": lambda: fused[there].addcmul_(tensor, gauss),
        "ours": lambda: accumulator.add(window, (along, along, along), (0, 48, 48)),
    }
    copy = smallest(tensor.clone, 20)  # nnU-Net's way overwrites the window; its copy is taken off
    repeats = int(sys.argv[1])
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            best[name] = min(best[name], smallest(way, 1))
    best["nnunet"] -= copy
    planes = accumulator.take(0, 96)
    error = float(np.abs(planes - fused.numpy()).max() / np.abs(planes).max())
    print(json.dumps({"seconds": sum(best.values()), "ms": {k: v * 1e3 for k, v in best.items()}, "error": error}))


def smallest(way, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        way()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
