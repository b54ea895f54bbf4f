"""Conversion of decoded pictures to network inputs: channels, size, intensities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from itk_infer.spec.classify_spec import PictureInput, PictureResize
from itk_infer.spec.intensity import Standardize
from itk_infer.volume.intensity import apply_intensity
from itk_infer.volume.picture_input.antialiased import antialiased
from itk_infer.volume.picture_input.picture import Picture, Rows

Plane = NDArray[np.float32]


class PictureMaker:
    """Makes the input of one network.

    Args:
        wanted: Input block of the spec.

    Attributes:
        reach: Number of neighbouring pictures before and after each one that are part of its input.
    """

    def __init__(self, wanted: PictureInput) -> None:
        self._wanted = wanted
        self.reach = wanted.reach
        sources = {(channel.plane, channel.window): channel for channel in wanted.channels}
        self._sources = tuple(sources.values())
        order = list(sources)
        self._parts = [
            (channel.slice, order.index((channel.plane, channel.window))) for channel in wanted.channels
        ]

    def planes(self, picture: Picture) -> NDArray[np.float32]:
        """Planes of this picture for its own input and for those of its neighbours.

        Returns:
            (planes, Y, X), at the size of the network's input.

        Raises:
            InputError: the picture does not have the values that the spec requires.
        """
        wanted = self._wanted
        made = [resized(picture.rows(channel, wanted), wanted.size, wanted.resize) for channel in self._sources]
        stacked = np.stack(made) if len(made) > 1 else made[0][None]
        return stacked if wanted.center_crop is None else _cut_or_pad(stacked, wanted.center_crop)

    @property
    def count(self) -> int:
        """Number of channels of the network's input."""
        return len(self._parts)

    def channels(
        self, at: Callable[[int], NDArray[np.float32]], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Assemble the network's input.

        Args:
            at: Returns the planes of the picture itself (0) or of a neighbour (-1, 1, ...).
            out: Where to write it, (C, Y, X) float32; None: to a new array.

        Returns:
            (C, Y, X) float32.
        """
        made = np.empty((self.count, *at(0).shape[1:]), np.float32) if out is None else out
        if len(set(self._parts)) == 1:  # one plane for all channels
            ((place, source), *_) = self._parts
            values = np.broadcast_to(at(place)[source], made.shape)
        else:
            values = made
            for channel, (place, source) in zip(made, self._parts, strict=True):
                channel[...] = at(place)[source]
        for step in self._wanted.intensity:
            if isinstance(step, Standardize) and step.channels is None:
                np.subtract(values, np.array(step.mean, np.float32)[:, None, None], out=made)
                np.divide(made, np.array(step.std, np.float32)[:, None, None], out=made)
            else:
                made[...] = np.asarray(apply_intensity(values[:, None], [step]))[:, 0]
            values = made
        if values is not made:
            made[...] = values
        return made


def resized(plane: Plane | Rows, size: tuple[int, int] | None, rule: PictureResize) -> Plane:
    """Resize a plane (Y, X), see `PictureResize`; linear resizing with antialiasing equals torch's to 2e-5."""
    rows, columns = plane.shape
    if size is None or (rows, columns) == size:
        return plane[:]
    if rule.aspect == "stretch":
        return _scaled(plane, size, rule)
    if rule.aspect in ("fit", "fill"):
        choose = min if rule.aspect == "fit" else max
        scale = choose(size[0] / rows, size[1] / columns)
        plane = _scaled(plane, (max(1, round(rows * scale)), max(1, round(columns * scale))), rule)
    return _cut_or_pad(plane[:], size)


def _scaled(rows: Plane | Rows, size: tuple[int, int], rule: PictureResize) -> Plane:
    if rows.shape != size and rule.interpolation == "linear" and rule.antialias:
        return antialiased(rows, size)
    plane = rows[:]
    if plane.shape == size:
        return plane
    if rule.interpolation == "linear":
        return _linear(_linear(plane, size[0]).T, size[1]).T.copy()
    from PIL import Image

    kinds = {"cubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize(size[::-1], kinds[rule.interpolation]))


def _linear(plane: Plane, rows: int) -> Plane:
    """Linear interpolation of rows without aligned corners, as in torch without antialiasing."""
    at = np.clip((np.arange(rows) + 0.5) * (len(plane) / rows) - 0.5, 0, len(plane) - 1)
    below = at.astype(np.intp)
    above = np.minimum(below + 1, len(plane) - 1)
    share = (at - below).astype(np.float32)[:, None]
    return np.asarray(plane[below] * (1 - share) + plane[above] * share)


def _cut_or_pad(planes: Plane, size: tuple[int, int]) -> Plane:
    """The central part of (..., Y, X), padded with zeros if it is smaller than `size`."""
    for axis, wanted in zip((-2, -1), size, strict=True):
        have = planes.shape[axis]
        if have > wanted:
            start = (have - wanted) // 2
            planes = np.take(planes, range(start, start + wanted), axis)
        elif have < wanted:
            before = (wanted - have) // 2
            widths = [(0, 0)] * planes.ndim
            widths[axis] = (before, wanted - have - before)
            planes = np.pad(planes, widths)
    return planes
