"""Standard streams that are closed, broken or full: the work is done, and the exit code is that of the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from onnx import TensorProto, helper
from support.prepared import prepared

fcntl = pytest.importorskip("fcntl", reason="streams are closed and full by the means of POSIX")

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
ARRAY = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(np.int16) - 60
EVERY = [[number for number in range(3) if bits >> number & 1] for bits in range(8)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Scans, and a model that finds label 1 wherever a voxel is above zero."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "scans").mkdir()
    for name in ("a.nii.gz", "b.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(ARRAY, np.diag([-1.0, -1, 1, 1])), folder / "scans" / name)
    shape = ("n", 1, "d", "h", "w")
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["m"]), helper.make_node("Concat", ["m", "x"], ["y"], axis=1)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 2, *shape[2:]))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"itk_infer": json.dumps({"spec": 1})})
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def run(words, folder, *, closed=(), **streams):
    """The program, with standard streams closed as ``<&-`` does."""

    return subprocess.run(
        prepared("".join(f"os.close({number}); " for number in closed), "itk_infer", *words),
        cwd=folder,
        text=True,
        check=False,
        timeout=600,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )


def main_job(source, *words):
    return "-i", source / "scans", "-o", "out", "--onnx", source / "model.onnx", "--provider", "cpu", *words


def check_masks(folder):
    for name in ("a.nii.gz", "b.nii.gz"):
        mask = nibabel.load(folder / "out" / name)
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out" / name)))
        assert mask.get_fdata().sum() == (ARRAY > 0).sum() == found.sum()


@pytest.mark.parametrize("closed", EVERY, ids=lambda numbers: "closed " + "".join(map(str, numbers)))
def test_the_main_job_with_closed_streams(source, tmp_path, closed):
    done = run(main_job(source, "--num-proc", 2, "--save-conf"), tmp_path, closed=closed)
    assert done.returncode == 0, done.stderr
    check_masks(tmp_path)
    expected = {"a.nii.gz", "b.nii.gz", "confidences.xlsx", "itk_infer.db", "labels.csv"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [[0], [0, 1, 2]], ids=["closed 0", "closed 012"])
def test_other_commands_with_closed_streams(source, tmp_path, closed):
    run(main_job(source), tmp_path)
    for words in (
        ("--help",),
        ("--version",),
        ("status", "out"),
        ("report", "out"),
        ("inspect", "--onnx", source / "model.onnx"),
        main_job(source, "--dry-run"),
    ):
        done = run(words, tmp_path, closed=closed)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), words
    assert run(("nonsense",), tmp_path, closed=closed).returncode == 2


@needs_full
@pytest.mark.parametrize("progress", ["bar", "none", "auto"])
def test_a_log_on_a_full_disk(source, tmp_path, progress):
    with FULL.open("w") as full:
        done = run(main_job(source, "--progress", progress), tmp_path, stderr=full)
    assert done.returncode == 0
    check_masks(tmp_path)


@needs_full
def test_events_on_a_full_disk_are_missed_in_words(source, tmp_path):
    with FULL.open("w") as full:
        done = run(main_job(source, "--progress", "json"), tmp_path, stdout=full)
    assert done.returncode == 0
    check_masks(tmp_path)
    assert done.stderr.splitlines()[-1] == (
        "warning: standard output could not be written to its end (No space left on device)"
    )


@needs_full
def test_what_is_only_printed_must_arrive(source, tmp_path):
    run(main_job(source), tmp_path)
    with FULL.open("w") as full:
        for words in (
            ("status", "out", "--json"),
            ("inspect", "--onnx", source / "model.onnx"),
            main_job(source, "--dry-run"),
        ):
            done = run(words, tmp_path, stdout=full)
            assert done.returncode == 1, words
            assert "No space left" in done.stderr
        assert run(("report", "out"), tmp_path, stdout=full).returncode == 0  # its work are the tables


@pytest.mark.parametrize("words", [("--progress", "json"), ("--dry-run",)], ids=["events", "plan"])
def test_a_reader_that_leaves_is_no_failure(source, tmp_path, words):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(main_job(source, *words), tmp_path, stdout=writing)
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "warning" not in done.stderr
    if "json" in words:
        check_masks(tmp_path)


def test_a_pipe_that_another_program_made_non_blocking(tmp_path):
    """As some programs leave their ends; what does not fit at once waits for the reader."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ) if hasattr(fcntl, "F_GETPIPE_SZ") else 1 << 16
    script = (
        "import sys; from itk_infer.streams import *; open_missing_streams(); forgive_streams();"
        f"sys.stdout.write('x' * {4 * size}); sys.stdout.flush(); sys.exit(bool(lost_output()))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=writing) as program:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert pipe.read() == "x" * 4 * size
        assert program.wait(60) == 0


LIBRARY = """
import os, sys
from pathlib import Path
from itk_infer.executors.loader import ModelRequest
from itk_infer.options import Options
from itk_infer.run.folder import run_cases
from itk_infer.run.settings import RunSettings
from itk_infer.executors.workers import Workers
if __name__ == "__main__":
    for number in (0, 1, 2):
        os.close(number)
    source, settings = Path(sys.argv[1]), RunSettings(Path(sys.argv[1]) / "scans", Path("out"))
    request = ModelRequest((source / "model.onnx",), options=Options(provider="cpu"))
    os._exit(run_cases(Workers(request), settings).exit_code)
"""


def test_the_library_gives_no_pipe_to_a_worker_the_number_of_a_closed_stream(source, tmp_path):
    (tmp_path / "program.py").write_text(LIBRARY)
    words = [sys.executable, tmp_path / "program.py", source]
    assert subprocess.run(words, cwd=tmp_path, check=False, timeout=600).returncode == 0
    check_masks(tmp_path)
