"""Collects the facts of this machine and environment, without changing anything."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from itk_infer.doctor.facts import Cpu, Facts, Folder, Torch
from itk_infer.errors import ItkInferError
from itk_infer.files.user_cache import user_cache
from itk_infer.machine import ROOT, host_memory, memory_bound, usable_cores
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.onnxruntime import import_runtime

PACKAGES = (
    *("itk_infer", "numpy", "SimpleITK", "zarr", "numcodecs", "isal", "click", "openpyxl", "pillow"),
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm"),
    *("openvino", "torch", "onnx", "onnxscript", "monai", "einops", "pyyaml", "safetensors"),
    *("mmengine", "mmengine-lite", "mmsegmentation", "mmcv", "mmcv-lite", "setuptools"),
    *("onedl-mmengine", "onedl-mmsegmentation", "onedl-mmcv"),
    *("distributed", "dask-jobqueue", "cryptography", "imagecodecs", "pydicom", "highdicom", "pynetdicom"),
)
IMPORTED = {"SimpleITK": "SimpleITK", "zarr": "zarr", "onnx": "onnx", "mmengine": "mmengine", "torch": "torch"}
# Instruction sets that determine the speed of convolutions, fastest last.
INSTRUCTIONS = ("sse4_2", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile")
ARM_INSTRUCTIONS = ("asimd", "sve", "bf16", "i8mm", "sme")
VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"),
    *("CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TMPDIR"),
    *("ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK", "ITK_NIFTI_SFORM_PERMISSIVE"),
)


def gather(root: Path = ROOT) -> Facts:
    """Collect all facts. Imports the installed packages, which takes a second or two.

    Args:
        root: Root of the file system, for tests.
    """
    # Before the imports below, because some of them set variables.
    environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    packages = {name: version for name in PACKAGES if (version := _version(name)) is not None}
    broken = {
        name: reason
        for name, module in IMPORTED.items()
        if name in packages and (reason := _import_error(module)) is not None
    }
    runtime = any(name.startswith("onnxruntime") for name in packages)
    providers = None
    if runtime:
        try:
            providers = tuple(import_runtime().get_available_providers())
        except (ItkInferError, AttributeError, OSError) as error:
            if sum(name.startswith("onnxruntime") for name in packages) == 1:
                broken[next(name for name in packages if name.startswith("onnxruntime"))] = str(error)
    precisions = None
    if "openvino" in packages:
        reason = openvino.why_not()
        if reason is None:
            precisions = ("fp32", *openvino.reduced_precisions())
        else:
            broken["openvino"] = reason
    bound, memory = memory_bound(root), host_memory(root)
    return Facts(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        packages=packages,
        broken=broken,
        cpu=Cpu(*_processor(root), precisions),
        torch=_torch() if "torch" in packages and "torch" not in broken else None,
        onnxruntime=providers,
        driver=_driver(root),
        memory=None if bound is None else (bound.bytes, bound.source),
        machine_memory=None if memory is None else memory.spare,
        folders=_folders(),
        environment=environment,
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _import_error(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken installation may raise any error
        lines = str(error).splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else ''}"
    return None


def _processor(root: Path) -> tuple[str, int, tuple[str, ...]]:
    """Name, number of usable cores, and instruction sets of the CPU."""
    try:
        text = (root / "proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        text = ""
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
    there = set(flags[1].split()) if flags else set()
    known = (*INSTRUCTIONS, *ARM_INSTRUCTIONS)
    return (
        name[1].strip() if name else platform.processor(),
        usable_cores(root),
        tuple(word for word in known if word in there),
    )


def _torch() -> Torch:
    import torch

    devices = []
    if torch.cuda.is_available():  # pragma: no cover
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            devices.append((about.name, int(about.total_memory)))
    backend: Any = torch.backends.cudnn
    cudnn = backend.version() if backend.is_available() else None
    return Torch(torch.version.cuda, cudnn, tuple(devices))


def _driver(root: Path) -> str | None:
    """Version of the NVIDIA kernel driver; available as a file on Linux only."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text("utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+[\d.]*)", text)
    return found[1] if found else "of an unknown version"


def _folders() -> tuple[Folder, ...]:
    try:
        temporary: Path | None = Path(tempfile.gettempdir())
    except OSError:
        temporary = None
    return (
        _folder("outputs here", Path.cwd()),
        _folder("temporary files", temporary),
        _folder("the cache of `batch=auto` and TensorRT", user_cache(), count=True),
    )


def _folder(purpose: str, path: Path | None, *, count: bool = False) -> Folder:
    if path is None:
        return Folder(purpose, None, writable=False)
    existing = next((parent for parent in (path, *path.parents) if parent.is_dir()), None)
    if existing is None:
        return Folder(purpose, str(path), writable=False)
    used = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if count else 0
    return Folder(purpose, str(path), shutil.disk_usage(existing).free, used, os.access(existing, os.W_OK))
