"""The memory that a case will need on host and device, predicted before its image is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from itk_infer.engine.host import SLAB_BYTES
from itk_infer.engine.windows import WindowGrid
from itk_infer.engine.workspace import DEVICE_SLAB_BYTES
from itk_infer.volume.interpolation import ModelGrid

SLAB_FACTOR = 5  # arrays of a slab's size alive at the same time: its logits and arrays computed from them
DEVICE_SLAB_FACTOR = 8  # the same with torch; measured: 3 to 8, more with fewer channels
PINNED_SLABS = 3  # slabs of labels, masks or half-precision logits being copied to the host
LOGITS_ROW = 64  # planes collected before logits are written
LOGITS_FACTOR = 4  # copies of these planes: collected, encoded, and read back


@dataclass(frozen=True, slots=True)
class Memory:
    """Predicted bytes of each phase of a case, without those of the network and of libraries.

    The network's weights and activations are not known before it runs; a case needs `peak` in addition.

    Attributes:
        reading: The stored image, as its bytes are collected or decoded.
        preparing: Resampling, intensity and padding.
        running: Image, accumulator, windows in the network, label map, slabs, logits being written.
        writing: The label map post-processed, its components counted; then written and read back.
    """

    reading: int
    preparing: int
    running: int
    writing: int

    @property
    def peak(self) -> int:
        """The largest phase, in bytes."""
        return max(self.reading, self.preparing, self.running, self.writing)

    def beside(self, *others: Memory, shared: int) -> Memory:
        """Memory of several models that run on a case in step, each with a prepared image of its own.

        Args:
            others: That of the other models.
            shared: Bytes of what they have in common: the stored image and the label map.
        """
        every = (self, *others)
        more = sum(each.running - shared for each in others)
        return Memory(
            max(each.reading for each in every),
            max(each.preparing for each in every) + more,
            self.running + more,
            max(each.writing for each in every),
        )

    def one_by_one(self, *others: Memory, held: int) -> Memory:
        """Memory of several models that run one after the other, while `held` bytes of results are kept."""
        every = (self, *others)
        return Memory(
            max(each.reading for each in every),
            max(each.preparing for each in every) + held,
            max(each.running for each in every) + held,
            max(each.writing for each in every),
        )


@dataclass(frozen=True, slots=True)
class CaseSize:
    """The numbers that determine the memory of a case.

    Attributes:
        model: The case's native grid and the model's grid.
        windows: The windows over the model's grid.
        channels_in: Input channels.
        channels_out: Output channels.
        itemsize: Bytes per stored voxel.
        batch: Windows per call.
        want_logits: Whether logits are written.
        cubic: Whether the image is resampled with splines, which takes the whole volume at once.
        postprocess: Bytes per native voxel for post-processing; 0 without it.
        scaled_first: Whether intensities are changed before the image is resampled, which takes a copy.
        want_uncertainty: Whether the uncertainty of each voxel is kept, in one byte.
        members: Members of the model that are blended separately, each in a ring of its own.
        masks: Labels whose masks are kept apart, in one bit per native voxel each; 0 where they are not.
    """

    model: ModelGrid
    windows: WindowGrid
    channels_in: int
    channels_out: int
    itemsize: int
    batch: int
    want_logits: bool
    cubic: bool = False
    scaled_first: bool = False
    postprocess: int = 0
    want_uncertainty: bool = False
    members: int = 1
    masks: int = 0

    @property
    def native(self) -> tuple[int, int, int]:
        """Voxels of the case, Z Y X."""
        z, y, x = (axis.native for axis in self.model.axes)
        return z, y, x

    @property
    def stored(self) -> int:
        """Bytes of the stored image with all channels."""
        return self.channels_in * self.itemsize * math.prod(self.native)

    @property
    def shared(self) -> int:
        """Bytes of what all members of an ensemble have in common: the stored image and the label map."""
        return self.stored + math.prod(self.native)

    @property
    def _padded(self) -> bool:
        return math.prod(self.windows.padded_size) > math.prod(self.model.size)

    @property
    def floats(self) -> int:
        """Bytes of the float32 volume on the model's grid; 0 if the stored voxels are used directly."""
        if self.model.identity and not self._padded:
            return 0
        return 4 * self.channels_in * math.prod(self.windows.padded_size)

    @property
    def preparing(self) -> int:
        """Bytes of resampling, statistics and padding."""
        native_floats = 4 * self.channels_in * math.prod(self.native)
        held = self.stored + native_floats * self.scaled_first
        # One copy resampled; one with its intensities normalised and one padded.
        copies = (not self.model.identity) + 2 * self._padded
        peak = held + copies * self.floats if copies else 2 * self.stored
        if not self.cubic:
            return peak
        # The axis that shrinks most is resampled first; the spline holds two copies of it.
        first = min(axis.model / axis.native for axis in self.model.axes)
        return max(peak, held + int(2 * native_floats * first))

    @property
    def accumulator(self) -> int:
        """Bytes of the ring of sums, or of the network's output if one window is the whole volume."""
        depth = self.windows.patch[0]
        channels = self.channels_out + (self.windows.floor > 0)  # and the sum of the weights
        return 4 * channels * depth * math.prod(self.windows.padded_size[1:])

    @property
    def window(self) -> int:
        """Bytes of one window and its logits."""
        return 4 * math.prod(self.windows.patch) * (self.channels_in + self.channels_out)

    def further_members(self, slab_bytes: int) -> int:
        """Bytes of the rings, slabs and probabilities of all members but the first."""
        return (self.members - 1) * (self.accumulator + 2 * self.slab(slab_bytes))

    def slab(self, slab_bytes: int) -> int:
        """Bytes of one slab of logits."""
        plane = 4 * self.channels_out * math.prod(self.windows.padded_size[1:])
        return min(max(slab_bytes, plane), plane * self.windows.padded_size[0])


def predict_memory(case: CaseSize, *, on_device: bool = False, slab_bytes: int = SLAB_BYTES) -> Memory:
    """Predict the host memory that a case needs.

    Args:
        case: The numbers that determine the memory.
        on_device: Whether volume, ring of sums and slabs are on a device.
        slab_bytes: Maximum bytes of a slab in host memory.
    """
    native, voxels = case.native, math.prod(case.native)
    in_flight = case.batch * case.window
    if len(case.windows) == 1:  # the decision reads the network's output, which `accumulator` counts
        in_flight = 4 * math.prod(case.windows.patch) * case.channels_in
    kept = case.masks * voxels // 8
    running = case.stored + voxels + kept
    if case.want_uncertainty and not on_device:
        running += math.prod(case.model.size)
    if on_device:
        running += PINNED_SLABS * case.slab(DEVICE_SLAB_BYTES) // (2 if case.want_logits else 4)
    else:
        running += case.floats + case.accumulator + in_flight + SLAB_FACTOR * case.slab(slab_bytes)
        running += case.further_members(slab_bytes)
    if case.want_logits:
        plane = max(native[1] * native[2], native[0] * native[2], native[0] * native[1])
        running += LOGITS_FACTOR * 2 * case.channels_out * min(LOGITS_ROW, max(native)) * plane
    preparing = 2 * case.stored if on_device else case.preparing
    writing = 4 + case.postprocess + 2 * case.want_uncertainty  # bytes per voxel
    return Memory(2 * case.stored, preparing, running, case.stored + writing * voxels + kept)


def predict_device_memory(case: CaseSize) -> int:
    """Predict the bytes that a case needs on a device, besides the network's memory.

    Two calls of the network are queued, and one window is converted to float32 while it is added to the sums.
    """
    flights = case.batch if len(case.windows) == 1 else 2 * case.batch
    answer = 4 * math.prod(case.windows.patch) * case.channels_out
    running = case.stored + case.floats + case.accumulator + flights * case.window + answer
    running += math.prod(case.model.size) * case.want_uncertainty + case.further_members(DEVICE_SLAB_BYTES)
    return max(case.preparing, running + DEVICE_SLAB_FACTOR * case.slab(DEVICE_SLAB_BYTES))
