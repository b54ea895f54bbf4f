"""The program in a process that cannot import torch and what comes with it, as an environment without them."""

from __future__ import annotations

import subprocess
import sys

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
