"""The extras of the package, with their purposes and requirements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extra:
    """One extra.

    Attributes:
        name: Name for pip, in brackets after the package's.
        purpose: Its purpose.
        packages: Distributions that it needs; alternatives are separated by a bar.
    """

    name: str
    purpose: str
    packages: tuple[str, ...]

    def missing(self, installed: Mapping[str, str]) -> tuple[str, ...]:
        """Packages that are not installed."""
        return tuple(names for names in self.packages if not any(name in installed for name in names.split("|")))

    @property
    def command(self) -> str:
        """The command that installs it."""
        return f"pip install 'itk_infer[{self.name}]'"


RUNTIME = "onnxruntime|onnxruntime-gpu|onnxruntime-openvino|onnxruntime-directml|onnxruntime-rocm"
EXTRAS = (
    Extra("onnx", "ONNX models on a CPU", (RUNTIME,)),
    Extra("onnx-gpu", "ONNX models on an NVIDIA GPU", ("onnxruntime-gpu",)),
    Extra("openvino", "the fastest way on a CPU, for every kind of model", (RUNTIME, "openvino")),
    Extra("nnunet", "model folders of nnU-Net on a CPU; with torch, on a GPU", ("openvino",)),
    Extra(
        "mmengine",
        "MMEngine configs with checkpoints",
        ("mmengine|onedl-mmengine", "mmsegmentation|onedl-mmsegmentation", "mmcv-lite|mmcv|onedl-mmcv", "torch"),
    ),
    Extra("monai", "bundles of MONAI on a CPU", ("openvino", "pyyaml")),
    Extra("monai-torch", "all bundles and networks of MONAI, also on a GPU", ("monai", "einops", "torch")),
    Extra("export", "models to ONNX files", (RUNTIME, "onnx", "onnxscript", "torch")),
    Extra("saliency", "gradients of ONNX models that classify", ("onnx", "onnx2torch", "torch")),
    Extra("dicom", "compressed slices of DICOM, DICOM objects", ("imagecodecs", "highdicom")),
    Extra("pacs", "DICOM connections to archives", ("imagecodecs", "highdicom", "pynetdicom")),
    Extra("server", "a server for programs, browsers and 3D Slicer", ("fastapi", "python-multipart", "uvicorn")),
    Extra("client", "sending images to such a server", ("httpx",)),
    Extra(
        "images",
        "TIFF files, PNG files of 16-bit colours, COCO tables",
        ("tifffile", "imagecodecs", "pycocotools"),
    ),
    Extra("cluster", "Dask clusters and SLURM", ("cryptography", "dask-jobqueue", "distributed")),
)
