"""``--batch auto`` on the command line: searched by the first run, remembered for the second."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import SimpleITK as sitk

from itk_infer.cli.main import main
from itk_infer.cli.model import model_options, model_request
from itk_infer.executors.loader import ModelRequest

DEMO = Path(__file__).resolve().parents[3] / "itk_infer" / "demo"
MODEL = ("--onnx", str(DEMO / "hippocampus_unet.onnx"), "--device", "cpu", "--patch-size", "16", "16", "16")
FOUND = r"batch: \d+ window\(s\) per call(, \d\.\d\d times as fast as one|; more is hardly faster)\n"
KNOWN = r"batch: \d+ window\(s\) per call, as an earlier run found\n"


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A folder with one small scan, and a user's cache folder that is not the real one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    scan = sitk.ReadImage(str(DEMO / "mni152_hippocampus_left.nii.gz"))
    sitk.WriteImage(scan[:20, :20, :16], str(tmp_path / "scan.nii.gz"))
    return ("-i", "scan.nii.gz", "-o", "out", *MODEL, "--batch", "auto", "--overwrite", "--quiet")


def test_the_second_run_knows_and_says_so(job, tmp_path, capfd):
    cached = (*job, "--batch-cache", "found")
    assert main(cached) == 0
    assert re.search(FOUND, capfd.readouterr().err)
    (kept,) = (tmp_path / "found").iterdir()
    assert list(tmp_path.rglob("batch-*.json")) == [kept]
    kept.write_text(kept.read_text().replace('"batch": 1', '"batch": 2'))
    found = json.loads(kept.read_text())["batch"]
    assert main(cached) == 0
    err = capfd.readouterr().err
    assert re.search(KNOWN, err)
    assert f"batch: {found} window" in err
    for options, batch in ((("--batch-cache", "found"), found), (("--batch-cache", "other"), "auto")):
        assert main(("inspect", *MODEL, "--batch", "auto", *options, "--json")) == 0
        assert json.loads(capfd.readouterr().out)["batch"] == batch
    assert not (tmp_path / "other").exists()


def test_without_a_cache_nothing_is_written(job, tmp_path, capfd):
    assert main((*job, "--no-batch-cache")) == 0
    assert re.search(FOUND, capfd.readouterr().err)
    assert not list(tmp_path.rglob("batch-*"))  # network libraries have caches of their own there


def test_a_result_stays_up_to_date_whatever_the_batch(job, capfd):
    plain = tuple(word for word in job if word not in ("--batch", "auto", "--overwrite"))
    assert main(plain) == 0
    assert main((*plain, "--batch", "auto", "--no-batch-cache")) == 0
    assert "0 done, 1 skipped" in capfd.readouterr().err


def test_dry_run_searches_nothing(job, tmp_path, capfd):
    assert main((*job, "--dry-run", "--batch-cache", "found")) == 0
    assert "windows of 16 x 16 x 16" in capfd.readouterr().out
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--batch", "0"), "--batch 0: give a whole number of at least 1, or auto"),
        (("--batch", "-1"), "--batch -1: give a whole number"),
        (("--batch", "many"), "--batch many: give a whole number"),
        (("--batch", "auto", "--batch-cache", "x", "--no-batch-cache"), "contradict each other"),
    ],
)
def test_words_that_are_no_batch(job, capfd, options, words):
    assert main(("-i", "scan.nii.gz", "-o", "out", *MODEL, *options)) == 2
    assert words in " ".join(capfd.readouterr().err.split())


def test_requests_travel():
    import click

    seen = []
    command = click.command()(model_options(lambda **options: seen.append(model_request(**options))))
    for words in ([], ["--batch", "auto"], ["--batch", "3", "--batch-cache", "x"], ["--no-batch-cache"]):
        command.main(["--onnx", "model.onnx", *words], standalone_mode=False)
    assert [(request.options.batch, request.options.batch_cache) for request in seen] == [
        (None, True),
        ("auto", True),
        (3, Path("x")),
        (None, False),
    ]
    for request in seen:
        back = pickle.loads(pickle.dumps(request))
        assert isinstance(back, ModelRequest)
        assert back == request
        assert hash(back) == hash(request)
