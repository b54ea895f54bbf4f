"""The command line as a person meets it: in a process of its own where that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from onnx import TensorProto, helper

from itk_infer import __version__
from itk_infer.cli.main import COMMANDS, main
from itk_infer.errors import InterruptedRunError


def network(path, metadata):
    shape = ("n", 1, "d", "h", "w")
    nodes = [helper.make_node("Neg", ["x"], ["m"]), helper.make_node("Concat", ["m", "x"], ["y"], axis=1)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 2, *shape[2:]))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with scans, a model that knows its intensities, and one that does not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    for name in ("a.nii.gz", "b.mha"):
        image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 9, (5, 6, 7)).astype(np.int16))
        sitk.WriteImage(image, str(tmp_path / "scans" / name))
    network(tmp_path / "model.onnx", {"itk_infer": json.dumps({"spec": 1, "name": "sign"})})
    network(tmp_path / "bare.onnx", {})
    return tmp_path


def run(*args):
    return subprocess.run(
        [sys.executable, "-m", "itk_infer", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


MAIN = ("-i", "scans", "-o", "out", "--onnx", "model.onnx", "--device", "cpu")


def test_the_main_job(work, capfd):
    assert main(MAIN) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert "2 done, 0 skipped, 0 failed" in err
    assert sorted(path.name for path in (work / "out").iterdir()) == [
        "a.nii.gz",
        "b.mha",
        "itk_infer.db",
        "labels.csv",
    ]


def test_json_progress_is_json_and_nothing_else(work):
    done = run(*MAIN, "--progress", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == [
        "run_started",
        *["case_started", "progress", "case_done"] * 2,
        "run_done",
    ]
    fields = {
        "run_started": {"version", "cases", "skipped", "workers", "device", "model"},
        "case_started": {"case", "worker", "shape", "windows"},
        "progress": {"case", "worker", "stage", "done", "total", "eta_s"},
        "case_done": {"case", "outputs", "seconds", "confidence", "volumes_ml", "stages", "worker"}
        | {"soft_dice", "worst_label"},
        "run_done": {"done", "failed", "skipped", "seconds", "exit_code"},
    }
    for event in events:
        assert fields[event["event"]] | {"event", "time", "run"} == set(event)
    (work / "scans" / "c.nii").touch()
    events = [
        json.loads(line) for line in run(*MAIN, "--progress", "json", "--orientation", "RAS").stdout.splitlines()
    ]
    assert {"case", "reason", "attempt"} <= set(next(e for e in events if e["event"] == "case_failed"))
    assert {"message"} <= set(next(e for e in events if e["event"] == "warning"))


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("-i", "scans", "-o", "out"), 2, "no model: give --onnx"),
        (("-o", "out", "--onnx", "model.onnx"), 2, "Missing option '-i'"),
        (("-i", "absent", "-o", "out", "--onnx", "model.onnx"), 2, "absent: no such file or folder"),
        (("-i", "scans", "-o", "scans", "--onnx", "model.onnx"), 2, "also the input folder"),
        (("-i", "scans", "-o", "out", "--onnx", "absent.onnx"), 5, "absent.onnx: no such file"),
        (("-i", "scans", "-o", "out", "--onnx", "bare.onnx"), 2, "requires --wl/--ww"),
        (("-i", ".", "-o", "out", "--onnx", "model.onnx"), 6, "No input files found"),
        ((*MAIN, "--backend", "mmengine"), 2, "--backend mmengine needs both"),
        ((*MAIN, "-cfg", "c.py"), 2, "name two models"),
        (("-i", "scans", "-o", "out", "-cfg", "c.py"), 2, "needs both -cfg"),
        ((*MAIN, "--patch-size", 8, 8, 8, "--patch-stride", 9, 8, 8), 2, "is larger than the patch size"),
        ((*MAIN, "--patch-size", 0, 8, 8), 2, "at least 1"),
        ((*MAIN, "--precision", "fp16"), 2, "--precision fp16: cpu with"),
        ((*MAIN, "--precision", "bf16", "--fp16"), 2, "contradict each other"),
        ((*MAIN, "--provider", "cuda"), 5, "runs on a GPU"),
        ((*MAIN, "--device", "gpu"), 2, "give auto, cpu, cuda or cuda:N"),
        ((*MAIN, "--orientation", "XYZ"), 2, "LPI, RAS or LPS"),
        ((*MAIN, "--format", "gif"), 2, "seg.nrrd"),
        ((*MAIN, "--gpus", 2), 2, "names one device"),
        (("-i", "scans", "-o", "out", "--onnx", "model.onnx", "--gpu-ids", "0,x"), 2, "such as 0,2"),
        (("-i", "scans", "-o", "out", "--onnx", "model.onnx", "--gpu-ids", "0", "--gpus", 1), 2, "exclude"),
        ((*MAIN, "--shard", "5/4"), 2, "i from 1 to N"),
        ((*MAIN, "--shard"), 2, "array job"),
        ((*MAIN, "--queue", "gpu"), 2, "--queue needs --cluster"),
        ((*MAIN, "--scheduler", "tcp://a:1", "--jobs", 2), 2, "leave out --jobs"),
        ((*MAIN, "--cluster", "slurm", "--num-proc", 2), 2, "about this machine"),
        ((*MAIN, "--quiet", "--verbose"), 2, "exclude each other"),
        (("-i", "scans", "-o", "seg.nii.gz", "--onnx", "model.onnx"), 2, "is a folder; give -o a folder"),
        (("-i", "scans", "-o", "seg.jpg", "--onnx", "model.onnx"), 2, "not written as .jpg"),
        (("-i", "scans", "-o", "model.onnx", "--onnx", "model.onnx"), 2, "model.onnx is a file"),
        (
            ("-i", "scans/a.nii.gz", "scans/b.mha", "-o", "out", "--onnx", "model.onnx"),
            2,
            "b.mha: belongs to no opt",
        ),
        (("demo", "-o", "seg.nii.gz"), 2, "is a folder; give -o a folder"),
        ((*MAIN, "--ww", 0), 2, "belong together|above 0"),
        ((*MAIN, "--spec", "absent.json"), 2, "absent.json: cannot be read"),
        (("inspcet",), 2, "did you mean 'inspect'"),
        (("frobnicate",), 2, f"there are {min(COMMANDS)}, .*{max(COMMANDS)}"),
        (("report", "scans"), 2, "holds no itk_infer.db"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(work, capfd, args, code, words):
    import re

    assert main([str(arg) for arg in args]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert re.search(words, " ".join(err.split()))
    assert "Traceback" not in err


def test_texts_of_a_model_do_not_control_the_terminal(work, capfd):
    """They are quoted in errors, notes and descriptions."""
    codes = "\x1b]0;title\x07\x1b[2J\x9b1m"
    for name, spec in (("a.onnx", {"spec": 1, codes: 1}), ("b.onnx", {"spec": 1, "name": f"x{codes}\nError: no"})):
        network(work / name, {"itk_infer": json.dumps(spec)})
    assert main(["inspect", "-m", "a.onnx"]) == 2
    assert main(["inspect", "-m", "b.onnx", "--device", "cpu"]) == 0
    out, err = capfd.readouterr()
    assert "\\x1b]0;title\\x07" in out
    assert "\\x1b]0;title\\x07" in err
    assert not {char for char in out + err if not char.isprintable()} - {"\n"}
    assert "\nError: no" not in out


def test_window_zero_is_a_value(work):
    assert (
        main(("-i", "scans", "-o", "out", "--onnx", "bare.onnx", "--wl", "0", "--ww", "1", "--device", "cpu")) == 0
    )


def test_some_failed_and_all_failed(work):
    (work / "scans" / "c.nii").touch()
    assert main(MAIN) == 3
    for name in ("a.nii.gz", "b.mha"):
        (work / "scans" / name).write_bytes(b"broken")
    assert main((*MAIN, "--overwrite")) == 4


def test_dry_run_writes_nothing_and_tells_all(work, capfd):
    (work / "scans" / "c.nii").touch()
    assert main((*MAIN, "--dry-run", "--patch-size", "4", "4", "4")) == 0
    out = capfd.readouterr().out
    assert "5 x 6 x 7 voxels, 12 windows of 4 x 4 x 4, about" in out
    assert "c.nii" in out
    assert "will fail" in out
    assert not (work / "out").exists()
    assert main(MAIN) == 3
    assert main((*MAIN, "--dry-run")) == 0
    assert "skip: already done" in capfd.readouterr().out


def test_dry_run_doubts_a_spacing_and_refuses_a_tilt(work, capfd):
    network(work / "one_mm.onnx", {"itk_infer": json.dumps({"spec": 1, "input": {"spacing": [1, 1, 1]}})})
    small, tilted = (sitk.Image(40, 40, 40, sitk.sitkInt16) for _ in range(2))
    small.SetSpacing((0.1, 0.1, 0.1))
    tilted.SetDirection((1, 0, 0, 0, 1, 0.3, 0, 0, 1))
    sitk.WriteImage(small, str(work / "scans" / "small.mha"))
    sitk.WriteImage(tilted, str(work / "scans" / "tilted.mha"))
    dry = ("-i", "scans", "-o", "out", "--onnx", "one_mm.onnx", "--device", "cpu", "--dry-run")
    assert main((*dry, "--patch-size", "8", "8", "8")) == 0
    lines = {line.split()[0]: line for line in capfd.readouterr().out.splitlines()}
    assert "4 x 4 x 4 voxels (Z Y X), fewer than one window of 8 x 8 x 8" in lines["small.mha"]
    assert "will fail: tilted.mha: its axes are not at right angles" in lines["tilted.mha"]


def test_help_shows_options_commands_and_examples():
    done = run("--help")
    assert done.returncode == 0
    for words in ("Input and output:", "--patch-size Z Y X", "Commands:", "inspect", "Examples:", "Exit codes:"):
        assert words in done.stdout
    assert run().stdout == done.stdout
    assert "--save-logits" in run("-i", "x", "--help").stdout
    assert run("--version").stdout.strip() == f"itk_infer {__version__}"
    assert "--json" in run("inspect", "--help").stdout


def test_help_imports_nothing_heavy():
    heavy = ("numpy", "SimpleITK", "onnxruntime", "torch", "mmengine", "zarr", "openpyxl", "PIL", "tqdm")
    program = (
        "import sys\nfrom itk_infer.cli.main import main\ncode = main(['--help'])\n"
        f"found = [name for name in {heavy!r} if name in sys.modules]\nsys.exit(f'imported {{found}}' if found else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_inspect(work, capfd):
    assert main(("inspect", "--onnx", "model.onnx", "--device", "cpu")) == 0
    assert "label 1" in capfd.readouterr().out
    assert main(("inspect", "--onnx", "model.onnx", "--device", "cpu", "--json")) == 0
    about = json.loads(capfd.readouterr().out)
    assert about["spec"]["name"] == "sign"
    assert about["network"]["channels_out"] == 2
    assert about["labels"][0]["value"] == 1


def test_report_makes_the_tables_again(work, capfd):
    main(MAIN)
    (work / "out" / "labels.csv").unlink()
    assert main(("report", "out")) == 0
    assert "2 cases on record: 2 done" in capfd.readouterr().out
    assert (work / "out" / "labels.csv").exists()
    assert (work / "out" / "confidences.xlsx").exists()


@pytest.mark.skipif(os.name != "posix", reason="pipes close differently elsewhere")
def test_a_reader_that_leaves_early_causes_no_traceback(work):
    words = " ".join(map(str, MAIN))
    command = f"{sys.executable} -m itk_infer {words} --progress json | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["event"] == "run_started"
    assert "Traceback" not in done.stderr


def test_interrupted_before_the_first_case(work, capfd, monkeypatch):
    def run_cases(*args):
        raise InterruptedRunError(15)

    monkeypatch.setattr("itk_infer.run.folder.run_cases", run_cases)
    assert main(MAIN) == 143
    assert capfd.readouterr().err == "Interrupted.\n"


def test_any_locale_will_do(work):
    (work / "scans" / "Größe µ.mha").write_bytes((work / "scans" / "b.mha").read_bytes())
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "itk_infer", *map(str, MAIN)], capture_output=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert (work / "out" / "Größe µ.mha").exists()


def test_bars_on_a_terminal(work, capfd):
    assert main((*MAIN, "--progress", "bar")) == 0
    err = capfd.readouterr().err
    assert "cases: 100%" in err
    assert "a.nii.gz: done" in err


def test_verbose_shows_the_model_and_the_stages(work, capfd):
    assert main((*MAIN, "--verbose")) == 0
    err = capfd.readouterr().err
    assert "orientation  LPI" in err
    assert "network 0." in err


def test_the_parent_of_workers_imports_nothing_heavy(work):
    heavy = ("numpy", "SimpleITK", "onnxruntime", "torch", "mmengine", "zarr", "openpyxl", "PIL")
    program = f"""
import sys
if __name__ == "__main__":
    from itk_infer.cli.main import main
    code = main({[*MAIN, "--num-proc", "2"]!r})
    found = [name for name in {heavy!r} if name in sys.modules]
    sys.exit(f"imported {{found}}" if found else code)
"""
    (work / "program.py").write_text(program)
    done = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 done" in done.stderr


@pytest.mark.parametrize("silence", [("--quiet",), ("--progress", "none")])
def test_warnings_are_never_silenced(work, capfd, silence):
    main(MAIN)
    capfd.readouterr()
    assert main((*MAIN, "--orientation", "RAS", *silence)) == 0
    assert "warning: a.nii.gz: computed again" in capfd.readouterr().err


def test_quiet_says_failures_and_the_end_only(work, capfd):
    (work / "scans" / "c.nii").touch()
    assert main((*MAIN, "--quiet")) == 3
    err = capfd.readouterr().err
    assert "a.nii.gz" not in err
    assert "c.nii: FAILED" in err


def test_one_image_to_one_file(work, capfd):
    words = ("-i", "scans/a.nii.gz", "-o", "scans/a_seg.nii.gz", "--onnx", "model.onnx", "--device", "cpu")
    assert main((*words, "--dry-run")) == 0
    assert "1 to run, 0 skipped" in capfd.readouterr().out
    assert main(words) == 0
    assert "results: scans/a_seg.nii.gz" in capfd.readouterr().err
    assert sorted(path.name for path in (work / "scans").iterdir()) == ["a.nii.gz", "a_seg.nii.gz", "b.mha"]
    assert main((*words, "--num-proc", "2")) == 0
    assert "kept scans/a_seg.nii.gz: it was there before; --overwrite" in " ".join(capfd.readouterr().err.split())
    assert main((*words, "--dry-run")) == 0
    assert "skip: kept" in capfd.readouterr().out


def test_what_is_passed_over_is_named_once(work, capfd):
    for index in range(40):
        (work / "scans" / f"{index:02d}.mgz").write_bytes(b"x")
    assert main(MAIN) == 0
    err = capfd.readouterr().err
    assert err.count("00.mgz") == 1
    assert "00.mgz, 01.mgz, 02.mgz and 37 more (FreeSurfer volumes: convert with mri_convert)" in err
    assert "2 done, 40 skipped, 0 failed" in err
    assert main((*MAIN, "--verbose")) == 0
    assert "39.mgz: skipped, a FreeSurfer volume" in capfd.readouterr().err
    assert main((*MAIN, "--dry-run")) == 0
    out = capfd.readouterr().out
    assert "39.mgz    skip: a FreeSurfer volume, not read; convert with mri_convert" in out
    assert "0 to run, 42 skipped" in out
    assert main(("status", "out")) == 0
    assert "2 done, 40 skipped" in capfd.readouterr().out
    events = [json.loads(line) for line in run(*MAIN, "--progress", "json").stdout.splitlines()]
    skipped = [event for event in events if event["event"] == "case_skipped"]
    assert {event["sort"] for event in skipped if event["case"].endswith(".mgz")} == {"unread"}
    assert len(skipped) == 42
