"""The facts and findings as text for the user."""

from __future__ import annotations

from collections.abc import Sequence

from itk_infer.doctor.extras import EXTRAS
from itk_infer.doctor.facts import Facts
from itk_infer.doctor.known import Finding

GIB = 2**30
MAIN = ("itk_infer", "numpy", "SimpleITK", "zarr")


def page(facts: Facts, findings: Sequence[Finding]) -> str:
    """The whole text: machine, devices, packages, extras, folders, findings."""
    sections = {
        "machine": _machine(facts),
        "what runs networks": devices(facts),
        "packages": _packages(facts),
        "extras": _extras(facts),
        "disk and caches": _folders(facts),
        "environment": _environment(facts),
        "findings": [str(finding) for finding in findings] or ["no problem is known of this environment"],
    }
    return "\n".join(under(title, lines) for title, lines in sections.items())


def under(title: str, lines: Sequence[str]) -> str:
    """Lines of a section, under its title."""
    return "\n".join([title, *(f"  {line}" for line in lines)])


def devices(facts: Facts) -> list[str]:
    """A line per device, with the runtimes and precisions that it supports, by kind of model."""
    lines = []
    for number, (name, memory) in enumerate(facts.torch.devices if facts.torch else ()):
        onnx = "onnxruntime" if facts.onnxruntime and "CUDAExecutionProvider" in facts.onnxruntime else None
        what = f"torch{f', {onnx}' if onnx else ''}: fp32; `precision=half`: fp16"
        lines.append(f"cuda:{number}  {name}, {memory / GIB:.1f} GiB; {what}")
    runs = []
    if facts.cpu.precisions is not None:
        half = "; `precision=half`: bf16" if any(name.lower() == "bf16" for name in facts.cpu.precisions) else ""
        runs.append(f"OpenVINO for every kind of model: fp32{half}")
    if facts.onnxruntime is not None:
        runs.append("onnxruntime for ONNX models: fp32")
    if facts.torch is not None:
        runs.append("torch for the other kinds: fp32")
    lines.append(f"cpu     {'; '.join(runs) or 'nothing is installed that runs networks'}")
    if facts.torch is not None and not facts.torch.devices:
        lines.append(f"no GPU  torch {facts.packages.get('torch', '')} finds none{_driver(facts)}")
    return lines


def _driver(facts: Facts) -> str:
    return "" if facts.driver is None else f"; the NVIDIA driver is {facts.driver}"


def _machine(facts: Facts) -> list[str]:
    cpu = facts.cpu
    lines = [
        f"{facts.system}, Python {facts.python}",
        f"{cpu.name or 'unknown processor'}; {cpu.cores} cores may be used",
        f"instructions: {', '.join(cpu.instructions) or 'not known on this system'}",
    ]
    if facts.memory is not None:
        lines.append(f"memory: {facts.memory[0] / GIB:,.1f} GiB {facts.memory[1]}")
    if facts.machine_memory is not None:
        lines.append(f"free of it now: {facts.machine_memory / GIB:,.1f} GiB")
    return lines


def _packages(facts: Facts) -> list[str]:
    optional = {name: version for name, version in facts.packages.items() if name not in MAIN}
    return [
        ", ".join(f"{name} {facts.packages[name]}" for name in MAIN if name in facts.packages),
        ", ".join(f"{name} {version}" for name, version in optional.items()),
    ]


def _extras(facts: Facts) -> list[str]:
    lines = []
    for extra in EXTRAS:
        missing = extra.missing(facts.packages)
        names = ", ".join(names.partition("|")[0] for names in missing)
        lines.append(
            f"{extra.name:<11} {'there  ' if not missing else 'missing'} {extra.purpose}"
            + (f" (no {names}): {extra.command}" if missing else "")
        )
    return lines


def _folders(facts: Facts) -> list[str]:
    lines = []
    for folder in facts.folders:
        used = f", {folder.used / 2**20:,.1f} MiB used" if folder.used else ""
        state = f"{folder.free / GIB:,.1f} GiB free{used}" if folder.writable else "cannot be written"
        lines.append(f"{folder.purpose}: {folder.path or 'none'}, {state}")
    return lines


def _environment(facts: Facts) -> list[str]:
    lines = [f"{name}={value}" for name, value in facts.environment.items()]
    quiet = [name for name in ("onnxruntime", "OpenVINO") if _installed(facts, name)]
    if quiet:
        lines.append(f"reports of {' and '.join(quiet)} to their makers: switched off by itk_infer")
    return lines or ["no variable is set that changes what libraries do"]


def _installed(facts: Facts, name: str) -> bool:
    return any(package.startswith(name.lower()) for package in facts.packages)
