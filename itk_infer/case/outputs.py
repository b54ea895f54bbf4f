"""The sinks of one case, opened when the number of output channels is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.decision import Decision
from itk_infer.engine.segment import Opened
from itk_infer.outputs.kept_masks import KeptMasks
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.spec import Label
from itk_infer.spec.postprocessing import check_labels
from itk_infer.volume.box import Box
from itk_infer.volume.crop import Uncrop
from itk_infer.volume.slab import DecidedSlab

MakeSinks = Callable[[OutputHeader], Sequence[Sink]]


class CaseSinks:
    """Passes the decided slabs of a case to its sinks.

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
        self._header: OutputHeader | None = None
        self._make = make
        self._frame = frame
        self._part = part
        self._size = size

    def open(self, decision: Decision) -> Opened:
        """Open them."""
        self.labels = decision.table
        self._header = header = self._frame(decision)
        rules = decision.output.postprocessing
        check_labels(rules, decision.table)
        self.open_outputs.extend(self._make(header))
        if rules and header.overlaps and not any(isinstance(sink, KeptMasks) for sink in self.open_outputs):
            self.open_outputs.append(KeptMasks(None, header))  # rules act on each label's own mask
        if not any(isinstance(sink, LabelMapSink) for sink in self.open_outputs):
            # Counts and parts are those of the label map, also where it is not written.
            self.open_outputs.append(LabelMapSink(None, header))
        want_logits = any(sink.needs_logits for sink in self.open_outputs)
        uncertainty = any(isinstance(sink, LabelMapSink) and sink.wants_uncertainty for sink in self.open_outputs)
        if self._part is None:
            return Opened(self._take, want_logits, uncertainty)
        outside = decision.outside().astype(np.float16)
        return Opened(Uncrop(self._take, self._part, self._size, outside), want_logits, uncertainty)

    def on_file_grid(self, values: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
        """One value per voxel of the slabs, (Z, Y, X), on the grid of the files; 0 outside of what they are of."""
        if values is None or self._header is None:
            return None
        if self._part is not None:
            whole = np.zeros(self._size, np.uint8)
            whole[self._part] = values
            values = whole
        turned: NDArray[np.uint8] = self._header.reorientation.apply(values)
        return turned

    def abort(self) -> None:
        """Leave nothing behind."""
        for sink in self.open_outputs:
            sink.abort()

    def _take(self, slab: DecidedSlab) -> None:
        for sink in self.open_outputs:
            sink.write(slab)
