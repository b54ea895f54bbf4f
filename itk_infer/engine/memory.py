"""What a case will need of host memory, before it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from itk_infer.engine.host import SLAB_BYTES
from itk_infer.engine.windows import WindowGrid
from itk_infer.engine.workspace import DEVICE_SLAB_BYTES
from itk_infer.volume.interpolation import ModelGrid

SLAB_FACTOR = 5  # a slab's logits, what is computed from them, and what of it lives at the same time
DEVICE_SLAB_FACTOR = 8  # measured with torch: 3 to 8, the fewer channels the more
PINNED_SLABS = 3  # of labels, masks or half-precision logits on their way to the host
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


@dataclass(frozen=True, slots=True)
class CaseSize:
    """What there is to do.

    Attributes:
        model: The case's grid and the model's.
        windows: The windows over the model's grid.
        channels_in: Input channels.
        channels_out: Output channels.
        itemsize: Bytes of a stored voxel.
        batch: Windows a call.
        want_logits: Whether logits are written.
        cubic: Whether the image is resampled with splines, as a whole.
    """

    model: ModelGrid
    windows: WindowGrid
    channels_in: int
    channels_out: int
    itemsize: int
    batch: int
    want_logits: bool
    cubic: bool = False

    @property
    def native(self) -> tuple[int, int, int]:
        """Voxels of the case, Z Y X."""
        z, y, x = (axis.native for axis in self.model.axes)
        return z, y, x

    @property
    def stored(self) -> int:
        """Bytes of the stored image."""
        return self.channels_in * self.itemsize * math.prod(self.native)

    @property
    def _padded(self) -> bool:
        return math.prod(self.windows.padded_size) > math.prod(self.model.size)

    @property
    def floats(self) -> int:
        """Bytes of the volume on the model's grid; none where the stored voxels are on it."""
        if self.model.identity and not self._padded:
            return 0
        return 4 * self.channels_in * math.prod(self.windows.padded_size)

    @property
    def preparing(self) -> int:
        """Bytes of resampling, statistics and padding."""
        # Resampled; its intensities worked out, and padded.
        copies = (not self.model.identity) + 2 * self._padded
        peak = self.stored + copies * self.floats if copies else 2 * self.stored
        if not self.cubic:
            return peak
        # The axis that shrinks most goes first; the spline has it twice.
        first = min(axis.model / axis.native for axis in self.model.axes)
        return max(peak, self.stored + int(2 * 4 * self.channels_in * math.prod(self.native) * first))

    @property
    def accumulator(self) -> int:
        """Bytes of the ring, or of the answer where one window is the whole volume."""
        depth = self.windows.patch[0]
        return 4 * self.channels_out * depth * math.prod(self.windows.padded_size[1:])

    @property
    def window(self) -> int:
        """Bytes of one window and its answer."""
        return 4 * math.prod(self.windows.patch) * (self.channels_in + self.channels_out)

    def slab(self, slab_bytes: int) -> int:
        """Bytes of one slab of logits."""
        return min(slab_bytes, 4 * self.channels_out * math.prod(self.windows.padded_size))


def predict_memory(work: CaseSize, *, on_device: bool = False) -> Memory:
    """Predict what a case needs of host memory.

    Args:
        work: What there is to do.
        on_device: Whether volume, ring and slabs are on a device.
    """
    native, voxels = work.native, math.prod(work.native)
    in_flight = work.batch * work.window
    if len(work.windows) == 1:  # its answer is what is decided
        in_flight = 4 * math.prod(work.windows.patch) * work.channels_in
    running = work.stored + voxels
    if on_device:
        running += PINNED_SLABS * work.slab(DEVICE_SLAB_BYTES) // (2 if work.want_logits else 4)
    else:
        running += work.floats + work.accumulator + in_flight + SLAB_FACTOR * work.slab(SLAB_BYTES)
    if work.want_logits:
        plane = max(native[1] * native[2], native[0] * native[2], native[0] * native[1])
        running += LOGITS_FACTOR * 2 * work.channels_out * min(LOGITS_ROW, max(native)) * plane
    preparing = 2 * work.stored if on_device else work.preparing
    return Memory(2 * work.stored, preparing, running, work.stored + 4 * voxels)


def predict_device_memory(work: CaseSize) -> int:
    """Predict the bytes a case needs on a device, with everything there and the network's own apart.

    Two calls of the network are in flight, and one window is in single precision while it is added.
    """
    flights = work.batch if len(work.windows) == 1 else 2 * work.batch
    answer = 4 * math.prod(work.windows.patch) * work.channels_out
    running = work.stored + work.floats + work.accumulator + flights * work.window + answer
    return max(work.preparing, running + DEVICE_SLAB_FACTOR * work.slab(DEVICE_SLAB_BYTES))
