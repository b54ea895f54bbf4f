"""Runs in a process of their own: the command line, and a program that runs `FaultyModel` in workers."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

from itk_infer.executors.workers import STOP_GRACE_S
from support import child_environment
from support.prepared import prepared

DEMO = Path(str(resources.files("itk_infer") / "demo"))


def program(batch, *words, first="", **options):
    """The command line over the demo's model and a batch, in a process of its own.

    Args:
        batch: The batch.
        words: More of the command line.
        first: Python that its process runs before, see `prepared`.
        options: Of `subprocess.run`.
    """
    main = ("-i", "in", "-o", "out", "--onnx", DEMO / "hippocampus_unet.onnx", "--device", "cpu", *words)
    return subprocess.run(
        prepared(first, "itk_infer", *main),
        cwd=batch.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        **options,
    )


PROGRAM = """
import sys
from pathlib import Path
if __name__ == "__main__":
    from itk_infer.testing.faulty import FaultyModel
    from itk_infer.events import Events
    from itk_infer.executors.gpus import Placement
    from itk_infer.run.folder import run_cases
    from itk_infer.run.settings import RunSettings
    from itk_infer.executors import workers
    from itk_infer.cli.progress import JsonLines
    from itk_infer.errors import ItkInferError

    settings = RunSettings(Path("in"), Path("out"))
    workers.STOP_GRACE_S = {grace}
    model = FaultyModel(Path("scratch"), pause={pause}, patch={patch}, device={device!r})
    executor = workers.Workers(model, (Placement(),) * {workers})
    try:
        sys.exit(run_cases(executor, settings, Events([JsonLines("test")])).exit_code)
    except ItkInferError as error:
        sys.exit(error.exit_code)
"""


def start(batch, *, workers=1, pause=0.0, patch=None, device="cpu", grace=STOP_GRACE_S):
    script = batch.folder / "program.py"
    options = {"workers": workers, "pause": pause, "patch": patch, "device": device, "grace": grace}
    script.write_text(PROGRAM.format(**options))
    words, env = [sys.executable, str(script)], child_environment()
    return subprocess.Popen(words, cwd=batch.folder, env=env, stdout=subprocess.PIPE, text=True)


def wait_for(program, event, times=1):
    for line in program.stdout:
        times -= json.loads(line)["event"] == event
        if not times:
            return
    raise AssertionError(f"the program ended without {event}")
