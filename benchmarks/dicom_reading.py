"""Seconds of reading a DICOM series: this program against SimpleITK's series reader, same files, values compared.

    python benchmarks/dicom_reading.py [--slices 300] [--rounds 5]

Needs pydicom and imagecodecs. Makes 512 x 512 slices in each transfer syntax in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import imagecodecs
import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.dicom_files import compressed, save, slice_of

from itk_infer.volume.dicom.reading import read_series
from itk_infer.volume.dicom.series_files import SeriesFiles


def anatomy(slices: int) -> np.ndarray:
    """Twelve bits of smooth shapes with noise, which compress about as a CT does."""
    generator = np.random.default_rng(1)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (slices, 512, 512)), indexing="ij", sparse=True)
    body = (x**2 + y**2 * 1.4 < 0.7) * (1000 + 120 * np.sin(9 * x) * np.cos(7 * y + 3 * z))
    noise = generator.normal(0, 12, (slices, 512, 512)).astype(np.float32)
    return np.clip(body + noise + 40, 0, 4095).astype(np.uint16)


SYNTAXES = {
    "raw": None,
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
    "JPEG lossless": ("1.2.840.10008.1.2.4.70", lambda p: imagecodecs.ljpeg_encode(p, bitspersample=16)),
    "JPEG 2000": (
        "1.2.840.10008.1.2.4.90",
        lambda p: imagecodecs.jpeg2k_encode(p, codecformat="J2K", reversible=True),
    ),
    "RLE": ("1.2.840.10008.1.2.5", None),  # by pydicom
}


def by_simpleitk(folder: Path) -> np.ndarray:
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    return sitk.GetArrayFromImage(reader.Execute())


def by_itk_infer(folder: Path) -> np.ndarray:
    return read_series(SeriesFiles(tuple(sorted(folder.iterdir())))).array


def measured(read, folder: Path, rounds: int) -> tuple[float, float, np.ndarray]:
    """Median wall and CPU seconds, and the values."""
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        values = read(folder)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus), values


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(SYNTAXES))
    options = parser.parse_args()
    volume = anatomy(options.slices)
    found = {}
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            for k, plane in enumerate(volume):
                ds = slice_of(k, plane, BitsStored=12, HighBit=11, RescaleIntercept="-1024", RescaleSlope="1")
                if SYNTAXES[name] is not None:
                    syntax, encode = SYNTAXES[name]
                    if encode is None:
                        ds.compress(syntax, generate_instance_uid=False)
                    else:
                        ds = compressed(ds, encode(plane), syntax)
                save(ds, Path(folder) / f"{k:04d}.dcm")
            rounds = options.rounds
            ours = measured(by_itk_infer, Path(folder), rounds)
            theirs = measured(by_simpleitk, Path(folder), rounds)
            equal = bool(
                np.array_equal(ours[2], theirs[2]) and np.array_equal(ours[2], volume.astype(np.int32) - 1024)
            )
            found[name] = {
                "itk_infer_s": round(ours[0], 3), "itk_infer_cpu_s": round(ours[1], 3),
                "simpleitk_s": round(theirs[0], 3), "simpleitk_cpu_s": round(theirs[1], 3),
                "ratio": round(theirs[0] / ours[0], 2), "cpu_ratio": round(theirs[1] / ours[1], 2), "equal": equal,
            }  # fmt: skip
            print(f"{name:<14}", json.dumps(found[name]), flush=True)
    print(json.dumps({"slices": options.slices, "machine": platform.platform(), **found}))


if __name__ == "__main__":
    main()
