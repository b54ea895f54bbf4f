"""How long it takes until something happens."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from plots import Figure
from setting import HERE, Setting, rounds
from tables import spread, table

DEMO = HERE.parent / "itk_infer" / "demo"
HELP = {
    "pass": "Python that does nothing, `python -c pass`",
    "ours": "`itk_infer --help`",
    "nnunet": "`nnUNetv2_predict_from_modelfolder -h`",
    "itkit": "`itk_infer --help` of itkit",
}
FIRST = {"cpu": "`itk_infer`, first window of the demo, onnxruntime", "openvino": "the same, OpenVINO"}


def measure(setting: Setting) -> dict[str, Any]:
    commands: dict[str, list[object]] = {
        "pass": [setting.ours, "-c", "pass"],
        "ours": [setting.ours, "-m", "itk_infer", "--help"],
        "nnunet": [setting.peers, Path(setting.peers).with_name("nnUNetv2_predict_from_modelfolder"), "-h"],
    }
    if setting.itkit:
        commands["itkit"] = [setting.itkit, Path(setting.itkit).with_name("itk_infer"), "--help"]

    def helped(name: str) -> dict[str, Any]:
        words = [str(word) for word in commands[name]]
        start = time.perf_counter()
        subprocess.run(words, env=setting.environment, cwd=HERE, check=True, capture_output=True)
        return {"seconds": time.perf_counter() - start}

    def first(name: str) -> dict[str, Any]:
        out = setting.scratch / "out" / "start"
        shutil.rmtree(out, ignore_errors=True)
        words = ["-i", DEMO, "-o", out, "--onnx", DEMO / "hippocampus_unet.onnx", "--provider", name]
        ended = setting.watch(setting.ours, "-m", "itk_infer", *words, "--device", "cpu", "--progress", "json")
        seconds = ended.first(_window_done)
        if ended.code or seconds is None:
            raise SystemExit(f"the demo ended with {ended.code}: {ended.text[-500:]}")
        return {"seconds": seconds, "whole": ended.seconds}

    return {"help": rounds(setting, 12, list(commands), helped), "first": rounds(setting, 5, list(FIRST), first)}


def _window_done(line: str) -> bool:
    event = json.loads(line) if line.startswith("{") else {}
    return event.get("event") == "progress" and event["done"] >= 1


def section(found: dict[str, Any]) -> list[str]:
    rows = [(HELP[name], spread(seen, "seconds", 2)) for name, seen in found["help"].items()]
    rows += [(FIRST[name], spread(seen, "seconds", 2)) for name, seen in found["first"].items()]
    return [
        "## Starting",
        "",
        "Seconds from the start of the process, to its end or to the first window that is done. The first window "
        "of a large case is in the table of whole folders.",
        "",
        *table(("what", "seconds"), rows),
        "",
        "`make bench ONLY=start`",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
