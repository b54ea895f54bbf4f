"""Post-processing of one label map, by several programs, one a process.

    python -m contenders.postprocess TASK PROGRAM

A label map of 300 x 512 x 512 voxels with 20 labels, 400 stray blobs and holes. TASK ``largest``: keep the largest
part of each label, corners touching included. TASK ``holes``: fill the holes of each label. Prints a JSON object:
CPU seconds, the peak of memory and what it was before, and the voxels of each label that are left.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from contenders.evaluate import SPACING, labels, peak_mib


def label_map():
    """20 balls with stray blobs of their labels, and holes."""
    _, array = labels()
    rng = np.random.default_rng(0)
    for number, (z, y, x) in enumerate(rng.integers((5, 5, 5), (295, 507, 507), (400, 3))):
        part = array[z - 2 : z + 2, y - 4 : y + 4, x - 4 : x + 4]
        part[...] = 0 if part.any() else number % 20 + 1
    return array


def ours(task, array):
    from itk_infer.spec import Label
    from itk_infer.spec.postprocessing import FillHoles, KeepLargest
    from itk_infer.volume.grid import Grid
    from itk_infer.volume.postprocess import apply_rules

    table = [Label(value, str(value), "#000000", value) for value in range(1, 21)]
    rule = KeepLargest() if task == "largest" else FillHoles()
    return apply_rules(array, Grid(array.shape, SPACING), table, [rule])[0]


def simpleitk(task, array):
    import SimpleITK as sitk

    result = array.copy() if task == "holes" else np.zeros_like(array)
    image = sitk.GetImageFromArray(array)
    for value in range(1, 21):
        mask = sitk.Equal(image, value)
        if task == "holes":
            filled = sitk.GetArrayFromImage(sitk.BinaryFillhole(mask, fullyConnected=False))
            result[(filled != 0) & (array == 0)] = value
            continue
        parts = sitk.RelabelComponent(sitk.ConnectedComponent(mask, True), sortByObjectSize=True)
        result[sitk.GetArrayViewFromImage(parts) == 1] = value
    return result


def monai(task, array):  # keeps the largest
    import torch
    from monai.transforms import KeepLargestConnectedComponent

    change = KeepLargestConnectedComponent(list(range(1, 21)), connectivity=3)
    return np.asarray(change(torch.from_numpy(array[None].copy())))[0]


PROGRAMS = {"ours": ours, "simpleitk": simpleitk, "monai": monai}


def main() -> None:
    task, name = sys.argv[1:]
    array = label_map()
    warm_up = np.zeros((8, 8, 8), np.uint8)
    warm_up[2:5, 2:6, 2:6] = 1
    PROGRAMS[name](task, warm_up)  # what is imported does not count
    before = peak_mib()
    start = time.process_time()
    result = PROGRAMS[name](task, array)
    seconds = time.process_time() - start
    values = np.bincount(result.ravel().astype(np.uint8), minlength=21)[1:].tolist()
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib(), "before_mib": before, "values": values}))


if __name__ == "__main__":
    main()
