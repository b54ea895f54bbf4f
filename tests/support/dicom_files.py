"""Small DICOM series, written by pydicom, which the program does not use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def uid(*words: object) -> str:
    return str(generate_uid(entropy_srcs=["tests of itk_infer", *map(str, words)]))


def slice_of(
    k: int,
    pixels: np.ndarray,
    *,
    series: str = "series",
    study: str = "study",
    position: Any = None,
    orientation: Any = AXIAL,
    spacing: Any = (1.2, 1.0),
    **attributes: Any,
) -> Dataset:
    """A slice with integer pixels (Y, X), 2 mm from the one before."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, uid(study, series, k)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(study), uid(study, series)
    ds.FrameOfReferenceUID, ds.Modality, ds.SeriesNumber = uid(study, "frame"), "CT", 7
    ds.PatientID, ds.StudyDate, ds.SeriesDescription = "P1", "20240229", "made up"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient = [
        f"{v:.10g}"[:16] for v in (position if position is not None else (0.0, 0.0, 2.0 * k))
    ]
    ds.ImageOrientationPatient = [f"{v:.10g}"[:16] for v in orientation]
    ds.PixelSpacing = [f"{v:.10g}" for v in spacing]
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit, ds.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def save(ds: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)
    return path


def save_series(folder: Path, voxels: np.ndarray, **attributes: Any) -> list[Path]:
    """A slice for each plane of voxels (Z, Y, X); attributes that are lists of as many values go one to each."""
    paths = []
    for k, plane in enumerate(voxels):
        own = {
            key: value[k] if isinstance(value, list) and len(value) == len(voxels) else value
            for key, value in attributes.items()
        }
        paths.append(save(slice_of(k, plane, **own), folder / f"{k:03d}.dcm"))
    return paths


def compressed(ds: Dataset, stream: bytes, syntax: str, *, fragments: int = 1) -> Dataset:
    """The same slice with a compressed frame instead of its pixels."""
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([stream], fragments_per_frame=fragments, has_bot=False)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def voxels(shape: tuple[int, int, int] = (5, 12, 10), dtype: Any = np.uint16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)
