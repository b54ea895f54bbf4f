"""The sinks of one case, opened when the number of output channels is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from itk_infer.engine.decision import Decision
from itk_infer.engine.segment import TakeSlab
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.spec import Label
from itk_infer.volume.box import Box
from itk_infer.volume.crop import Uncrop
from itk_infer.volume.slab import DecidedSlab

MakeSinks = Callable[[OutputHeader], Sequence[Sink]]


class CaseSinks:
    """What takes the decided slabs of a case.

    Args:
        make: Makes the sinks.
        frame: What they know of the case, from what was decided about its channels.
        part: The box of the case that the slabs are of, Z Y X on the native grid; None: all of it.
        size: Of the case's native grid, Z Y X.

    Attributes:
        open_outputs: The sinks, once there are any.
        labels: The label table, likewise.
    """

    def __init__(
        self,
        make: MakeSinks,
        frame: Callable[[Decision], OutputHeader],
        part: Box | None,
        size: tuple[int, int, int],
    ) -> None:
        self.open_outputs: list[Sink] = []
        self.labels: tuple[Label, ...] = ()
        self._make = make
        self._frame = frame
        self._part = part
        self._size = size

    def open(self, decision: Decision) -> tuple[TakeSlab, bool]:
        """Open them; returns what takes slabs, and whether these shall carry logits."""
        self.labels = decision.table
        self.open_outputs.extend(self._make(self._frame(decision)))
        want_logits = any(sink.needs_logits for sink in self.open_outputs)
        if self._part is None:
            return self._take, want_logits
        outside = decision.outside().astype(np.float16)
        return Uncrop(self._take, self._part, self._size, outside), want_logits

    def abort(self) -> None:
        """Leave nothing behind."""
        for sink in self.open_outputs:
            sink.abort()

    def _take(self, slab: DecidedSlab) -> None:
        for sink in self.open_outputs:
            sink.write(slab)
