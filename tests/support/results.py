"""Output folders with DICOM results, as a finished run leaves them; the objects are written by pydicom."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian, SegmentationStorage

from support.dicom_files import save, uid

MODALITIES = {SegmentationStorage: "SEG", BasicTextSRStorage: "SR"}


def result(
    path: Path, *words: object, sop_class: str = SegmentationStorage, study: str = "study", **attributes
) -> Path:
    """A small object that itk_infer might have written; `words` decide its UID."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid("result", *words)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = (
        study if "." in study else uid(study),
        uid("result of", study, sop_class),
    )
    ds.PatientID, ds.PatientName = "P1", "Canary"
    ds.Modality, ds.SeriesNumber = MODALITIES.get(sop_class, "OT"), 900
    ds.Manufacturer = ds.ManufacturerModelName = "itk_infer"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return save(ds, path)


def results(folder: Path, study: str = "study") -> list[Path]:
    """A folder with a segmentation and a report of one study."""
    return [
        result(folder / "case.seg.dcm", study, "seg", study=study),
        result(folder / "case.sr.dcm", study, "sr", sop_class=BasicTextSRStorage, study=study),
    ]
