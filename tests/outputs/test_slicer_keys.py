"""Codes of labels as 3D Slicer reads them."""

from __future__ import annotations

from dataclasses import replace

from support.made_up import make_frame

from itk_infer.outputs.slicer_keys import segment_keys
from itk_infer.spec.label_codes import a_label_code


def tags(code):
    frame = make_frame()
    first, *rest = frame.labels
    label = replace(first, code=None if code is None else a_label_code(code, "code"))
    return segment_keys(replace(frame, labels=(label, *rest)), [0] * len(frame.labels))["Segment0_Tags"]


def test_a_structure_with_its_side():
    """The entry that Slicer 5 itself writes for a left kidney."""
    assert tags({"type": "Kidney", "side": "Left"}) == (
        "TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list"
        "~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left"
        "~Anatomic codes - DICOM master list~^^~^^|"
    )


def test_a_part_and_what_has_no_code():
    assert "~SCT^5366008^Hippocampus~SCT^255549009^Anterior~" in tags(
        {"type": "Hippocampus", "modifier": "Anterior"}
    )
    assert "~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~" in tags(None)
    assert "^odd   one~^^~" in tags("odd~^|one")
