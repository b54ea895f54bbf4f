from __future__ import annotations

import subprocess
import sys

import pytest
from support.folders import Folder
from support.onnx_files import sign_network

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
