"""Reading a DICOM series: this program, SimpleITK, highdicom and dcm2niix, each in a process of its own.

    python -m contenders.dicom_reading write SYNTAX SLICES FOLDER    # made slices of 512 x 512
    python -m contenders.dicom_reading READER FOLDER

Prints one JSON object: what was written has a digest of the values; what was read has it, too, with seconds of the
clock and of the CPU, and the peak of memory beside the libraries, with the volume itself. Needs pydicom,
imagecodecs and highdicom; dcm2niix where it is installed (apt-get install dcm2niix).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from contenders.workload import peak_mib

ROOT = Path(__file__).resolve().parents[2]
WARM = 3  # slices read before the clock starts: what libraries import and start does not count


def anatomy(slices: int) -> np.ndarray:
    """Twelve bits of smooth shapes with noise, which compress about as a CT does."""
    generator = np.random.default_rng(1)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (slices, 512, 512)), indexing="ij", sparse=True)
    body = (x**2 + y**2 * 1.4 < 0.7) * (1000 + 120 * np.sin(9 * x) * np.cos(7 * y + 3 * z))
    noise = generator.normal(0, 12, (slices, 512, 512)).astype(np.float32)
    return np.clip(body + noise + 40, 0, 4095).astype(np.uint16)


def write_series(folder: Path, volume: np.ndarray, syntax: str) -> None:
    import imagecodecs

    sys.path.insert(0, str(ROOT / "tests"))
    from support.dicom_files import compressed, save, slice_of

    encoders = {
        "JPEG-LS": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
        "JPEG lossless": ("1.2.840.10008.1.2.4.70", lambda p: imagecodecs.ljpeg_encode(p, bitspersample=16)),
        "JPEG 2000": (
            "1.2.840.10008.1.2.4.90",
            lambda p: imagecodecs.jpeg2k_encode(p, codecformat="J2K", reversible=True),
        ),
    }
    for k, plane in enumerate(volume):
        ds = slice_of(k, plane, BitsStored=12, HighBit=11, RescaleIntercept="-1024", RescaleSlope="1")
        if syntax == "RLE":
            ds.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
        elif syntax != "raw":
            uid, encode = encoders[syntax]
            ds = compressed(ds, encode(plane), uid)
        save(ds, folder / f"{k:04d}.dcm")


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, np.int16).tobytes()).hexdigest()


# --- readers: from the files to values (Z, Y, X) ---------------------------------------------------


def by_itk_infer(files: list[str]) -> np.ndarray:
    from itk_infer.volume.dicom.reading import read_series
    from itk_infer.volume.dicom.series_files import SeriesFiles

    return read_series(SeriesFiles(tuple(map(Path, files)))).array


def by_simpleitk(files: list[str]) -> np.ndarray:
    import SimpleITK as sitk

    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(Path(files[0]).parent))  # in the order of positions
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([name for name in names if name in set(files)])
    return sitk.GetArrayFromImage(reader.Execute())


def by_highdicom(files: list[str]) -> np.ndarray:
    import highdicom
    import pydicom

    found = highdicom.get_volume_from_series(
        [pydicom.dcmread(path) for path in files], dtype=np.float32, apply_presentation_lut=False
    )
    return found.array[::-1]  # its first slice is the one that is farthest along the normal


READERS = {"itk_infer": by_itk_infer, "SimpleITK": by_simpleitk, "highdicom": by_highdicom}


def read(reader: str, folder: Path) -> dict[str, object]:
    """One reading in this process."""
    files = sorted(map(str, folder.iterdir()))
    by = READERS[reader]
    by(files[:WARM])
    before, wall, cpu = peak_mib(), time.perf_counter(), time.process_time()
    values = by(files)
    found = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return {**found, "mib": peak_mib() - before, "values": digest(values)}


def run_dcm2niix(folder: Path) -> dict[str, object]:
    """The program as a whole: it also starts, and writes a file without compression."""
    with tempfile.TemporaryDirectory() as scratch:
        words = ["dcm2niix", "-z", "n", "-b", "n", "-f", "out", "-o", scratch, str(folder)]
        wall = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - wall
        import SimpleITK as sitk

        image = sitk.ReadImage(str(Path(scratch, "out.nii")))
    cpu, mib = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    values = digest(sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS")))
    return {"seconds": wall, "cpu": cpu, "mib": mib, "values": values}


def main() -> None:
    word, *rest = sys.argv[1:]
    if word == "write":
        volume, folder = anatomy(int(rest[1])), Path(rest[2])
        folder.mkdir()
        write_series(folder, volume, rest[0])
        found: dict[str, object] = {"values": digest(volume.astype(np.int16) - 1024)}
    else:
        found = run_dcm2niix(Path(*rest)) if word == "dcm2niix" else read(word, Path(*rest))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
