"""A folder of images segmented by whole commands, from start to end."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from process_tree import Ended
from setting import Setting

NAMES = {
    "nnunet": "nnU-Net",
    "monai": "MONAI",
    "ours": "ours, fp32",
    "ours-fp16": "ours, `--fp16`",
}
CASE = "case_0000.nii.gz"


def command(setting: Setting, name: str, work: Path, out: Path) -> list[object]:
    """The words of a contender's command."""
    images = work / "images"
    if name == "nnunet":
        script = Path(setting.peers).with_name("nnUNetv2_predict_from_modelfolder")
        start = [
            setting.peers,
            script,
            "-i",
            images,
            "-o",
            out,
            "-m",
            work / "nnunet",
            "-f",
            "0",
            "-device",
            "cpu",
        ]
        return [*start, "-step_size", "0.5", "--disable_tta", "-npp", "1", "-nps", "1"]
    if name == "monai":
        return [setting.peers, "-m", "contenders.folder_monai", work, images, out, setting.threads]
    start = [setting.ours, "-m", "itk_infer", "-i", images, "-o", out, "--onnx", work / "network.onnx"]
    more = ["--provider", "auto", "--device", "cpu", "--orientation", "input", "--progress", "json"]
    return [*start, *more, *(["--fp16"] if name == "ours-fp16" else [])]


def printable(setting: Setting, name: str, work: Path) -> str:
    """The command as a person would type it."""
    words = [str(word) for word in command(setting, name, work, Path("OUT"))]
    text = " ".join(words).replace(f"{work}/images", "IN").replace(str(work), "WORK")
    text = text.replace(f"{setting.ours} -m itk_infer", "itk_infer")
    text = text.replace(f"{setting.peers} -m", "python -m")
    script = Path(setting.peers).with_name("nnUNetv2_predict_from_modelfolder")
    return text.replace(f"{setting.peers} {script}", script.name)


def segment(setting: Setting, name: str, work: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Run one contender; what was measured, and its labels (Z, Y, X)."""
    import SimpleITK as sitk

    out = setting.scratch / "out" / work.name / name
    shutil.rmtree(out, ignore_errors=True)
    ended = setting.watch(*command(setting, name, work, out))
    written = out / (CASE.replace("_0000", "") if name == "nnunet" else CASE)
    if ended.code or not written.exists():
        raise SystemExit(f"{printable(setting, name, work)} ended with {ended.code}:\n{ended.text[-3000:]}")
    given, labels = sitk.ReadImage(str(work / "images" / CASE)), sitk.ReadImage(str(written))
    found = {
        "seconds": ended.seconds,
        "peak_mib": ended.peak_mib,
        "first_window": ended.first(first_window),
        "geometry": _same_grid(given, labels),
        **told(ended),
    }
    return found, sitk.GetArrayFromImage(labels)


def first_window(line: str) -> bool:
    """A contender says that a window is done: our events, MONAI's script, nnU-Net's progress bar."""
    if line.startswith("{"):
        event = json.loads(line)
        return event.get("event") == "progress" and event["done"] >= 1
    if line == "first window":
        return True
    bar = re.search(r"%\|.*\| *(\d+)/\d+ ", line)
    return bar is not None and int(bar[1]) >= 1


def told(ended: Ended) -> dict[str, Any]:
    """Stages and warnings of our own events."""
    events = [json.loads(line) for _, line in ended.lines if line.startswith('{"event"')]
    found: dict[str, Any] = {}
    for event in events:
        if event["event"] == "case_done":
            found["stages"] = event["stages"]
        elif event["event"] == "warning":
            found.setdefault("warnings", []).append(event["message"])
    return found


def _same_grid(one: Any, other: Any) -> bool:
    pairs = ((one.GetSpacing(), other.GetSpacing()), (one.GetOrigin(), other.GetOrigin()))
    pairs = (*pairs, (one.GetDirection(), other.GetDirection()))
    return one.GetSize() == other.GetSize() and all(np.allclose(a, b, atol=1e-4) for a, b in pairs)
