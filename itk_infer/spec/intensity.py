"""The intensity steps of a model spec, as pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Channels = tuple[int, ...] | None  # None: every channel


@dataclass(frozen=True, slots=True)
class WindowLevel:
    """Window level and width: ``[level - width/2, level + width/2]`` is mapped to ``[0, 1]`` and clipped."""

    level: float
    width: float
    channels: Channels = None


@dataclass(frozen=True, slots=True)
class Clip:
    """Clip values to ``[lower, upper]``."""

    lower: float
    upper: float
    channels: Channels = None


@dataclass(frozen=True, slots=True)
class ClipPercentile:
    """Clip values to two percentiles (0 to 100) of the whole volume."""

    lower: float
    upper: float
    channels: Channels = None


@dataclass(frozen=True, slots=True)
class MinMax:
    """Map the volume's minimum to 0 and its maximum to 1.

    Attributes:
        channels: Input channels it applies to.
        across_channels: Whether the channels share one minimum and one maximum.
    """

    channels: Channels = None
    across_channels: bool = field(default=False, metadata={"later": True})


@dataclass(frozen=True, slots=True)
class ZScore:
    """Subtract the mean and divide by the population standard deviation, both over `mask`.

    Attributes:
        mask: ``all``, ``nonzero`` and ``above_mean`` voxels of the channel; ``crop``: the foreground that the
            spec's ``input.crop`` looks for in all channels, with its holes filled.
        outside: ``scale``: voxels outside the mask are changed like the others; ``keep``: they stay.
        channels: Input channels it applies to.
        across_channels: Whether the channels share one mean and one deviation.
    """

    mask: Literal["all", "nonzero", "above_mean", "crop"] = "all"
    channels: Channels = None
    outside: Literal["scale", "keep"] = field(default="scale", metadata={"later": True})
    across_channels: bool = field(default=False, metadata={"later": True})


@dataclass(frozen=True, slots=True)
class Standardize:
    """``(value - mean) / std`` with fixed numbers, common to all channels or one per channel it applies to."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: Channels = None


@dataclass(frozen=True, slots=True)
class DivideByMax:
    """Divide by the volume's maximum."""

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
