"""Open the outputs of a case, of the stages ``slab`` and ``case``, as sinks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itk_infer.outputs.kept_masks import KeptMasks
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.registry import OUTPUTS
from itk_infer.outputs.sink import CaseOutput, OutputHeader, Sink
from itk_infer.volume.slab import DecidedSlab


def open_outputs(wanted: Sequence[tuple[str, Path]], header: OutputHeader) -> list[Sink]:
    """Open outputs, in order.

    Outputs of the stage ``case`` share the array of the label output, or that of a label map in memory if no
    plain label map is written.

    Args:
        wanted: Names in `OUTPUTS`, each with the file to write.
        header: Header of the case.

    Raises:
        OutputError: a file cannot be opened; all others are removed.
    """
    opened: list[Sink] = []
    at_end: list[_AtEnd] = []
    try:
        for name, path in wanted:
            kind = OUTPUTS[name]
            made = kind.load()(path, header)
            if kind.stage == "case":
                made = _AtEnd(made)
                at_end.append(made)
            opened.append(made)
        if at_end:
            labels = next((sink for sink in opened if isinstance(sink, LabelMapSink)), None)
            if labels is None:
                labels = LabelMapSink(None, header)
                opened.append(labels)
            labels.wants_uncertainty = any("uncertainty" in OUTPUTS[name].needs for name, _ in wanted)
            layered = header.overlaps and header.seg_type == "binary"  # one map of labels has one layer
            if layered and any("masks" in OUTPUTS[name].needs for name, _ in wanted):
                kept = next((sink for sink in opened if isinstance(sink, KeptMasks)), None)
                if kept is None:
                    kept = KeptMasks(None, header)
                    opened.append(kept)
                labels.masks = kept.masks
            for output in at_end:
                output.labels = labels
    except BaseException:
        for sink in opened:
            sink.abort()
        raise
    return opened


class _AtEnd:
    """An output of the stage ``case`` as a sink, which waits for the label map."""

    needs_logits = False
    labels: LabelMapSink

    def __init__(self, output: CaseOutput) -> None:
        self._output = output

    def write(self, slab: DecidedSlab) -> None:
        """Do nothing: slabs are collected by `labels`."""

    def commit(self) -> Path:
        """Write the file."""
        return self._output.commit(self.labels.finished)

    def abort(self) -> None:
        """See `CaseOutput.abort`."""
        self._output.abort()
