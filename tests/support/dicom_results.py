"""Reads DICOM results with pydicom alone, by the standard's text: no library that writes them is used here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest


@dataclass
class SegFrame:
    """One frame of a SEG: its segment (of a label map: 0), its pixels, and what it was made of."""

    segment: int
    pixels: np.ndarray
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray
    source: tuple[str, int]

    def points(self, value: int) -> np.ndarray:
        """Centres of the pixels with a value, in patient coordinates (PS3.3, C.7.6.2.1.1)."""
        rows, columns = np.nonzero(self.pixels == value)
        along_row, along_column = self.orientation[:3], self.orientation[3:]
        return (
            self.position
            + np.outer(columns * self.spacing[1], along_row)
            + np.outer(rows * self.spacing[0], along_column)
        )


def seg_frames(path: Path) -> list[SegFrame]:
    ds = pydicom.dcmread(path)
    shape = (ds.NumberOfFrames, ds.Rows, ds.Columns)
    if ds.SegmentationType == "BINARY":
        assert ds.BitsAllocated == 1
        assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
        pixels = bits[: np.prod(shape)].reshape(shape)
    else:
        assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"  # RLE
        pixels = ds.pixel_array.reshape(shape)
    shared, found = ds.SharedFunctionalGroupsSequence[0], []
    for item, plane in zip(ds.PerFrameFunctionalGroupsSequence, pixels, strict=True):

        def group(name, item=item):
            return (item if name in item else shared)[name].value[0]

        segment = 0
        if ds.SegmentationType == "BINARY":
            segment = group("SegmentIdentificationSequence").ReferencedSegmentNumber
        source = group("DerivationImageSequence").SourceImageSequence[0]
        found.append(
            SegFrame(
                segment,
                plane,
                np.array(group("PlanePositionSequence").ImagePositionPatient, float),
                np.array(group("PlaneOrientationSequence").ImageOrientationPatient, float),
                np.array(group("PixelMeasuresSequence").PixelSpacing, float),
                (source.ReferencedSOPInstanceUID, int(source.get("ReferencedFrameNumber", 1)) - 1),
            )
        )
    return found


def seg_points(path: Path, number: int) -> np.ndarray:
    """Centres of the voxels of a segment."""
    frames = seg_frames(path)
    binary = frames[0].segment > 0
    kept = [frame for frame in frames if frame.segment in (0, number)]
    points = [frame.points(1 if binary else number) for frame in kept]
    return np.concatenate(points) if points else np.zeros((0, 3))


def measurements(path: Path) -> list[dict[str, tuple[float, str]]]:
    """The numbers of each measurement group of an SR, with their units, by name; text items as they are."""
    groups = []

    def name(item):
        return item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else ""

    def walk(item):
        if name(item) == "Measurement Group":
            found = {}
            for child in item.ContentSequence:
                if child.ValueType == "NUM":
                    measured = child.MeasuredValueSequence[0]
                    unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
                    found[name(child)] = float(measured.NumericValue), unit
                elif child.ValueType == "TEXT":
                    found[name(child)] = child.TextValue
                elif child.ValueType == "CODE":
                    found[name(child)] = child.ConceptCodeSequence[0].CodeMeaning
                elif child.ValueType == "IMAGE":
                    reference = child.ReferencedSOPSequence[0]
                    found["segment"] = reference.ReferencedSOPInstanceUID, reference.ReferencedSegmentNumber
            groups.append(found)
            return
        for child in item.get("ContentSequence", ()):
            walk(child)

    walk(pydicom.dcmread(path))
    return groups


def tool(name: str) -> str:
    """The path of a program, beside Python or in the search path; skips without it."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def complaints(path: Path) -> list[str]:
    """What dicom3tools' validator finds wrong."""
    done = subprocess.run([tool("dciodvfy"), str(path)], capture_output=True, check=False)
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.startswith("Error")]
