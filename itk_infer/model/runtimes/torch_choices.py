"""Choose device, provider and precision of a torch network, or explain why a choice is not available."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import sys
from pathlib import Path

from itk_infer.errors import ModelError
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.precision import Precision, choose_precision
from itk_infer.options_of_models import PrecisionChoice, Provider


def choose_device(wanted: str) -> tuple[str, list[str]]:
    """Choose the device; returns it, and a note for the user if it was not given.

    Raises:
        ImportError: torch is not installed.
        ModelError: the device does not exist.
    """
    import torch

    if wanted == "cpu":
        return "cpu", []
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        if count:
            return "cuda:0", [f"device: cuda:0 ({torch.cuda.get_device_name(0)})"]
        return "cpu", ["device: cpu (torch found no usable CUDA device)"]
    kind, _, number = wanted.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise ModelError(f"`device={wanted}`: no such device; there are auto, cpu, cuda and cuda:N")
    if int(number or 0) >= count:
        raise ModelError(
            f"`device={wanted}`: torch finds {count} CUDA devices; install a torch build for CUDA with a "
            "matching driver, or choose `device=cpu`"
        )
    return f"cuda:{int(number or 0)}", []


def without_torch(wanted: str, provider: Provider) -> tuple[bool, list[str]]:
    """Whether OpenVINO is to run a network that needs no torch, and a note for the user about the device.

    So it is on a CPU, where OpenVINO can be used and no other provider was asked for. Torch is not imported.
    """
    if provider not in ("auto", "openvino") or not openvino.openvino_installed():
        return False, []
    notes = []
    if wanted == "auto":
        if not has_gpu_driver():
            notes = ["device: cpu (no driver of a GPU was found)"]
        elif not torch_installed():
            notes = ["device: cpu (torch, which runs this model on a GPU, is not installed)"]
        elif torch_version().endswith("+cpu"):
            notes = ["device: cpu (this torch is a CPU build)"]
    suits = wanted == "cpu" or bool(notes)
    return suits and openvino.why_not() is None, notes


def torch_installed() -> bool:
    """Whether the package is installed; it is not imported."""
    return importlib.util.find_spec("torch") is not None


def torch_version() -> str:
    """The version of the installed package; it is not imported."""
    from importlib.metadata import version  # takes 7 ms, and few runs need it

    return version("torch")


def has_gpu_driver() -> bool:
    """Whether there is a driver of a GPU that torch could use; it may still find none."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        return True
    return Path("/dev/kfd").exists()  # AMD


def choose_provider(wanted: Provider, device: str) -> tuple[str, list[str]]:
    """Choose what runs the network; returns it, and a note for the user if it is not the default.

    Raises:
        ModelError: the provider does not run torch networks, is not installed, or does not run on this device.
    """
    if wanted == "tensorrt":
        raise ModelError("`provider=tensorrt` runs ONNX models; export this one to ONNX, or leave it out")
    if wanted == "cuda" and device == "cpu":
        raise ModelError("`provider=cuda`: torch found no usable CUDA device, or `device=cpu` was given")
    if wanted in ("cpu", "openvino") and device != "cpu":
        raise ModelError(f"`provider={wanted}` runs on the CPU: give `device=cpu` as well")
    if wanted == "openvino" and not openvino.openvino_installed():
        raise ModelError("`provider=openvino`: OpenVINO is not installed: pip install 'itk_infer[openvino]'")
    fast = device == "cpu" and wanted in ("auto", "openvino") and openvino.openvino_installed()
    unusable = openvino.why_not() if fast else None
    if unusable is None:
        return "openvino" if fast else "torch", []
    if wanted == "openvino":
        raise ModelError(f"`provider=openvino`: OpenVINO cannot be used ({unusable}); install it again")
    return "torch", [f"OpenVINO cannot be used ({unusable}); torch runs the network instead"]


def choose_torch_precision(wanted: PrecisionChoice, device: str, provider: str) -> tuple[Precision, list[str]]:
    """Choose the precision; returns it, and notes for the user, see `choose_precision`."""
    offered: tuple[Precision, ...] = ()
    if provider == "openvino":
        offered = openvino.reduced_precisions()
    elif device != "cpu":
        offered = ("fp16", "bf16")
    return choose_precision(wanted, offered, f"{device} with {provider}")
