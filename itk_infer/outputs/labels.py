"""The label output: a plain label map, or layers if labels overlap and the format supports layers."""

from __future__ import annotations

from pathlib import Path

from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.layered_label_map import LayeredSegmentationSink
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.outputs.slicer_keys import is_segmentation


def open_labels(path: Path, header: OutputHeader) -> Sink:
    """Make the sink of a case's label file."""
    layered = header.overlaps and is_segmentation(path)
    return LayeredSegmentationSink(path, header) if layered else LabelMapSink(path, header)
