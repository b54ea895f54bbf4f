"""A DICOM SEG of 20 labels on 300 slices of 512 x 512, one encoding a process.

    python -m contenders.dicom_objects binary|labelmap

The labels are balls that cover 6.6 % of the volume. Prints one JSON object: CPU seconds of making and writing the
file, its bytes and frames, and the peak of memory before and after.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPE, SPACING, RADIUS = (300, 512, 512), (1.5, 0.8, 0.8), 39
STUDY = b"2.25.1"


def labels(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    """Twenty balls; the radius in mm."""
    found = np.zeros(shape, np.uint8)
    z, y, x = (np.arange(n, dtype=np.float32) * s for n, s in zip(shape, SPACING, strict=True))
    for value in range(1, 21):
        row, column = divmod(value - 1, 5)
        centre = (0.2 + 0.2 * row) * z[-1], (0.1 + 0.2 * column) * y[-1], (0.2 + 0.2 * row) * x[-1]
        for plane, height in zip(found, z, strict=True):
            inside = (height - centre[0]) ** 2 + (y[:, None] - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2
            plane[inside & (plane == 0)] = value
    return found


def finished(array: np.ndarray, seg_type: str):
    """A case as outputs get it, with headers of slices as they are read."""
    from itk_infer.outputs.sink import FinishedCase, OutputHeader
    from itk_infer.spec import Label
    from itk_infer.spec.dicom_keywords import KEYWORDS
    from itk_infer.spec.labels import default_color
    from itk_infer.volume.dicom.elements import DataSet
    from itk_infer.volume.dicom.frames import Frame
    from itk_infer.volume.dicom.geometry import stack_of
    from itk_infer.volume.dicom.header import FileHeader
    from itk_infer.volume.grid import Reorientation

    given = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": STUDY + b".1", "FrameOfReferenceUID": STUDY + b".2"}
    given |= {"SOPClassUID": b"1.2.840.10008.5.1.4.1.1.2", "Modality": b"CT", "PatientID": b"P1"}
    sizes = {"Rows": array.shape[1], "Columns": array.shape[2]}
    frames = []
    for k in range(len(array)):
        own = {**given, "SOPInstanceUID": b"2.25.1%d" % k}
        elements = {KEYWORDS[keyword]: value for keyword, value in own.items()}
        elements |= {KEYWORDS[keyword]: size.to_bytes(2, "little") for keyword, size in sizes.items()}
        file = FileHeader(Path(f"{k}.dcm"), 0, DataSet("1.2.840.10008.1.2.1", elements, None, True))
        position = (-200.0, -200.0, SPACING[0] * k)
        frames.append(Frame(file, 0, position, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), SPACING[1:], 1.0, 0.0))
    stack = stack_of(frames)
    table = tuple(Label(value, f"label {value}", default_color(value), value) for value in range(1, 21))
    header = OutputHeader(
        stack.grid,
        Reorientation((0, 1, 2), (False, False, False)),
        array.shape,
        table,
        21,
        {"model": "balls", "model_version": "1", "model_sha256": "0" * 64, "itk_infer": "0"},
        source=stack,
        seg_type=seg_type,
    )
    return FinishedCase(header, array)


def write(array: np.ndarray, seg_type: str, path: Path) -> dict[str, float]:
    from itk_infer.outputs.dicom_seg import SegOutput

    case = finished(array, seg_type)
    start = time.process_time()
    SegOutput(path, case.header).commit(case)
    return {"seconds": time.process_time() - start, "bytes": path.stat().st_size}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    (seg_type,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.dcm")
        write(labels((10, 64, 64), 5), seg_type, path)  # what is imported does not count
        array = labels(SHAPE, RADIUS)
        before = peak_mib()
        found = write(array, seg_type, path)
    covered = float(np.count_nonzero(array) / array.size)
    print(json.dumps({**found, "covered": covered, "before_mib": before, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
