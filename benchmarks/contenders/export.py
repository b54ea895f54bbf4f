"""From logits on the model's grid to labels on a grid twice as fine, by one contender.

    python -m contenders.export FOLDER CLASSES CONTENDER THREADS

The contender ``make`` writes the logits and the reference into the folder.

Prints one JSON object: seconds, memory beyond the logits themselves, and label agreement with
resampling every channel linearly in float64 and taking the largest.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from contenders.workload import forget_peak, peak_mib

MODEL, NATIVE = (64, 128, 128), (128, 256, 256)


def logits(classes: int) -> np.ndarray:
    """Smooth organs of every class over a background, as trained networks answer; float32."""
    rng = np.random.default_rng(0)
    found = np.stack([gaussian_filter(rng.normal(size=MODEL).astype(np.float32), 5) * 300 for _ in range(classes)])
    found[0] += 12
    return found


def reference(array: np.ndarray) -> np.ndarray:
    best = np.full(NATIVE, -np.inf)
    labels = np.zeros(NATIVE, np.uint8)
    for channel, values in enumerate(array):
        fine = zoom(values.astype(np.float64), 2, order=1, mode="nearest", grid_mode=True)
        labels[fine > best] = channel
        np.maximum(best, fine, out=best)
    return labels


def nnunet(kind: str):
    def prepare(array: np.ndarray, threads: int):
        import torch
        from nnunetv2.inference.export_prediction import (
            convert_predicted_logits_to_segmentation_with_correct_shape as convert,
        )
        from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
        from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
        from nnunetv2.utilities.label_handling.label_handling import LabelManager

        if kind == "default":
            resample = functools.partial(
                resample_data_or_seg_to_shape, is_seg=False, order=1, order_z=0, force_separate_z=None
            )
        else:
            resample = functools.partial(
                resample_torch_fornnunet, is_seg=False, force_separate_z=False, num_threads=threads
            )
        names = {"background": 0, **{f"label {k}": k for k in range(1, len(array))}}
        manager = LabelManager(names, None)
        plans = SimpleNamespace(transpose_forward=[0, 1, 2], transpose_backward=[0, 1, 2])
        configuration = SimpleNamespace(spacing=[2.0, 2.0, 2.0], resampling_fn_probabilities=resample)
        properties = {
            "spacing": [1.0, 1.0, 1.0],
            "shape_after_cropping_and_before_resampling": NATIVE,
            "shape_before_cropping": NATIVE,
            "bbox_used_for_cropping": [[0, n] for n in NATIVE],
        }
        half = torch.from_numpy(array).half()  # as its predictor hands them over
        return lambda: convert(half, plans, configuration, manager, properties, num_threads_torch=threads)

    return prepare


def ours(array: np.ndarray, threads: int):
    from itk_infer.engine.decision import Decision
    from itk_infer.engine.native_decision import decide_on_native
    from itk_infer.engine.workspace import Slab
    from itk_infer.spec import OutputSpec
    from itk_infer.volume.interpolation import ModelGrid, axis_map

    grid = ModelGrid(tuple(axis_map(n, m, n / m, "edge") for n, m in zip(NATIVE, MODEL, strict=True)))
    decision = Decision(OutputSpec(), len(array))

    def run():
        labels = np.empty(NATIVE, np.uint8)
        slabs = (Slab(z, array[:, z : z + 8]) for z in range(0, MODEL[0], 8))
        for slab in decide_on_native(slabs, grid, decision, threads):
            labels[slab.z0 : slab.z0 + len(slab.labels)] = slab.labels
        return labels

    return run


CONTENDERS = {"nnunet-default": nnunet("default"), "nnunet-torch": nnunet("torch"), "ours": ours}


def make(folder: Path, classes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    array = logits(classes)
    np.save(folder / "logits.npy", array)
    np.save(folder / "reference.npy", reference(array))


def main() -> None:
    folder, classes, name, threads = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    if name == "make":
        make(folder, classes)
        print("{}")
        return
    array = np.load(folder / "logits.npy")
    run = CONTENDERS[name](array, threads)
    before = forget_peak()
    start = time.perf_counter()
    labels = run()
    seconds = time.perf_counter() - start
    peak = peak_mib() - before
    agreement = float(np.mean(np.asarray(labels) == np.load(folder / "reference.npy")))
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "agreement": agreement}))


if __name__ == "__main__":
    main()
