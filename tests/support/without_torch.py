"""The program in a process that cannot import torch and what comes with it, as an environment without them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "onnxscript", "mmengine", "monai"):
    sys.modules[name] = None
from itk_infer.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run_without_torch(*words: object) -> None:
    """Run the program with these words; it must succeed."""
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


def blocking(folder: Path, *names: str) -> list[str]:
    """Write modules whose import fails to a folder; returns a search path that begins with it, for workers, too."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('{name} was imported')", "utf-8")
    return [str(folder), *filter(None, sys.path)]


def run_blocked(paths: list[str], *words: object) -> tuple[int, str]:
    """Run the command with this search path; returns its exit code, and what it wrote, in one line."""
    ended = subprocess.run(
        [sys.executable, "-m", "itk_infer", *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return ended.returncode, " ".join((ended.stdout + ended.stderr).split())
