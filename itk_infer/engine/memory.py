"""What a case will need of host memory, before it is read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from itk_infer.engine.slabs import SLAB_BYTES
from itk_infer.engine.windows import WindowGrid
from itk_infer.volume.interpolation import ModelGrid

SLAB_FACTOR = 5  # a slab's logits, what is computed from them, and what of it lives at the same time
LOGITS_ROW = 64  # planes that are collected before logits are written
LOGITS_FACTOR = 4  # collected, encoded, and read back


@dataclass(frozen=True, slots=True)
class Memory:
    """Predicted bytes of each phase, without the network's own and without the libraries themselves.

    The network's weights and activations are not known before it runs; a case needs `peak` beyond them.

    Attributes:
        reading: The stored image, once in SimpleITK and once as an array.
        preparing: Resampling, intensity and padding.
        running: Image, accumulator, windows in flight, label map, slabs, logits on their way out.
        writing: The label map written and read back.
    """

    reading: int
    preparing: int
    running: int
    writing: int

    @property
    def peak(self) -> int:
        """The largest phase, in bytes."""
        return max(self.reading, self.preparing, self.running, self.writing)


def machine_memory() -> int | None:
    """Physical memory in bytes, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def predict_memory(
    model: ModelGrid,
    grid: WindowGrid,
    *,
    channels_in: int,
    channels_out: int,
    itemsize: int,
    batch: int,
    want_logits: bool,
) -> Memory:
    """Predict what one case needs.

    Args:
        model: The case's grid and the model's.
        grid: The windows over the model's grid.
        channels_in: Input channels.
        channels_out: Output channels.
        itemsize: Bytes of a stored voxel.
        batch: Windows a call.
        want_logits: Whether logits are written.
    """
    native = tuple(axis.native for axis in model.axes)
    voxels, padded = math.prod(native), math.prod(grid.padded_size)
    window = math.prod(grid.patch)
    stored, floats = channels_in * itemsize * voxels, 4 * channels_in * padded
    preparing = stored + floats * (2 if padded > math.prod(model.size) else 1)
    if not model.identity:
        # The axis that shrinks most goes first; its two neighbours of every voxel are in memory at once.
        first = min(axis.model / axis.native for axis in model.axes)
        preparing = max(preparing, stored + int(2 * 4 * channels_in * voxels * first))
    if len(grid) == 1:
        accumulator = 4 * channels_out * padded
        in_flight = 4 * channels_in * padded
    else:
        accumulator = 4 * channels_out * grid.patch[0] * grid.padded_size[1] * grid.padded_size[2]
        in_flight = 4 * batch * window * (channels_in + channels_out) + 4 * window * channels_out
    slab = SLAB_FACTOR * min(SLAB_BYTES, 4 * channels_out * padded)
    running = stored + floats + accumulator + in_flight + voxels + slab
    if want_logits:
        plane = max(native[1] * native[2], native[0] * native[2], native[0] * native[1])
        running += LOGITS_FACTOR * 2 * channels_out * min(LOGITS_ROW, max(native)) * plane
    return Memory(2 * stored, preparing, running, stored + 4 * voxels)
