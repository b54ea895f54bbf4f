"""The machine and the versions that figures belong to."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

from setting import Setting

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8")
PACKAGES = [
    "itk_infer",
    "openvino",
    "onnxruntime",
    "numpy",
    "SimpleITK",
    "nnunetv2",
    "dynamic_network_architectures",
    "monai",
    "itkit",
    "torch",
]
ASK = """
import importlib.metadata, json, sys
found = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def describe(setting: Setting) -> dict[str, object]:
    """Processor, memory, system, versions of every environment, the date."""
    info = _facts("/proc/cpuinfo")
    memory = int(_facts("/proc/meminfo").get("MemTotal", "0").split()[0]) / 2**20
    flags = info.get("flags", "").split()
    pythons = {"itk_infer": setting.ours, "peers": setting.peers, "itkit": setting.itkit}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": info.get("model name") or platform.processor(),
        "family": f"family {info.get('cpu family', '?')}, model {info.get('model', '?')}",
        "cores": os.cpu_count(),
        "threads": setting.threads,
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
        "versions": {name: versions(python) for name, python in pythons.items() if python},
    }


def versions(python: str) -> dict[str, str]:
    done = subprocess.run([python, "-c", ASK, *PACKAGES], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _facts(path: str) -> dict[str, str]:
    """``name: value`` lines, the first of each name."""
    file = Path(path)
    found: dict[str, str] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found
