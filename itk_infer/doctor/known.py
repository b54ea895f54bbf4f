"""Combinations of versions that are known to fail or to be slow; each rule is a function of the facts.

Numbers with # are issues and pull requests of the projects named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from itk_infer.doctor.facts import Facts

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm")
Level = Literal["problem", "advice"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One known problem or possible improvement.

    Attributes:
        level: ``problem``: something fails or is wrong; ``advice``: something could be improved.
        text: Description.
        remedy: Advice to the user.
    """

    level: Level
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.level}: {self.text}; {self.remedy}"


Rule = Callable[[Facts], Iterator[Finding]]


def findings(facts: Facts) -> list[Finding]:
    """All findings, problems first."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda finding: finding.level != "problem")


def broken_packages(facts: Facts) -> Iterator[Finding]:
    """Packages that are installed and cannot be imported."""
    for name, reason in facts.broken.items():
        yield Finding(
            "problem",
            f"{name} {facts.packages.get(name, '')} is installed and cannot be imported ({reason})",
            f"run: pip install --force-reinstall --no-deps {name}",
        )


def several_runtimes(facts: Facts) -> Iterator[Finding]:
    """Distributions of onnxruntime contain the same files; those of the last installed one remain."""
    there = [name for name in RUNTIMES if name in facts.packages]
    if len(there) > 1:
        keep = "onnxruntime-gpu" if "onnxruntime-gpu" in there else "onnxruntime"
        yield Finding(
            "problem",
            f"{' and '.join(there)} are installed together and overwrite each other's files",
            f"run: pip uninstall -y {' '.join(there)} && pip install {keep}",
        )


def no_runtime(facts: Facts) -> Iterator[Finding]:
    """Without onnxruntime and torch, no model can run but folders of nnU-Net by OpenVINO."""
    if not any(name in facts.packages for name in ("torch", "openvino", *RUNTIMES)):
        yield Finding("problem", "nothing is installed that runs networks", "run: pip install 'itk_infer[onnx]'")


def old_torch(facts: Facts) -> Iterator[Finding]:
    """Before torch 2.10, a crafted checkpoint can corrupt memory (CVE-2026-24747); none is loaded with it."""
    version = facts.version("torch")
    if version is not None and version < (2, 10):
        yield Finding(
            "problem",
            f"torch {facts.packages['torch']} cannot read checkpoints safely, so .pth and .pt files are refused",
            "run: pip install --upgrade torch",
        )


def half_convolutions(facts: Facts) -> Iterator[Finding]:
    """Torch 2.9 runs half-precision Conv3d outside cuDNN before 9.15: 17 times the memory (pytorch #166643)."""
    version, torch = facts.version("torch"), facts.torch
    if version is None or torch is None or not torch.devices or torch.cudnn is None:
        return
    if version[:2] == (2, 9) and torch.cudnn < 91500:
        yield Finding(
            "problem",
            f"torch {facts.packages['torch']} runs 3D convolutions in half precision 10 to 20 times slower, with "
            "many times the memory",
            "use torch 2.10 or newer, or leave `precision=half` out",
        )


def wrong_cudnn(facts: Facts) -> Iterator[Finding]:
    """CuDNN 9.10 gives wrong bf16 Conv3d (pytorch #163539), 9.10 to 9.15 broken TF32 3D kernels (#167024)."""
    torch = facts.torch
    if torch is None or not torch.devices or torch.cudnn is None:
        return
    if 91000 <= torch.cudnn < 91100:
        yield Finding(
            "problem",
            f"cuDNN {_cudnn(torch.cudnn)} computes some 3D convolutions in bf16 wrongly",
            "use `precision=fp32` or fp16, or a torch with cuDNN 9.16 or newer",
        )
    elif 91100 <= torch.cudnn < 91600:
        yield Finding(
            "advice",
            f"TF32 kernels for 3D convolutions are broken in cuDNN {_cudnn(torch.cudnn)}; itk_infer switches TF32 "
            "off, other programs may not",
            "a torch with cuDNN 9.16 or newer has them repaired",
        )


def greedy_convolutions(facts: Facts) -> Iterator[Finding]:
    """Onnxruntime 1.23.2 to 1.25 allocates scratch memory for batched Conv3d, 71 GB instead of 8 (#28466)."""
    version = facts.version("onnxruntime") or facts.version("onnxruntime-gpu")
    if version is not None and (1, 23, 2) <= version < (1, 26):
        yield Finding(
            "problem",
            f"onnxruntime {'.'.join(map(str, version))} takes many times the memory for several windows per "
            "call on a CPU",
            "use onnxruntime 1.26 or newer, or `batch=1`",
        )


def unused_gpu(facts: Facts) -> Iterator[Finding]:
    """A driver is installed, and the installed packages cannot use it."""
    if facts.driver is None:
        return
    if facts.torch is not None and facts.torch.cuda is None:
        yield Finding(
            "advice",
            f"there is an NVIDIA driver ({facts.driver}), and the installed torch is a CPU build",
            "install a torch build for CUDA, see pytorch.org",
        )
    elif facts.torch is not None and not facts.torch.devices:
        yield Finding(
            "problem",
            f"torch is built for CUDA {facts.torch.cuda} and finds no device with the driver {facts.driver}",
            "update the driver, or check that the device is visible (nvidia-smi, CUDA_VISIBLE_DEVICES)",
        )
    if facts.onnxruntime is not None and "CUDAExecutionProvider" not in facts.onnxruntime:
        yield Finding(
            "advice",
            f"there is an NVIDIA driver ({facts.driver}), and onnxruntime is a CPU build",
            "run: pip uninstall -y onnxruntime && pip install 'itk_infer[onnx-gpu]'",
        )


def two_cudas(facts: Facts) -> Iterator[Finding]:
    """onnxruntime-gpu is built for CUDA 12 up to 1.26 and for CUDA 13 since; torch brings its own libraries."""
    version, torch = facts.version("onnxruntime-gpu"), facts.torch
    if version is None or torch is None or torch.cuda is None:
        return
    ours, theirs = (13 if version >= (1, 27) else 12), int(torch.cuda.partition(".")[0])
    if ours != theirs:
        yield Finding(
            "advice",
            f"the installed onnxruntime-gpu is built for CUDA {ours}, and torch for CUDA {theirs}",
            "if an ONNX model does not find its GPU, install both for the same CUDA version",
        )


def mmengine_packages(facts: Facts) -> Iterator[Finding]:
    """Versions of OpenMMLab's packages that do not work together."""
    if "mmengine" in facts.packages:
        setuptools = facts.version("setuptools")
        if setuptools is not None and setuptools >= (81,):
            yield Finding(
                "problem",
                f"mmengine needs pkg_resources, which setuptools {facts.packages['setuptools']} no longer has; "
                "configs with a _base_ of another package fail",
                "run: pip install 'setuptools<81'",
            )
    mmcv = next((name for name in ("mmcv", "mmcv-lite") if name in facts.packages), None)
    if "mmsegmentation" in facts.packages and mmcv is not None:
        version = facts.version(mmcv) or ()
        if not (2, 0) <= version < (2, 2):
            yield Finding(
                "problem",
                f"mmsegmentation {facts.packages['mmsegmentation']} refuses {mmcv} {facts.packages[mmcv]}",
                "run: pip install 'itk_infer[mmengine]'",
            )
    for name in ("mmengine", "mmcv", "mmsegmentation"):
        twins = [twin for twin in (name, f"{name}-lite", f"onedl-{name}") if twin in facts.packages]
        if len(twins) > 1:
            yield Finding(
                "problem",
                f"{' and '.join(twins)} are installed together and overwrite each other's files",
                f"run: pip uninstall -y {' '.join(twins)} && pip install 'itk_infer[mmengine]'",
            )


def faster_cpu(facts: Facts) -> Iterator[Finding]:
    """OpenVINO is the fastest runtime for networks on a CPU."""
    gpu = facts.torch is not None and facts.torch.devices
    if not gpu and "openvino" not in facts.packages and facts.driver is None:
        yield Finding(
            "advice",
            "OpenVINO runs most networks faster on a CPU",
            "run: pip install 'itk_infer[openvino]'",
        )


def tight_folders(facts: Facts) -> Iterator[Finding]:
    """Disks that are nearly full, and folders that cannot be written."""
    for folder in facts.folders:
        if folder.path is None or not folder.writable:
            yield Finding(
                "advice",
                f"the folder for {folder.purpose} ({folder.path or 'there is none'}) cannot be written",
                "the program does without it, and says what is slower",
            )
        elif folder.free < 2**30:
            yield Finding(
                "advice",
                f"{folder.path} ({folder.purpose}) has {folder.free / 2**20:,.0f} MiB left",
                "free some space before a long run",
            )


RULES: tuple[Rule, ...] = (
    broken_packages,
    several_runtimes,
    no_runtime,
    old_torch,
    half_convolutions,
    wrong_cudnn,
    greedy_convolutions,
    unused_gpu,
    two_cudas,
    mmengine_packages,
    faster_cpu,
    tight_folders,
)


def _cudnn(version: int) -> str:
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"
