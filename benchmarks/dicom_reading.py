"""Seconds and memory of reading a DICOM series: this program, SimpleITK, highdicom, dcm2niix, on the same files.

    python benchmarks/dicom_reading.py [--raw 300] [--slices 60] [--rounds 5]

Makes slices of 512 x 512 in each transfer syntax in a temporary folder, reads them by each program in turn, each
time in a process of its own, compares the values, and writes the table into docs/dicom.md (not with --no-page).
Needs pydicom, imagecodecs and highdicom; dcm2niix where it is installed (apt-get install dcm2niix).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "dicom.md"
BEGIN, END = "<!-- benchmarks/dicom_reading.py -->\n", "<!-- end -->\n"
SYNTAXES = ("raw", "JPEG-LS", "JPEG lossless", "RLE", "JPEG 2000")
READERS = ("itk_infer", "SimpleITK", "highdicom", "dcm2niix")
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


def peak_mib() -> float:
    """Of this process; what `getrusage` says can be that of the process which started it."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def read_in_process(reader: str, files: list[str]) -> dict[str, object]:
    """One reading in this process: seconds, memory beside that of the libraries, and a digest of the values."""
    read = {"itk_infer": by_itk_infer, "SimpleITK": by_simpleitk, "highdicom": by_highdicom}[reader]
    read(files[:WARM])
    before, wall, cpu = peak_mib(), time.perf_counter(), time.process_time()
    values = read(files)
    found = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return {**found, "mib": peak_mib() - before, "values": digest(values)}


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, np.int16).tobytes()).hexdigest()


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


def run(reader: str, folder: Path) -> dict[str, object] | None:
    """One reading in a process of its own; None where the program does not read these files."""
    words = [sys.executable, __file__, "--read", reader, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment())
    if done.returncode:
        return None
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


# --- the table -------------------------------------------------------------------------------------


def cell(rounds: list[dict[str, float] | None], expected: str) -> str:
    if None in rounds:
        return "not read"
    wall, cpu = (statistics.median(found[key] for found in rounds) for key in ("seconds", "cpu"))
    differs = "" if {found["values"] for found in rounds} == {expected} else ", other values"
    return f"{wall:.2f} ({cpu:.2f}){differs}"


def table(measured: dict[str, dict[str, list]], expected: dict[str, str], sizes: dict[str, int]) -> list[str]:
    lines = [f"| | {' | '.join(READERS)} |", f"|---{'|---' * len(READERS)}|"]
    for syntax, rows in measured.items():
        cells = [cell(rows[reader], expected[syntax]) for reader in READERS]
        lines.append(f"| {syntax}, {sizes[syntax]} slices | {' | '.join(cells)} |")
    syntax = next(iter(measured))
    mib = [
        "-" if None in rows else f"{statistics.median(found['mib'] for found in rows):,.0f} MiB"
        for rows in (measured[syntax][reader] for reader in READERS)
    ]
    lines.append(f"| memory, {syntax} | {' | '.join(mib)} |")
    return lines


def write_page(lines: list[str]) -> None:
    text = PAGE.read_text("utf-8")
    block = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not block.search(text):
        raise SystemExit(f"{PAGE}: has no place for the table; it lies between {BEGIN.strip()} and {END.strip()}")
    body = "\n".join(lines)
    PAGE.write_text(block.sub(lambda _: f"{BEGIN}\n{body}\n\n{END}", text), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw", type=int, default=300, help="slices without compression")
    parser.add_argument("--slices", type=int, default=60, help="slices in every other syntax")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(SYNTAXES), choices=SYNTAXES)
    parser.add_argument("--no-page", action="store_true", help="print the table only")
    parser.add_argument("--read", nargs=2, metavar=("READER", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        reader, folder = args.read[0], Path(args.read[1])
        files = sorted(map(str, folder.iterdir()))
        print(json.dumps(run_dcm2niix(folder) if reader == "dcm2niix" else read_in_process(reader, files)))
        return
    sizes = {syntax: args.raw if syntax == "raw" else args.slices for syntax in args.only}
    measured, expected = {}, {}
    for syntax in args.only:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "series")
            volume = anatomy(sizes[syntax])
            write_series(folder, volume, syntax)
            expected[syntax] = digest(volume.astype(np.int16) - 1024)
            measured[syntax] = {reader: [] for reader in READERS}
            for number in range(args.rounds):
                for reader in READERS:
                    measured[syntax][reader].append(run(reader, folder))
                print(f"{syntax}: round {number + 1} of {args.rounds}", flush=True)
    lines = table(measured, expected, sizes)
    print("\n".join(lines))
    if not args.no_page:
        write_page(lines)


if __name__ == "__main__":
    main()
