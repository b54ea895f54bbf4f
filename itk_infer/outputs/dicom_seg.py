"""DICOM SEG: the label map as segments on the frames of its source series (PS3.3, A.51 and A.95)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.outputs.dicom_case import FOOT, DicomCase, algorithm, building, coded, concept, write_object
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.spec import Label
from itk_infer.volume.dicom.derived import LOSSY_METHOD, LOSSY_RATIO
from itk_infer.volume.dicom.header import text_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class SegOutput:
    """Writes a SEG once the label map is finished; see `CaseOutput`.

    Args:
        path: File to write.
        header: The case, with its source.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`."""
        dicom = DicomCase.of(case)
        with building(self._path):
            made = segmentation(dicom)
        return write_object(dicom, made, self._path)

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""


def segmentation(case: DicomCase) -> Dataset:
    """The SEG of a case, without patient and study.

    Every label is a segment, also one that was not found. Frames in which a segment is empty are left out of a
    binary one, but for those that make the pixels an even number of bytes: see `_even`. Where labels overlap, each
    segment of a binary one has all its voxels.
    """
    from highdicom.seg import Segmentation
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless

    binary = case.case.header.seg_type == "binary"
    # highdicom takes overlapping segments as four dimensions of bytes; here it gets one map, and bits afterwards.
    layered = binary and case.overlaps and case.segments[0].size >= len(case.labels)
    given = _stand_ins(case) if layered else case.segments
    segments, kept = _even(given, len(case.labels)) if binary else (given, given)
    made = Segmentation(
        case.slices,
        segments,
        "BINARY" if binary else "LABELMAP",
        [_description(case, number, label) for number, label in enumerate(case.labels, 1)],
        content_label="SEGMENTATION",
        content_description=FOOT,
        transfer_syntax_uid=ExplicitVRLittleEndian if binary else RLELossless,
        omit_empty_frames=binary,
        **case.instance("seg", case.case.header.seg_type),
    )
    if layered:
        _restore(made, case.mask)
        made.SegmentsOverlap = "YES"
    elif kept is not segments or (binary and segments[0].size < 8):  # highdicom takes a byte for such a frame
        _restore(made, lambda number: kept == number)
    _refer(made, case)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = case.uid("dimensions")
    return made


def _description(case: DicomCase, number: int, label: Label) -> Any:
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    code = coded(label)
    tracking_id, tracking_uid = case.tracking(label)
    made = SegmentDescription(
        segment_number=number,
        segment_label=case.text(label.name),
        segmented_property_category=concept(code.category, case),
        segmented_property_type=concept(code.type, case),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm(case),
        tracking_uid=tracking_uid,
        tracking_id=tracking_id,
        display_color=CIELabColor.from_rgb(*label.rgb),
    )
    if code.modifiers:
        made.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            concept(modifier, case) for modifier in code.modifiers
        ]
    return made


def _even(segments: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Segments with as many further frames as make the packed bits of all frames an even number of bytes.

    DICOM pads an odd number of bytes by one; OHIF then takes the length for wrong, and shows nothing. A further
    frame is one in which its segment is empty: it gets one voxel here, which `_restore` takes out again. Where no
    label was found, there is one such frame at least: a SEG has to have one, and highdicom would write them all.

    Returns:
        What to build from, and the segments as they are: the same array where nothing is to be done.
    """
    pixels = segments[0].size
    if not pixels % 16 and segments.any():
        return segments, segments
    counts = np.stack([np.bincount(plane.ravel(), minlength=count + 1) for plane in segments])
    full = counts[:, 1:].T > 0  # of labels, by plane
    frames = np.count_nonzero(full)
    further = segments.copy()
    empty = iter(np.argwhere(~full))
    while not frames or -(-frames * pixels // 8) % 2:
        number, plane = next(empty, (None, 0))
        if number is None:
            return segments, segments
        free = np.flatnonzero(further[plane].ravel() == 0)
        if len(free):
            further[plane].flat[free[0]] = number + 1
            frames += 1
    return (further, segments) if frames > np.count_nonzero(full) else (segments, segments)


def _stand_ins(case: DicomCase) -> NDArray[Any]:
    """A map with one voxel in each plane for each segment that has voxels there: which frames there will be."""
    made = np.zeros_like(case.segments)
    for number in range(1, len(case.labels) + 1):
        there = case.mask(number).any(axis=(1, 2))
        made.reshape(len(made), -1)[there, number - 1] = number
    return made


def _restore(made: Dataset, of_segment: Callable[[int], NDArray[np.bool_]]) -> None:
    """Write the segments as they are into the frames that there are.

    Args:
        made: The SEG.
        of_segment: The voxels of a segment, by its number. Called once for frames of a segment in a row.
    """
    shared, items = made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence
    last: tuple[int, NDArray[np.bool_]] | None = None

    def mask(item: Dataset) -> NDArray[np.bool_]:
        nonlocal last
        groups = item if "SegmentIdentificationSequence" in item else shared
        number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        if last is None or last[0] != number:
            last = number, of_segment(number)
        return np.asarray(last[1][_plane_of(item)])

    packed = bytearray()
    for first in range(0, len(items), 8):  # eight frames end at a whole byte, whatever their size
        masks = np.stack([mask(item) for item in items[first : first + 8]])
        packed += np.packbits(masks, bitorder="little").tobytes()
    made.PixelData = bytes(packed + b"\0" * (len(packed) % 2))


def _plane_of(item: Dataset) -> int:
    """The number of the slice that a frame was made of, from the UID that `DicomCase.slices` gave it."""
    source = item.DerivationImageSequence[0].SourceImageSequence[0]
    return int(source.ReferencedSOPInstanceUID.rpartition(".")[2]) - 1


def _refer(made: Dataset, case: DicomCase) -> None:
    """Refer to the files, and frames, of the series in place of the UIDs that `DicomCase.slices` made up."""
    from pydicom.dataset import Dataset

    items = made.PerFrameFunctionalGroupsSequence
    # All planes before any is changed: frames of one slice share what refers to it.
    for item, plane in zip(items, [_plane_of(item) for item in items], strict=True):
        frame = case.stack.frames[plane]
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPClassUID = frame.file.text("SOPClassUID")
        source.ReferencedSOPInstanceUID = frame.file.text("SOPInstanceUID")
        if frame.file.frames > 1:
            source.ReferencedFrameNumber = frame.index + 1
    instances = []
    for image in case.evidence:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
            image.SOPClassUID,
            image.SOPInstanceUID,
        )
        instances.append(reference)
    made.ReferencedSeriesSequence[0].ReferencedInstanceSequence = instances
    made.SourceImageSequence = instances
    first = case.stack.frames[0].file
    if any(frame.file.text("LossyImageCompression") == "01" for frame in case.stack.frames):
        made.LossyImageCompression = "01"
        for keyword, tag in (
            ("LossyImageCompressionRatio", LOSSY_RATIO),
            ("LossyImageCompressionMethod", LOSSY_METHOD),
        ):
            if value := text_of(first.data.elements, tag, ""):
                setattr(made, keyword, value.split("\\"))
