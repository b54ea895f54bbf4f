"""Pictures per second of whole folders of DICOM, against the plain loop that scripts have."""

from __future__ import annotations

from typing import Any

from plots import Figure
from setting import Setting, rounds
from tables import median, ratio, spread, table

KINDS = {
    "native": "CT, native",
    "jpegls": "CT, JPEG-LS",
    "j2k": "CT, JPEG 2000",
    "frames": "one file of 24 frames of 1536 x 1024, JPEG-LS",
}
FILES = {"native": 480, "jpegls": 480, "j2k": 160, "frames": 24}
PROGRAMS = {
    "loop fp32": "the loop, onnxruntime",
    "ours fp32": "ours, fp32",
    "ours half": "ours, half precision, checked",
    "limit fp32": "decoding and the network alone, fp32",
}


def measure(setting: Setting) -> dict[str, Any]:
    folder = setting.scratch.resolve() / "classify"
    for kind, files in FILES.items():
        if not (folder / kind / "files").is_dir():
            setting.ask(setting.ours, "contenders.classify", "make", kind, folder / kind / "files", files)

    def run(job: str) -> dict[str, Any]:
        kind, program, precision = job.split()
        return setting.ask(setting.ours, "contenders.classify", program, folder / kind / "files", precision)

    jobs = [f"{kind} {program}" for kind in KINDS for program in PROGRAMS]
    return {"rounds": rounds(setting, 3, jobs, run)}


def section(found: dict[str, Any]) -> list[str]:
    rows = found["rounds"]
    lines = []
    for kind, title in KINDS.items():
        for program, name in PROGRAMS.items():
            job = f"{kind} {program}"
            lines.append(
                (
                    title,
                    name,
                    spread(rows[job], "seconds", 2),
                    f"{rows[job][0]['images'] / median(rows[job], 'seconds'):.1f}",
                    f"{ratio(rows, f'{kind} loop fp32', job):.2f}",
                    f"{ratio(rows, f'{kind} loop fp32', job, 'cpu'):.2f}",
                    f"{median(rows[job], 'peak_mib'):,.0f}",
                )
            )
    return [
        "## Classification of folders",
        "",
        "Slices of 512 x 512 with 12 bits, a network of the shape of MobileNetV2 on 224 x 224, two cores. The "
        "loop is what scripts do: each frame is read from its file anew, decoded by pydicom, windowed, 8 bits, "
        "resized by LANCZOS, batches of 32 through onnxruntime, rows into SQLite. Start and loading of the model "
        "are part of it.",
        "",
        *table(("files", "program", "seconds", "pictures/s", "times the loop", "in CPU time", "peak MiB"), lines),
        "",
        "`make bench ONLY=classify`",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
