"""A backend and all between it and the engine: smaller calls, mirroring, empty windows, the precision guard."""

from __future__ import annotations

from collections.abc import Sequence

from itk_infer.model.backend import Backend, Logits, Windows
from itk_infer.model.inferer.mirror import Forward, Mirrored
from itk_infer.model.inferer.out_of_memory import OutOfMemoryRetry
from itk_infer.model.inferer.skip_empty import EmptyWindowSkipper


class WindowInferer:
    """Answers the windows of one case, and tells afterwards what was special about it.

    Args:
        backend: What runs the network.
        mirror_axes: Axes to mirror, None for no test-time augmentation.
        lowest: The padded volume's minimum, if empty windows shall not be run; None to run all.
        below: Largest value of an empty window; None: only windows of one value are empty.
        most: Windows a call, mirrored ones counted, where memory has run out before.
    """

    def __init__(
        self,
        backend: Backend,
        mirror_axes: Sequence[int] | None,
        lowest: float | None,
        below: float | None,
        most: int | None = None,
    ) -> None:
        self._backend = backend
        self._mirror_axes = mirror_axes
        self._notes = backend.notes
        self._redone = 0
        self._full: Backend | None = None
        self._most = most
        # OpenVINO and GPUs prepare for every new shape; onnxruntime and torch on a CPU do not.
        fill = backend.device != "cpu" or backend.provider == "openvino"
        mirrorings = 1 if mirror_axes is None else 2 ** len(mirror_axes)
        self._fitting = OutOfMemoryRetry(backend.forward, most, fill=fill, one=mirrorings)
        network = self._mirrored(self._fitting)
        self._skipper = None if lowest is None else EmptyWindowSkipper(network, lowest, below)
        self._answer = self._skipper or network

    def __call__(self, windows: Windows) -> Logits:
        """As `Backend.forward`."""
        return self._answer(windows)

    def repair(self, windows: Windows) -> Logits:
        """The half-precision guard: windows whose logits overflowed, run again in fp32."""
        if self._full is None:
            self._full = self._backend.in_full_precision()
        if self._full is not self._backend:
            self._redone += len(windows)
        return self._mirrored(OutOfMemoryRetry(self._full.forward))(windows)

    def _mirrored(self, network: Forward) -> Forward:
        return network if self._mirror_axes is None else Mirrored(network, self._mirror_axes)

    @property
    def most(self) -> int | None:
        """Windows a call that fit, mirrored ones counted, once memory has run out; None if it never did."""
        return self._fitting.most

    def warnings(self, windows: int) -> list[str]:
        """What happened on the way, of so many windows."""
        found = [note for note in self._backend.notes if note not in self._notes]
        if self.most != self._most:
            found.append(f"memory ran out in the network; from here on {self.most} window(s) a call")
        if self._redone:
            found.append(f"{self._redone} of {windows} windows overflowed and were run again in fp32")
        if self._skipper and self._skipper.skipped:
            found.append(f"{self._skipper.skipped} of {windows} windows were empty and not run")
        return found
