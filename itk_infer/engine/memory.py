"""What a case will need of host memory, before it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from itk_infer.engine.slabs import SLAB_BYTES
from itk_infer.engine.windows import WindowGrid


@dataclass(frozen=True, slots=True)
class Memory:
    """Predicted bytes by what holds them, without the network's own activations.

    Attributes:
        image: The image as stored and as the network sees it.
        accumulator: Overlapping windows being summed, or the one answer of a whole-volume window.
        windows: The windows in flight and their logits.
        outputs: The label map while it is written and read back, slabs, buffered logits.
    """

    image: int
    accumulator: int
    windows: int
    outputs: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.image + self.accumulator + self.windows + self.outputs


def predict_memory(
    native: tuple[int, int, int],
    grid: WindowGrid,
    *,
    channels_in: int,
    channels_out: int,
    itemsize: int,
    batch: int,
    want_logits: bool,
) -> Memory:
    """Predict the peak of one case.

    Args:
        native: Voxels of the case, Z Y X.
        grid: Its windows on the model's grid.
        channels_in: Input channels.
        channels_out: Output channels.
        itemsize: Bytes of a stored voxel.
        batch: Windows a call.
        want_logits: Whether logits are written.
    """
    voxels, padded = math.prod(native), math.prod(grid.padded_size)
    depth, rows, columns = grid.patch[0], *grid.padded_size[1:]
    # Stored twice while SimpleITK's image becomes an array; as float32 twice while it is padded.
    image = channels_in * (2 * itemsize * voxels + 2 * 4 * padded)
    ring = 4 * channels_out * (padded if len(grid) == 1 else depth * rows * columns)
    windows = 4 * batch * math.prod(grid.patch) * (channels_in + 2 * channels_out)
    outputs = 4 * voxels + 5 * SLAB_BYTES
    if want_logits:
        outputs += 2 * channels_out * 64 * max(native[1] * native[2], native[0] * native[2], native[0] * native[1])
    return Memory(image, ring, windows, outputs)
