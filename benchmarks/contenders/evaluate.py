"""Masks against ground truth, by several programs, one a process.

    python -m contenders.evaluate TASK PROGRAM

TASK ``organ``: one organ of 3.5 million voxels with far islands, so that its box is the whole image of
300 x 512 x 512 voxels: Dice, HD, HD95, NSD at 2 mm, ASSD, as far as the program has them. TASK ``labels``: Dice of
20 labels. Prints one JSON object: CPU seconds, the peak of memory and what it was before, and the values.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np

SHAPE, SPACING, TOLERANCE = (300, 512, 512), (1.5, 0.8, 0.8), 2.0


def ball(array, centre, radius, value):
    """Set the voxels of a ball; the radius in mm."""
    z, y, x = (np.arange(n) * s - c * s for n, s, c in zip(array.shape, SPACING, centre, strict=True))
    for plane, height in zip(array, z, strict=True):  # little memory: the peak is to be the program's
        plane[height**2 + y[:, None] ** 2 + x[None] ** 2 < radius**2] = value


def organ():
    """Mask and truth of one organ: balls of 93 mm, 4 mm apart, and 40 islands each."""
    rng = np.random.default_rng(0)
    found = []
    for centre in ((151, 258, 254), (150, 256, 256)):
        array = np.zeros(SHAPE, np.uint8)
        ball(array, centre, 93, 1)
        for z, y, x in rng.integers((5, 5, 5), (295, 507, 507), (40, 3)):
            array[z - 2 : z + 2, y - 4 : y + 4, x - 4 : x + 4] = 1
        found.append(array)
    return found


def labels():
    """Mask and truth of 20 balls, moved by a voxel."""
    truth = np.zeros(SHAPE, np.uint8)
    for value in range(1, 21):
        row, column = divmod(value - 1, 5)
        ball(truth, (60 + 60 * row, 60 + 95 * column, 120 + 60 * row), 30, value)
    return [np.roll(truth, 1, axis=2), truth]


def ours(task, mask, truth):
    from itk_infer.evaluate.overlap import joint_counts

    counts = joint_counts(mask, truth)
    if task == "labels":
        return [2 * counts.common(v, v) / (counts.in_mask(v) + counts.in_truth(v)) for v in range(1, 21)]
    from itk_infer.evaluate.label_match import LabelPair
    from itk_infer.evaluate.metrics import MetricSettings, label_scores

    pair = LabelPair("organ", 1, 1, "value")
    (found,) = label_scores(mask, truth, counts, [pair], SPACING, MetricSettings(TOLERANCE))
    return {"dice": found.dice, "hd": found.hd, "hd95": found.hd95, "nsd": found.nsd, "assd": found.assd}


def simpleitk(task, mask, truth):
    import SimpleITK as sitk

    one, other = map(sitk.GetImageFromArray, (mask, truth))
    for image in (one, other):
        image.SetSpacing(SPACING[::-1])
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(one, other)
    if task == "labels":
        return [overlap.GetDiceCoefficient(value) for value in range(1, 21)]
    distance = sitk.HausdorffDistanceImageFilter()
    distance.Execute(one, other)
    return {"dice": overlap.GetDiceCoefficient(1), "hd": distance.GetHausdorffDistance()}


def monai(task, mask, truth):  # 20 labels would be 13 GiB as integers of one channel per label
    import torch
    from monai import metrics

    one, other = map(torch.from_numpy, (mask, truth))
    pair = [torch.stack([t == 0, t == 1])[None].float() for t in (one, other)]
    hd95 = metrics.compute_hausdorff_distance(*pair, percentile=95, spacing=SPACING)
    nsd = metrics.compute_surface_dice(*pair, [TOLERANCE], spacing=SPACING, use_subvoxels=True)
    return {"hd95": float(hd95), "nsd": float(nsd)}


def surface_distance(task, mask, truth):
    import surface_distance as sd

    distances = sd.compute_surface_distances(truth == 1, mask == 1, SPACING)
    means = sd.compute_average_surface_distance(distances)
    areas = [distances[f"surfel_areas_{name}"].sum() for name in ("gt", "pred")]
    return {
        "dice": sd.compute_dice_coefficient(truth == 1, mask == 1),
        "hd": float(sd.compute_robust_hausdorff(distances, 100)),
        "hd95": float(sd.compute_robust_hausdorff(distances, 95)),
        "nsd": float(sd.compute_surface_dice_at_tolerance(distances, TOLERANCE)),
        "assd": float(np.average(means, weights=areas)),
    }


PROGRAMS = {"ours": ours, "simpleitk": simpleitk, "monai": monai, "surface-distance": surface_distance}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    task, name = sys.argv[1:]
    mask, truth = {"organ": organ, "labels": labels}[task]()
    warm_up = np.zeros((8, 8, 8), np.uint8)
    warm_up[2:5, 2:6, 2:6] = 1
    PROGRAMS[name]("organ", warm_up, np.roll(warm_up, 1, 0))  # what is imported does not count
    before = peak_mib()
    start = time.process_time()
    values = PROGRAMS[name](task, mask, truth)
    seconds = time.process_time() - start
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib(), "before_mib": before, "values": values}))


if __name__ == "__main__":
    main()
