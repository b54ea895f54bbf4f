"""Prints the packages and devices of an environment as one line of JSON. Run by its Python, never by Slicer's."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from importlib import metadata

PACKAGES = ("itk_infer", "onnxruntime", "onnxruntime-gpu", "torch", "mmengine")


def main() -> None:
    """Print the line."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    problems = []
    if sys.version_info < (3, 11):
        problems.append("Python %d.%d is too old: itk_infer needs 3.11 or newer." % sys.version_info[:2])
    if importlib.util.find_spec("itk_infer") is None:
        problems.append("itk_infer is not installed here.")
    else:
        from itk_infer import __version__

        versions["itk_infer"] = __version__
    devices = sorted(_devices(problems), key=lambda name: name != "cpu")
    if "onnxruntime" in versions and "onnxruntime-gpu" in versions:
        problems.append("onnxruntime and onnxruntime-gpu are both installed and overwrite each other: remove one.")
    python = "%d.%d.%d" % sys.version_info[:3]
    print(json.dumps({"python": python, "versions": versions, "devices": devices, "problems": problems}))


def _devices(problems: list[str]) -> set[str]:
    devices = {"cpu"}
    runtimes = 0
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # otherwise onnxruntime would send usage data
    try:
        import onnxruntime

        runtimes += 1
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers() and shutil.which("nvidia-smi"):
            devices.add("cuda (ONNX)")
    except Exception as error:
        if importlib.util.find_spec("onnxruntime") is not None:
            problems.append("onnxruntime cannot be loaded: %s" % error)
    if importlib.util.find_spec("mmengine") is not None:
        runtimes += 1
        try:
            import torch

            devices.update(
                "cuda:%d %s" % (index, torch.cuda.get_device_name(index))
                for index in range(torch.cuda.device_count())
            )
        except Exception as error:
            problems.append("torch cannot be loaded: %s" % error)
    if not runtimes:
        problems.append("Neither onnxruntime nor mmengine is installed: no model can run here.")
    return devices


if __name__ == "__main__":
    main()
