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
        make: Makes the sinks of a header.
        header: Makes the header of the outputs, once it is known what the channels mean.
        part: The box that the slabs cover, Z Y X on the native grid; None: all of it.
        size: Size of the case's native grid, Z Y X.

    Attributes:
        open_outputs: The sinks; empty until `open`.
        labels: The label table; empty until `open`.
    """

    def __init__(
        self,
        make: MakeSinks,
        header: Callable[[Decision], OutputHeader],
        part: Box | None,
        size: tuple[int, int, int],
    ) -> None:
        self.open_outputs: list[Sink] = []
        self.labels: tuple[Label, ...] = ()
        self._header: OutputHeader | None = None
        self._make = make
        self._make_header = header
        self._part = part
        self._size = size

    def open(self, decision: Decision) -> Opened:
        """Make the sinks.

        Raises:
            OutputError: a file cannot be opened, or the model's post-processing rules do not go with the format.
        """
        self.labels = decision.table
        self._header = header = self._make_header(decision)
        rules = decision.output.postprocessing
        check_labels(rules, decision.table)
        self.open_outputs.extend(self._make(header))
        if rules and header.overlaps and not any(isinstance(sink, KeptMasks) for sink in self.open_outputs):
            self.open_outputs.append(
                KeptMasks(None, header)
            )  # counts after the rules are of each label's own mask
        if not any(isinstance(sink, LabelMapSink) for sink in self.open_outputs):
            # Voxels and components are counted in the label map, even if it is not written.
            self.open_outputs.append(LabelMapSink(None, header))
        want_logits = any(sink.needs_logits for sink in self.open_outputs)
        uncertainty = any(isinstance(sink, LabelMapSink) and sink.wants_uncertainty for sink in self.open_outputs)
        if self._part is None:
            return Opened(self._take, want_logits, uncertainty)
        outside = decision.outside().astype(np.float16)
        return Opened(Uncrop(self._take, self._part, self._size, outside), want_logits, uncertainty)

    def on_file_grid(self, values: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
        """Bring one value per voxel of the slabs, (Z, Y, X), to the grid of the files; 0 outside of `part`."""
        if values is None or self._header is None:
            return None
        if self._part is not None:
            whole = np.zeros(self._size, np.uint8)
            whole[self._part] = values
            values = whole
        turned: NDArray[np.uint8] = self._header.reorientation.apply(values)
        return turned

    def abort(self) -> None:
        """Remove what the sinks have written."""
        for sink in self.open_outputs:
            sink.abort()

    def _take(self, slab: DecidedSlab) -> None:
        for sink in self.open_outputs:
            sink.write(slab)
