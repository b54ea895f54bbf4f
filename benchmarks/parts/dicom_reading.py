"""Reading DICOM series, in every transfer syntax, beside the programs that people use for it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from plots import Figure
from setting import Setting, rounds
from tables import median, table

SLICES = {"raw": 300, "JPEG-LS": 60, "JPEG lossless": 60, "RLE": 60, "JPEG 2000": 60}
READERS = ("itk_infer", "SimpleITK", "highdicom", "dcm2niix")
UNREAD = {("JPEG lossless", "highdicom"), ("JPEG-LS", "dcm2niix")}  # they say so, and end with an error


def measure(setting: Setting) -> dict[str, Any]:
    module = "contenders.dicom_reading"
    readers = READERS if shutil.which("dcm2niix") else READERS[:-1]
    found: dict[str, Any] = {}
    for syntax, slices in SLICES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "series")
            written = setting.ask(setting.ours, module, "write", syntax, slices, folder)
            able = [reader for reader in readers if (syntax, reader) not in UNREAD]
            read = rounds(
                setting, 5, able, lambda name, folder=folder: setting.ask(setting.ours, module, name, folder)
            )
        found[syntax] = {"written": written["values"], "rounds": read}
    return found


def section(found: dict[str, Any]) -> list[str]:
    raw = found["raw"]["rounds"]
    cells = [
        (f"{syntax}, {SLICES[syntax]} slices", *(cell(work, reader) for reader in READERS))
        for syntax, work in found.items()
    ]
    memory = [f"{median(raw[reader], 'mib'):,.0f} MiB" if reader in raw else "" for reader in READERS]
    return [
        "## Reading DICOM series",
        "",
        "Slices of 512 x 512 with 12 bits, from files to values; seconds of the clock and, in brackets, of "
        "the CPU. All values are those that were written, unless said otherwise. The time of itk_infer includes "
        "a SHA-256 of all bytes; that of dcm2niix its start, and a file that it writes. Memory is the largest "
        "beside the libraries, with the volume itself (150 MiB). JPEG 2000 costs each about the same time of the "
        "CPU, as the same library (OpenJPEG) decodes it; itk_infer decodes several slices at once.",
        "",
        *table(("", *READERS), [*cells, ("memory, raw", *memory)]),
        "",
        "`make bench ONLY=dicom_reading`",
    ]


def cell(work: dict[str, Any], reader: str) -> str:
    """Seconds, and whether the values were right."""
    rows = work["rounds"].get(reader)
    if rows is None:
        return "not read"
    differs = "" if {row["values"] for row in rows} == {work["written"]} else ", other values"
    return f"{median(rows, 'seconds'):.2f} ({median(rows, 'cpu'):.2f}){differs}"


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
