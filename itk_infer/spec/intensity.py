"""The steps that bring voxel values to what a network was trained on (pure data)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Channels = tuple[int, ...] | None  # None: every channel


@dataclass(frozen=True, slots=True)
class WindowLevel:
    """Window level and width: ``[level - width/2, level + width/2]`` becomes ``[0, 1]``, clipped."""

    level: float
    width: float
    channels: Channels = None


@dataclass(frozen=True, slots=True)
class Clip:
    """Values outside ``[lower, upper]`` take the nearer bound."""

    lower: float
    upper: float
    channels: Channels = None


@dataclass(frozen=True, slots=True)
class ClipPercentile:
    """As `Clip`, with bounds given as percentiles (0 to 100) of the whole volume."""

    lower: float
    upper: float
    channels: Channels = None


@dataclass(frozen=True, slots=True)
class MinMax:
    """Minimum becomes 0, maximum becomes 1."""

    channels: Channels = None


@dataclass(frozen=True, slots=True)
class ZScore:
    """Mean 0, population standard deviation 1; statistics over `mask`, applied to all voxels."""

    mask: Literal["all", "nonzero", "above_mean"] = "all"
    channels: Channels = None


@dataclass(frozen=True, slots=True)
class Standardize:
    """``(value - mean) / std`` with fixed numbers: one each, or one per channel it applies to."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: Channels = None


@dataclass(frozen=True, slots=True)
class DivideByMax:
    """Divided by the volume's maximum."""

    channels: Channels = None


IntensityStep = WindowLevel | Clip | ClipPercentile | MinMax | ZScore | Standardize | DivideByMax

OPS: dict[str, type[IntensityStep]] = {
    "window": WindowLevel,
    "clip": Clip,
    "clip_percentile": ClipPercentile,
    "minmax": MinMax,
    "zscore": ZScore,
    "standardize": Standardize,
    "divide_by_max": DivideByMax,
}
