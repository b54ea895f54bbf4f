"""Labels of trained networks in every precision, against what people or templates say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from plots import Figure
from setting import Setting
from tables import share, table

WAYS = {
    "onnxruntime fp32": ("--provider", "cpu", "--precision", "fp32"),
    "OpenVINO fp32": ("--provider", "openvino", "--precision", "fp32"),
    "OpenVINO bf16": ("--provider", "openvino", "--precision", "bf16"),
}
# model, images, labels, names of the labels 1, 2, ...
SETS = {
    "hippocampus, 8 cases": (
        "demo/hippocampus_unet.onnx",
        "hippocampus/images",
        "hippocampus/labels",
        ("anterior", "posterior"),
    ),
    "brain tissue, MNI152": (
        "meshnet_gwm/meshnet_gwm.onnx",
        "meshnet_gwm/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
        "meshnet_gwm/mni_tissue_labels_derived.nii.gz",
        ("white matter", "grey matter"),
    ),
}


def measure(setting: Setting) -> dict[str, Any]:
    missing = [path for row in SETS.values() for path in row[:3] if setting.data_file(path) is None]
    if missing:
        return {"skipped": f"Labels in every precision need {', '.join(missing)} in the folder given as `DATA`."}
    return {"sets": {name: _one_set(setting, *row) for name, row in SETS.items()}}


def _one_set(setting: Setting, model: str, images: str, labels: str, organs: tuple[str, ...]) -> dict[str, Any]:
    import SimpleITK as sitk

    def read(path: Path) -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))

    source, truth = setting.data_file(images), setting.data_file(labels)
    names = [path.name for path in sorted(source.glob("*.nii.gz"))] if source.is_dir() else [source.name]
    expected = [read(truth / name if truth.is_dir() else truth) for name in names]
    found: dict[str, Any] = {}
    first: list[np.ndarray] = []
    for way, options in WAYS.items():
        out = setting.scratch / "out" / "accuracy"
        shutil.rmtree(out, ignore_errors=True)
        start = [setting.ours, "-m", "itk_infer", "-i", source, "-o", out, "--onnx", setting.data_file(model)]
        ended = setting.watch(*start, "--orientation", "input", "--device", "cpu", "--progress", "json", *options)
        if ended.code:
            found[way] = {"failed": ended.text.strip().splitlines()[-1]}
            continue
        masks = [read(out / name) for name in names]
        first = first or masks
        events = [json.loads(line) for _, line in ended.lines if line.startswith('{"event"')]
        found[way] = {
            "dice": {
                organ: float(np.mean([dice(m == k, e == k) for m, e in zip(masks, expected, strict=True)]))
                for k, organ in enumerate(organs, 1)
            },
            "agreement": float(
                np.mean(np.concatenate([(m == f).ravel() for m, f in zip(masks, first, strict=True)]))
            ),
            "warnings": sorted({event["message"] for event in events if event["event"] == "warning"}),
        }
        print(f"  {model} {way}: {found[way]}", flush=True)
    return found


def dice(one: np.ndarray, other: np.ndarray) -> float:
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def section(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Labels in every precision",
        "",
        "Trained networks, by the real command. Dice is the mean over the cases, against labels that people drew "
        "(hippocampus) or against the tissue maps of the template (brain). The difference is to fp32 by "
        "onnxruntime, and so is the agreement.",
        "",
    ]
    rows, notes = [], []
    for name, ways in found["sets"].items():
        base = next(iter(ways.values()))["dice"]
        for way, seen in ways.items():
            if "failed" in seen:
                notes.append(f"* {name}, {way}: {seen['failed']}")
                continue
            for organ, value in seen["dice"].items():
                rows.append(
                    (name, organ, way, f"{value:.4f}", f"{value - base[organ]:+.5f}", share(seen["agreement"]))
                )
            notes += [f"* {name}, {way}, the program says: {line}" for line in seen["warnings"]]
    head = ("images", "label", "run by", "Dice", "difference", "agreement")
    return [
        *lines,
        *table(head, rows),
        "",
        *notes,
        *([""] if notes else []),
        "`make bench DATA=... ONLY=accuracy`",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
