from __future__ import annotations

import subprocess
import sys
from pathlib import PurePosixPath

import pytest
from support.folders import Folder
from support.onnx_files import sign_network

from itk_infer.case.case import Case
from itk_infer.events import CaseStarted, Event, Progress
from itk_infer.executors import case_files
from itk_infer.executors.loader import ModelRequest
from itk_infer.executors.messages import Finished, Task
from itk_infer.options import Options

WINDOW = {"window_level": "40", "window_width": "400"}
PROGRAM = """
import sys
from pathlib import Path, PurePosixPath
from itk_infer.case.case import Case
from itk_infer.executors.case_files import run_case
from itk_infer.executors.loader import ModelRequest
from itk_infer.executors.messages import Finished, Task
source, model, target = map(Path, sys.argv[1:])
request = ModelRequest((model,))
case = Case(PurePosixPath("."), "case", "".join(source.suffixes), (source,))
task = Task(case, target.parent, (("labels", target),))
outcome = run_case(request.load(device="cpu"), task, 0, lambda event: None, lambda: None)
assert isinstance(outcome, Finished), outcome
print("SimpleITK" in sys.modules)
"""


@pytest.mark.parametrize(("suffix", "loaded"), [(".nii.gz", "False"), (".nii", "False"), (".nrrd", "True")])
def test_simpleitk_is_loaded_for_formats_that_need_it(folder: Folder, suffix: str, loaded: str) -> None:
    """It takes 90 MiB of memory."""
    folder.scan(f"case{suffix}")
    model, target = (
        sign_network(folder.output.parent / "model.onnx", metadata=WINDOW),
        folder.output / f"case{suffix}",
    )
    folder.output.mkdir(exist_ok=True)
    words = [str(path) for path in (folder.source / f"case{suffix}", model, target)]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, loaded), done.stderr
    assert target.is_file()


@pytest.mark.parametrize("seconds", [1000.0, 0.0])
def test_progress_is_told_not_more_often_than_that_and_at_the_end(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(case_files, "PROGRESS_S", seconds)
    folder.scan("case.nii.gz")
    folder.output.mkdir()
    model = sign_network(folder.output.parent / "model.onnx", metadata=WINDOW)
    options = Options(device="cpu", patch_size=(3, 3, 3), patch_stride=(2, 2, 2), batch=1)
    case = Case(PurePosixPath("."), "case", ".nii.gz", (folder.source / "case.nii.gz",))
    task = Task(case, folder.output, (("labels", folder.output / "case.nii.gz"),))
    told: list[Event] = []
    checks: list[None] = []
    predictor = ModelRequest((model,), None, options).load()
    outcome = case_files.run_case(predictor, task, 0, told.append, lambda: checks.append(None))
    assert isinstance(outcome, Finished), outcome
    (windows,) = (event.windows for event in told if isinstance(event, CaseStarted))
    assert windows > 10
    done = [event.done for event in told if isinstance(event, Progress)]
    assert done == ([1, windows] if seconds else list(range(1, windows + 1)))
    assert len(checks) >= windows
