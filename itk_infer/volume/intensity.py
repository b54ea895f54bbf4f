"""The intensity steps of a model spec: statistics are taken once, the steps are applied to parts of a volume."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from itk_infer.arrays import Array, namespace, to_host
from itk_infer.spec.intensity import (
    Clip,
    ClipPercentile,
    DivideByMax,
    IntensityStep,
    MinMax,
    Standardize,
    WindowLevel,
    ZScore,
)


@dataclass(frozen=True, slots=True)
class ClipRange:
    """Clips values to [lower, upper]."""

    lower: float
    upper: float

    def apply(self, voxels: Array, foreground: Array | None) -> None:
        """Apply to float32 voxels in place."""
        voxels[...] = namespace(voxels).clip(voxels, self.lower, self.upper)


@dataclass(frozen=True, slots=True)
class ShiftScale:
    """(voxels - shift) / scale; 0 where the scale is 0, as for a constant image."""

    shift: float
    scale: float

    def apply(self, voxels: Array, foreground: Array | None) -> None:
        """Apply to float32 voxels in place."""
        if self.scale == 0:
            voxels[...] = 0
            return
        voxels -= float(np.float32(self.shift))
        voxels /= float(np.float32(self.scale))


@dataclass(frozen=True, slots=True)
class Mask:
    """Chooses voxels of one channel.

    Attributes:
        name: As in the model spec: ``all``, ``nonzero``, ``above_mean`` or ``crop``.
        mean: Mean of the channel, for ``above_mean``.
    """

    name: str
    mean: float = 0.0

    def of(self, voxels: Array, foreground: Array | None) -> Array:
        """The chosen voxels as a mask; `foreground` is the mask of these voxels for ``crop``."""
        if self.name == "crop":
            return foreground
        return voxels > self.mean if self.name == "above_mean" else voxels != 0

    def choose(self, voxels: Array, foreground: Array | None) -> Array:
        """The values of the chosen voxels."""
        return voxels if self.name == "all" else voxels[self.of(voxels, foreground)]


@dataclass(frozen=True, slots=True)
class Within:
    """Applies an operation only to the voxels of a mask."""

    mask: Mask
    operation: ShiftScale

    def apply(self, voxels: Array, foreground: Array | None) -> None:
        """Apply to float32 voxels in place."""
        chosen = self.mask.of(voxels, foreground)
        inside = voxels[chosen]
        self.operation.apply(inside, None)
        voxels[chosen] = inside


PIECE = 1 << 20  # voxels per part
MAX_COUNTED = 1 << 20  # different integers for which occurrences are counted
Operation = ClipRange | ShiftScale | Within


class Intensity:
    """The steps as lists of voxel-wise operations, one list per channel, with all statistics computed.

    Args:
        array: The whole volume, (C, Z, Y, X), any number type. Each step's statistics are computed in float64
            from the values that the steps before it produce.
        steps: The steps, each with the channels it applies to.
        foreground: Mask of the foreground, (Z, Y, X) bool, for steps that use it.
    """

    def __init__(self, array: Array, steps: Sequence[IntensityStep], foreground: Array | None = None) -> None:
        self._operations: list[list[Operation]] = [[] for _ in array]
        for step in steps:
            chosen = range(len(array)) if step.channels is None else step.channels
            if isinstance(step, ZScore | MinMax) and step.across_channels:
                every = [
                    ChannelChunks(array[channel], self._operations[channel], foreground) for channel in chosen
                ]
                common = _operations(SeveralChannels(every), step, 0)
                for channel in chosen:
                    self._operations[channel].extend(common)
                continue
            for order, channel in enumerate(chosen):
                done = self._operations[channel]
                chunks = ChannelChunks(array[channel], done, foreground)
                done.extend(_operations(chunks, step, order))

    def __call__(self, part: Array, foreground: Array | None = None) -> Array:
        """Apply all steps to a part of the volume.

        Args:
            part: Stored values, (C, ...); not changed.
            foreground: The part's mask of the foreground, if there is one.

        Returns:
            A new array, float32, C-contiguous.
        """
        xp = namespace(part)
        result = xp.empty(part.shape, dtype=xp.float32, **({} if xp is np else {"device": part.device}))
        result[...] = part
        for channel, operations in zip(result, self._operations, strict=True):
            for operation in operations:
                operation.apply(channel, foreground)
        return result

    def apply_to(self, voxels: Array, foreground: Array | None = None) -> None:
        """Apply all steps to a whole volume, (C, Z, Y, X) float32, in place; `foreground` is its mask, if any."""
        for where in runs(voxels[0]):
            mask = None if foreground is None else foreground[where]
            for channel, operations in zip(voxels, self._operations, strict=True):
                for operation in operations:
                    operation.apply(channel[where], mask)


def apply_intensity(array: Array, steps: Sequence[IntensityStep], foreground: Array | None = None) -> Array:
    """Apply `steps` to a whole volume, (C, Z, Y, X), which is not changed; returns float32."""
    return Intensity(array, steps, foreground)(array, foreground)


def needs_foreground(steps: Sequence[IntensityStep]) -> bool:
    """Whether a step uses the mask of the foreground."""
    return any(isinstance(step, ZScore) and step.mask == "crop" for step in steps)


def _operations(voxels: ChannelChunks, step: IntensityStep, order: int) -> list[Operation]:
    """The operations of one step on one channel, the `order`-th of the channels that the step applies to."""
    match step:
        case WindowLevel(level, width):
            return [ShiftScale(level - width / 2, width), ClipRange(0.0, 1.0)]
        case Clip(lower, upper):
            return [ClipRange(lower, upper)]
        case ClipPercentile(lower, upper):
            return [ClipRange(*voxels.percentiles(lower, upper))]
        case MinMax():
            low, high = voxels.extremes()
            return [ShiftScale(low, high - low)]
        case ZScore(name, outside=outside):
            mask = voxels.mask(name)
            scaling = ShiftScale(*voxels.moments(mask))
            return [scaling if outside == "scale" or name == "all" else Within(mask, scaling)]
        case Standardize(mean_of, std_of):
            return [ShiftScale(mean_of[order % len(mean_of)], std_of[order % len(std_of)])]
        case DivideByMax():
            return [ShiftScale(0.0, voxels.extremes()[1])]


def runs(voxels: Array) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of (Z, Y, X) of about `PIECE` voxels, cut along the axis with the largest stride.

    For a reoriented view, each plane along Z would touch all of the volume's memory.
    """
    strides = voxels.strides if isinstance(voxels, np.ndarray) else voxels.stride()
    axis = max(range(3), key=lambda i: (abs(strides[i]), -i))
    step = max(1, PIECE * voxels.shape[axis] // max(1, math.prod(voxels.shape)))
    for start in range(0, voxels.shape[axis], step):
        where = [slice(None)] * 3
        where[axis] = slice(start, start + step)
        yield where[0], where[1], where[2]


class ChannelChunks:
    """One channel after some of the steps, computed part by part, without a copy of the volume.

    Args:
        voxels: Stored voxels, (Z, Y, X).
        done: Operations applied to them so far.
        foreground: Mask of the foreground, (Z, Y, X) bool.
    """

    def __init__(self, voxels: Array, done: Sequence[Operation], foreground: Array | None = None) -> None:
        self._voxels = voxels
        self._done = tuple(done)
        self._foreground = foreground

    def __iter__(self) -> Iterator[Array]:
        return (piece for piece, _ in self._pieces())

    def _pieces(self) -> Iterator[tuple[Array, Array | None]]:
        """The parts, each with its mask of the foreground."""
        xp = namespace(self._voxels)
        for where in runs(self._voxels):
            piece = xp.astype(self._voxels[where], xp.float32, copy=True)
            foreground = None if self._foreground is None else self._foreground[where]
            for operation in self._done:
                operation.apply(piece, foreground)
            yield piece, foreground

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest value."""
        pairs = [(piece.min(), piece.max()) for piece in self]
        return min(float(low) for low, _ in pairs), max(float(high) for _, high in pairs)

    def percentiles(self, *shares: float) -> tuple[float, float]:
        """Percentiles (0 to 100) as in NumPy: linear interpolation between the two nearest ranks."""
        xp, voxels = namespace(self._voxels), self._voxels
        if not self._done and xp.isdtype(voxels.dtype, "integral"):
            return self._counted(shares)
        if not self._done and voxels.dtype != xp.float32:
            voxels = xp.astype(voxels, xp.float32)
        elif self._done:
            voxels, stored = xp.astype(self._voxels, xp.float32, copy=True), self._voxels
            for where, piece in zip(runs(stored), self, strict=True):
                voxels[where] = piece
        if xp is np:
            low, high = np.percentile(voxels, shares, overwrite_input=voxels is not self._voxels)
            return float(low), float(high)
        ordered = xp.sort(xp.reshape(voxels, (-1,)))
        return _between_ranks(lambda rank: float(ordered[rank]), len(ordered), shares)

    def _counted(self, shares: tuple[float, ...]) -> tuple[float, float]:
        """Percentiles of integers from the counts of each value, without sorting or copying."""
        xp = namespace(self._voxels)
        low, high = (int(value) for value in self.extremes())
        if high - low > MAX_COUNTED:
            return ChannelChunks(xp.astype(self._voxels, xp.float32), ()).percentiles(*shares)
        counts = np.zeros(high - low + 1, np.int64)
        for piece in self:
            values = xp.reshape(xp.astype(piece, xp.int64), (-1,)) - low
            counts += to_host(xp.bincount(values, minlength=len(counts)))
        upto = np.cumsum(counts)
        return _between_ranks(
            lambda rank: float(low + np.searchsorted(upto, rank, side="right")), int(upto[-1]), shares
        )

    def mask(self, name: str) -> Mask:
        """The mask of that name for this channel."""
        return Mask(name, self._mean(Mask("all"))[0] if name == "above_mean" else 0.0)

    def moments(self, mask: Mask) -> tuple[float, float]:
        """Mean and population standard deviation over `mask`, in float64; (0, 0) if the mask is empty."""
        xp = namespace(self._voxels)
        mean, count = self._mean(mask)
        if not count:
            return 0.0, 0.0
        parts = (xp.astype(mask.choose(*piece), xp.float64) for piece in self._pieces())
        deviation = math.sqrt(float(sum(xp.sum(xp.square(part - mean)) for part in parts)) / count)
        # For a constant image, the deviation is only rounding noise, which must not be scaled up.
        return mean, deviation if deviation > 1e-7 * max(abs(mean), 1e-30) else 0.0

    def _mean(self, mask: Mask) -> tuple[float, int]:
        """Mean and number of the chosen voxels."""
        xp = namespace(self._voxels)
        total, count = 0.0, 0
        for piece in self._pieces():
            values = mask.choose(*piece)
            total = total + xp.sum(values, dtype=xp.float64)
            count += math.prod(values.shape)
        return (float(total) / count if count else 0.0), count


class SeveralChannels(ChannelChunks):
    """Several channels taken together, for joint statistics."""

    def __init__(self, channels: Sequence[ChannelChunks]) -> None:
        super().__init__(channels[0]._voxels, ())
        self._channels = channels

    def _pieces(self) -> Iterator[tuple[Array, Array | None]]:
        return (piece for channel in self._channels for piece in channel._pieces())


def _between_ranks(at: Callable[[int], float], count: int, shares: tuple[float, ...]) -> tuple[float, float]:
    values = []
    for share in shares:
        rank = share / 100 * (count - 1)
        below, above = at(int(rank)), at(min(int(rank) + 1, count - 1))
        values.append(below + (above - below) * (rank - int(rank)))
    return values[0], values[1]
