"""Mutated DICOM series: no crash, no hang, no memory above a limit; each ends as a volume or in a reason.

    python benchmarks/dicom_fuzz.py [--files 10000] [--seed 0]

Each turn changes one file of a small series: bytes flipped, lengths absurd, the end cut off, or parts swapped.
The series is scanned, judged and read as in a run. A crash of a decoder ends this process; a watchdog ends it if
one turn takes longer than a minute, where it takes some 10 ms, and below a second on a machine with ten times more
work than cores. There is no limit for the whole, whose time is the machine's: minutes, or ten times as many.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import random
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.dicom_files import compressed, save, slice_of, voxels
from support.htj2k import htj2k_encode

from itk_infer.errors import InputError
from itk_infer.run.dicom_cases import dicom_cases
from itk_infer.spec import InputSpec
from itk_infer.volume.dicom.reading import read_series
from itk_infer.volume.dicom.series_files import SeriesFiles

SECONDS = 60
ABSURD = (
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\0",
    b"\xfe\xff\xff\xff",
    b"\0\0\0\x80",
    b"\xff\xff",
    b"\0\0",
)
ENCODERS = {
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode,
    "1.2.840.10008.1.2.4.201": htj2k_encode,
    "1.2.840.10008.1.2.4.90": lambda p: imagecodecs.jpeg2k_encode(p, codecformat="J2K", reversible=True),
    "1.2.840.10008.1.2.4.70": lambda p: imagecodecs.ljpeg_encode(p, bitspersample=16),
    "1.2.840.10008.1.2.4.50": lambda p: imagecodecs.jpeg8_encode((p % 256).astype(np.uint8)),
}
KINDS = ("explicit", "implicit", "deflated", "rle", *ENCODERS)


def make(folder: Path, kind: str) -> list[Path]:
    """A series of four slices in one encoding."""
    paths = []
    for k, plane in enumerate(voxels((4, 24, 20))):
        ds = slice_of(k, plane.astype(np.uint8) if kind.endswith(".50") else plane)
        if kind in ENCODERS:
            ds = compressed(ds, ENCODERS[kind](plane), kind)
        elif kind == "rle":
            ds.compress(RLELossless, generate_instance_uid=False)
        elif kind != "explicit":
            ds.file_meta.TransferSyntaxUID = (
                ImplicitVRLittleEndian if kind == "implicit" else DeflatedExplicitVRLittleEndian
            )
        paths.append(save(ds, folder / f"{kind}_{k}.dcm"))
    return paths


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file, changed in one to four ways."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(128, max(129, len(changed)))
        way = rng.randrange(6)
        if way == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif way == 1:
            absurd = rng.choice(ABSURD)
            changed[at : at + len(absurd)] = absurd
        elif way == 2:
            del changed[at:]
        elif way == 3:
            del changed[at : at + rng.randint(1, 64)]
        elif way == 4:
            end = min(len(changed), at + rng.randint(1, 200))
            changed[at:at] = changed[at:end]
        else:
            changed[at : at + 8] = bytes(rng.randrange(256) for _ in range(8))
    return bytes(changed)


def turn(folder: Path, paths: list[Path]) -> str:
    """What becomes of the series: a reason, or ``volume``."""
    found = dicom_cases(folder, [(Path(), path) for path in paths], InputSpec(), "")
    try:
        direct = read_series(SeriesFiles(tuple(paths)))  # also where the scan has refused it
        if direct.array.shape != direct.grid.size:
            raise RuntimeError("the array has another size than the grid")
    except InputError as error:
        direct_reason = str(error)
    else:
        direct_reason = ""
    reasons = [case.problem for case in found.cases if case.problem] or [item.reason for item in found.passed]
    reason = (reasons or [direct_reason])[0]
    return re.sub(r"[\d.,]+|\S+\.dcm", "#", reason)[:60] if reason else "volume"


def fuzz(count: int, seed: int, folder: Path) -> tuple[collections.Counter[str], float]:
    """So many mutated files; returns how often each end came, and the seconds of the longest turn."""
    rng, ends, longest = random.Random(seed), collections.Counter[str](), 0.0
    series = {kind: make(folder, kind) for kind in KINDS}
    originals = {path: path.read_bytes() for paths in series.values() for path in paths}
    for _ in range(count):
        paths = series[rng.choice(KINDS)]
        victim = rng.choice(paths)
        victim.write_bytes(mutated(originals[victim], rng))
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        began = time.perf_counter()
        ends[turn(folder, paths)] += 1
        longest = max(longest, time.perf_counter() - began)
        faulthandler.cancel_dump_traceback_later()
        victim.write_bytes(originals[victim])
    return ends, longest


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulthandler.enable()
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        ends, longest = fuzz(options.files, options.seed, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for reason, times in ends.most_common():
        print(f"{times:>7}  {reason}")
    seconds = time.perf_counter() - started
    print(
        f"{options.files:,} files in {seconds:.0f} s, the longest turn {longest:.2f} s; "
        f"memory {before >> 10} to {peak >> 10} MiB"
    )


if __name__ == "__main__":
    main()
