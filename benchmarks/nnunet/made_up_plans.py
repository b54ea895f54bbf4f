"""Plans, data sets and images at random, in the form that nnU-Net v2 writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from made_up_images import image_of, vanishes
from numpy.typing import NDArray

DEFAULT, TORCH = "resample_data_or_seg_to_shape", "resample_torch_fornnunet"
SCHEMES = ("ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization")
SPACINGS = (0.4, 0.5, 0.7, 0.78125, 0.9, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.5)
STEPS = (0.25, 0.3, 0.5, 0.5, 0.7, 0.8, 1.0)
MOST = 64  # voxels along an axis of the network's grid
NAME = "made_up"


@dataclass(frozen=True, slots=True)
class Made:
    """One plan with one image.

    Attributes:
        plans: The content of plans.json.
        dataset: Of dataset.json.
        image: As stored, (C, Z, Y, X).
        spacing: Of the image in mm, Z Y X.
        previous: Label map of a previous stage as stored, (Z, Y, X), for the second stage of a cascade.
        step: Share of the patch between windows.
        kind: What the image is, in a word.
    """

    plans: dict[str, Any]
    dataset: dict[str, Any]
    image: NDArray[Any]
    spacing: tuple[float, float, float]
    previous: NDArray[np.uint8] | None
    step: float
    kind: str

    @property
    def configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = self.plans["configurations"][NAME]
        return found

    @property
    def torch(self) -> bool:
        """Whether torch resamples."""
        return self.configuration["resampling_fn_data"] == TORCH

    @property
    def flat(self) -> bool:
        return len(self.configuration["patch_size"]) == 2


def make(seed: int) -> Made:
    """The plan of a seed, always the same."""
    rng = np.random.default_rng(seed)
    flat = rng.random() < 0.2
    transpose = [int(axis) for axis in rng.permutation(3)] if rng.random() < 0.5 else [0, 1, 2]
    size, spacing, target = _sizes(rng, flat, transpose)
    channels = int(rng.integers(1, 4))
    image, kind = image_of(rng, (channels, *size))
    here = [spacing[axis] for axis in transpose]
    if vanishes(
        image.transpose(0, *(axis + 1 for axis in transpose)), here, [*([here[0]] if flat else []), *target]
    ):
        image[:, 0, 0, 0] = image[:, -1, -1, -1] = 1  # nothing is cropped then
    dataset = _dataset(rng, channels)
    cascade = not flat and rng.random() < 0.2
    previous = _labels(rng, size, _values(dataset)) if cascade else None
    patch = [int(n) for n in rng.choice((4, 5, 8, 12, 16, 20, 24, 28, 33, 40), 2 if flat else 3)]
    return Made(
        _plans(rng, patch, target, transpose, image, cascade),
        dataset,
        image,
        spacing,
        previous,
        float(rng.choice(STEPS)),
        kind,
    )


def _sizes(
    rng: np.random.Generator, flat: bool, transpose: list[int]
) -> tuple[tuple[int, int, int], tuple[float, float, float], list[float]]:
    """Size and spacing of an image as stored, and the network's spacing for it, transposed."""
    while True:
        size = rng.integers(1, 45, 3)
        spacing = rng.choice(SPACINGS, 3)
        if rng.random() < 0.5:
            spacing[:] = spacing[0]
            spacing[rng.integers(3)] = rng.choice(SPACINGS)
        if rng.random() < 0.3:
            spacing = spacing * rng.uniform(0.9, 1.1, 3)
        target = rng.choice(SPACINGS, 3)
        if rng.random() < 0.5:
            target[:] = target[0]
            target[rng.integers(3)] = rng.choice(SPACINGS)
        here = spacing[transpose]
        if rng.random() < 0.25:  # nothing is resampled along some axes, or along none
            kept = rng.random(3) < rng.choice((0.5, 1.0))
            target[kept] = here[kept]
        if flat:
            if rng.random() < 0.2:  # a picture: nnU-Net's readers give its one slice such a spacing
                size[transpose[0]], here[0] = 1, 999 * spacing.max()
                spacing[transpose[0]] = here[0]
            target[0] = here[0]
        voxels = np.array([round(float(a / b * n)) for a, b, n in zip(here, target, size[transpose], strict=True)])
        if voxels.min() >= 1 and voxels.max() <= MOST:
            z, y, x = (int(n) for n in size)
            return (z, y, x), tuple(map(float, spacing)), [float(t) for t in target[1 if flat else 0 :]]


def _dataset(rng: np.random.Generator, channels: int) -> dict[str, Any]:
    count = int(rng.integers(1, 7))
    labels: dict[str, Any] = {"background": 0, **{f"label {n}": n for n in range(1, count + 1)}}
    dataset: dict[str, Any] = {
        "channel_names": {str(n): f"channel {n}" for n in range(channels)},
        "labels": labels,
    }
    if count > 1 and rng.random() < 0.3:
        labels["label 1"] = list(range(1, count + 1))
        order = rng.permutation(count) if rng.random() < 0.5 else rng.integers(count, size=count)
        dataset["regions_class_order"] = [int(n) + 1 for n in order]
    elif rng.random() < 0.2:
        labels[f"label {count}"] = count + 3  # a gap
    if rng.random() < 0.1:
        labels["ignore"] = max(_values(dataset)) + 1
    return dataset


def _values(dataset: dict[str, Any]) -> list[int]:
    """The foreground values of label maps."""
    given = [value for name, value in dataset["labels"].items() if name not in ("background", "ignore")]
    return sorted({one for some in given for one in (some if isinstance(some, list) else [some])})


def _labels(rng: np.random.Generator, size: tuple[int, int, int], values: list[int]) -> NDArray[np.uint8]:
    """Boxes of labels."""
    labels = np.zeros(size, np.uint8)
    for value in values:
        corners = [sorted(rng.integers(0, n + 1, 2)) for n in size]
        labels[tuple(slice(*pair) for pair in corners)] = value
    return labels


def _plans(
    rng: np.random.Generator,
    patch: list[int],
    spacing: list[float],
    transpose: list[int],
    image: NDArray[Any],
    cascade: bool,
) -> dict[str, Any]:
    by_spacing = {"force_separate_z": None if rng.random() < 0.85 else False}
    torch = rng.random() < 0.25
    order = int(rng.choice((3, 3, 3, 1, 0)))
    along = int(rng.choice((0, 0, 0, 1)))

    def settings(seg: bool, order: int, along: int) -> dict[str, Any]:
        return {"is_seg": seg, **({} if torch else {"order": order, "order_z": along}), **by_spacing}

    name = TORCH if torch else DEFAULT
    channels = len(image)
    schemes = (*SCHEMES, "RGBTo01Normalization") if image.dtype == np.uint8 else SCHEMES
    configuration: dict[str, Any] = {
        "data_identifier": "made_up",
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": patch,
        "spacing": spacing,
        "normalization_schemes": [str(rng.choice(schemes)) for _ in range(channels)],
        "use_mask_for_norm": [bool(rng.random() < 0.5) for _ in range(channels)],
        "resampling_fn_data": name,
        "resampling_fn_data_kwargs": settings(False, order, along),
        "resampling_fn_seg": name,
        "resampling_fn_seg_kwargs": settings(True, 1, 0),
        "resampling_fn_probabilities": name,
        "resampling_fn_probabilities_kwargs": settings(False, 1, 0),
        "architecture": _architecture(len(patch)),
    }
    if cascade:
        configuration["previous_stage"] = "earlier"
    lower = float(rng.uniform(-60, 40))
    foreground = {
        "percentile_00_5": lower,
        "percentile_99_5": lower + float(rng.uniform(20, 200)),
        "mean": float(rng.uniform(0, 100)),
        "std": float(rng.uniform(5, 60)),
    }
    return {
        "dataset_name": "Dataset999_MadeUp",
        "plans_name": "MadeUp",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": transpose,
        "transpose_backward": [transpose.index(axis) for axis in range(3)],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(n): foreground for n in range(channels)},
        "configurations": {NAME: configuration},
    }


def _architecture(dimensions: int) -> dict[str, Any]:
    """Of a network that is never built."""
    ones, twos, threes = ([n] * dimensions for n in (1, 2, 3))
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [8, 16],
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [threes, threes],
            "strides": [ones, twos],
            "n_conv_per_stage": [2, 2],
            "n_conv_per_stage_decoder": [2],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
