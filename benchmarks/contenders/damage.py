"""Segments damaged versions of images, and measures which number of the ledger ranks the masks by their Dice.

damage.py MODEL.onnx IMAGES LABELS
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.stats import spearmanr

from itk_infer import Predictor
from itk_infer.evaluate.calibrate import ScoredCase, calibrate

FAILED = 0.7  # Dice
LIMITS = (0.7, 0.8, 0.85)  # of a calibration
RANDOM_HALVES = 200
Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def damages() -> dict[str, Damage]:
    """Thirty versions of an image scaled to 0..1; the first is the image itself."""
    found: dict[str, Damage] = {"as it is": lambda image, rng: image}
    for sigma in (0.02, 0.05, 0.1, 0.2):
        found[f"noise {sigma}"] = lambda image, rng, s=sigma: image + rng.normal(0, s, image.shape)
    for sigma in (0.5, 1.0, 2.0):
        found[f"blur {sigma}"] = lambda image, rng, s=sigma: ndimage.gaussian_filter(image, s)
    for gamma in (0.5, 0.7, 1.5, 2.0):
        found[f"gamma {gamma}"] = lambda image, rng, g=gamma: np.clip(image, 0, None) ** g
    found["inverted"] = lambda image, rng: 1 - image
    for strength in (0.25, 0.5, 1.0):
        found[f"bias {strength}"] = lambda image, rng, s=strength: image * _bias(image.shape, s, rng)
    for factor in (2, 4, 6):
        found[f"slices {factor}"] = lambda image, rng, f=factor: _thick(image, f)
    for angle in (10, 25, 45):
        found[f"turned {angle}"] = lambda image, rng, a=angle: ndimage.rotate(
            image, a, (1, 2), reshape=False, order=1, mode="nearest"
        )
    for axis in range(3):
        found[f"flipped {axis}"] = lambda image, rng, a=axis: np.flip(image, a)
    for share in (0.2, 0.4):
        found[f"ghost {share}"] = lambda image, rng, s=share: image + s * np.roll(image, image.shape[1] // 3, 1)
    for strength in (0.3, 0.8):
        found[f"spikes {strength}"] = lambda image, rng, s=strength: image + _spikes(image.shape, s, rng)
    found["upper half missing"] = lambda image, rng: _without_half(image)
    return found


def _bias(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> np.ndarray:
    field = ndimage.zoom(rng.normal(0, strength, (3, 3, 3)), [n / 3 for n in shape], order=3)
    return np.exp(field)


def _thick(image: np.ndarray, factor: int) -> np.ndarray:
    means = [image[z : z + factor].mean(axis=0, keepdims=True) for z in range(0, len(image), factor)]
    return np.repeat(np.concatenate(means), factor, axis=0)[: len(image)]


def _spikes(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> np.ndarray:
    waves = np.zeros(shape)
    grid = np.indices(shape)
    for _ in range(2):
        frequency = rng.uniform(0.3, 1.2, 3)
        waves += strength / 2 * np.cos(np.tensordot(frequency, grid, 1) + rng.uniform(0, 6))
    return waves


def _without_half(image: np.ndarray) -> np.ndarray:
    damaged = image.copy()
    damaged[len(image) // 2 :] = 0
    return damaged


def truth_of(name: str, labels: np.ndarray) -> np.ndarray:
    """The labels that belong to a version: those of flipped and turned images move with them."""
    kind, _, value = name.partition(" ")
    if kind == "flipped":
        return np.flip(labels, int(value))
    if kind == "turned":
        return ndimage.rotate(labels, int(value), (1, 2), reshape=False, order=0)
    return labels


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    values = [v for v in np.unique(truth) if v]
    both = [2 * np.sum((mask == v) & (truth == v)) / (np.sum(mask == v) + np.sum(truth == v)) for v in values]
    return float(np.mean(both))


def keys_of(found) -> dict[str, float]:
    """The numbers of a mask by which a folder could be sorted; high is sure."""
    missing = any(not item.voxels for item in found.labels)
    outside = [item.outside_largest for item in found.labels if item.outside_largest is not None]
    ratio = [
        min(item.expected_ml, item.volume_ml) / max(item.expected_ml, item.volume_ml)
        for item in found.labels
        if item.voxels and item.expected_ml
    ]
    return {
        "soft Dice of the worst label": 0.0 if missing else found.soft_dice,
        "foreground confidence": found.confidence_foreground or 0.0,
        "confidence over all voxels": found.confidence,
        "expected against hard volume": 0.0 if missing else min(ratio),
        "share inside the largest component": 0.0 if missing else 1 - max(outside),
    }


def aurc(risk: np.ndarray, key: np.ndarray) -> float:
    """The mean over all orders of those whose key is the same is the mean risk among them."""
    values = np.unique(key)[::-1]
    ordered = np.concatenate([np.full(np.sum(key == v), risk[key == v].mean()) for v in values])
    return float(np.mean(np.cumsum(ordered) / np.arange(1, len(risk) + 1)))


def auroc(failed: np.ndarray, key: np.ndarray) -> float:
    good, bad = key[~failed][:, None], key[failed][None]
    return float(np.mean((good > bad) + 0.5 * (good == bad)))


def versions(image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    low, high = np.percentile(image, (0.5, 99.5))
    scaled = (image.astype(np.float64) - low) / max(high - low, 1e-9)
    for number, (name, damage) in enumerate(damages().items()):
        yield name, np.ascontiguousarray(damage(scaled, np.random.default_rng(number)), np.float32)


def results_of(found) -> dict[str, Any]:
    """What a calibration looks at, as the ledger has it."""
    findings = [{"name": item.label.name, "volume_ml": item.volume_ml} for item in found.labels]
    return {"soft_dice": found.soft_dice, "findings": findings}


def halves(owners: list[str]) -> dict[str, list[np.ndarray]]:
    """Ways to split the versions, each as a mask of those that calibrate: by image, or by chance."""
    names = sorted(set(owners))
    of_images = [np.isin(owners, half) for half in itertools.combinations(names, len(names) // 2)]
    rng = np.random.default_rng(0)
    at_random = [rng.permutation(len(owners)) < len(owners) // 2 for _ in range(RANDOM_HALVES)]
    return {"images": of_images, "versions": at_random}


def calibrated(
    results: list[dict[str, Any]], dices: np.ndarray, splits: list[np.ndarray], limit: float
) -> dict[str, float]:
    """Calibrations of halves of the versions judge the others.

    Args:
        results: Of each version.
        dices: Its Dice.
        splits: See `halves`.
        limit: The least Dice that is good enough; below it, a mask is a failure.
    """
    accepted, failures, tested, covered, nothing, broken = 0, 0, 0, 0, 0, 0
    for half in splits:
        cases = [
            ScoredCase(
                str(number),
                results[number]["soft_dice"],
                float(dices[number]),
                {finding["name"]: finding["volume_ml"] for finding in results[number]["findings"]},
            )
            for number in np.flatnonzero(half)
        ]
        made = calibrate(cases, model="model", score="soft_dice", limit=limit)
        before = accepted, failures
        for number in np.flatnonzero(~half):
            judged = made.judge(results[number], "model")
            tested += 1
            covered += judged.low is not None and dices[number] >= judged.low
            accepted += judged.verdict == "accept"
            failures += bool(judged.verdict == "accept" and dices[number] < limit)
        nothing += made.accept_from is None
        broken += failures - before[1] > made.failures * (accepted - before[0])
    return {
        "splits": len(splits),
        "nothing": nothing / len(splits),
        "broken": broken / len(splits),
        "accepted": accepted / tested,
        "failures": failures / max(accepted, 1),
        "covered": float(covered / tested),
    }


def main(model: str, images: str, labels: str) -> None:
    predictor = Predictor.load(model, device="cpu", orientation="input")
    stable = Predictor.load(model, device="cpu", orientation="input", stability=4)
    risks, keys, results, owners = [], [], [], []
    files = sorted(Path(images).glob("*.nii.gz"))
    for path in files:
        image = sitk.ReadImage(str(path))
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(Path(labels) / path.name)))
        for name, array in versions(sitk.GetArrayFromImage(image)):
            damaged = sitk.GetImageFromArray(array)
            damaged.CopyInformation(image)
            result = predictor(damaged)
            risks.append(1 - dice(sitk.GetArrayFromImage(result.labels), truth_of(name, truth)))
            keys.append(keys_of(result.measurements))
            compared = stable(damaged).measurements
            missing = any(not item.voxels for item in compared.labels)
            keys[-1]["agreement of five members (--stability 4)"] = 0.0 if missing else compared.agreement
            results.append(results_of(result.measurements))
            owners.append(path.name)
    risk = np.array(risks)
    failed = risk > 1 - FAILED
    found = {}
    for name in keys[0]:
        key = np.array([row[name] for row in keys])
        rank = float(spearmanr(key, 1 - risk).statistic)
        found[name] = {"aurc": aurc(risk, key), "auroc": auroc(failed, key), "spearman": rank}
    best = aurc(risk, -risk)
    print(
        json.dumps(
            {
                "cases": len(files),
                "versions": len(damages()),
                "failed": float(failed.mean()),
                "random": float(risk.mean()),
                "best": best,
                "keys": found,
                "calibrated": {
                    way: {str(limit): calibrated(results, 1 - risk, splits, limit) for limit in LIMITS}
                    for way, splits in halves(owners).items()
                },
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
