"""An option that does nothing is named in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from itk_infer.cli.main import main
from itk_infer.model.backend import NetworkShape
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec

DEMO = Path(__file__).resolve().parents[2] / "itk_infer" / "demo"
PATCH, APART = {"patch_size": [4, 4, 4]}, {"patch_size": [4, 4, 4], "patch_stride": [4, 4, 4]}


def notes(options: dict, window: dict = PATCH, batch: int | None = None, blend: str | None = None):
    backend = FakeBackend(spec=parse_spec({"window": window}, "t"), shape=NetworkShape(batch=batch))
    return Predictor(backend, **options).notes


@pytest.mark.parametrize(
    ("options", "more", "words"),
    [
        ({"batch_cache": "kept"}, {}, "`batch_cache=kept` does nothing without `batch=auto`"),
        ({"batch_cache": False, "batch": 2}, {}, "`batch_cache=False` does nothing"),
        ({"max_vram": 2**30}, {}, "`max_vram` does nothing on the CPU"),
        ({"batch": 4}, {"batch": 2}, "the network takes exactly 2 window"),
        ({"batch": "auto", "batch_cache": True}, {"batch": 1}, "`batch=auto` does nothing: the network takes"),
        ({"batch": 4}, {"window": {}}, "`batch=4` does nothing: this model takes the whole volume"),
    ],
)
def test_an_idle_option_is_named_once(options, more, words):
    (note,) = notes(options, **more)
    assert words in note


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, {}),
        ({}, {"window": {}}),
        ({"batch": "auto", "batch_cache": False}, {}),
        ({"batch": 2}, {"batch": 2}),
        ({"batch": 1}, {"batch": 4}),
        ({"batch": 1}, {"window": {}}),
        ({"max_ram": 2**40, "threads": 1, "tta": False, "skip_empty": True}, {}),
    ],
)
def test_nothing_is_said_of_options_that_work(options, more):
    assert notes(options, **more) == ()


def test_blending_needs_windows_that_overlap():
    from itk_infer.case.idle import idle_options
    from itk_infer.model.window import fit_window
    from itk_infer.options import Options

    for window, words in ((APART, "do not overlap"), ({}, "whole volume"), (PATCH, None)):
        backend = FakeBackend(spec=parse_spec({"window": window}, "t"))
        found = idle_options(Options(blend="constant"), backend, fit_window(backend.spec, backend.shape))
        assert [words in note for note in found] == ([True] if words else [])


def test_the_command_line_names_flags(capfd):
    model = ("inspect", "--onnx", str(DEMO / "hippocampus_unet.onnx"), "--device", "cpu")
    assert main((*model, "--batch-cache", "kept", "--max-vram", "2G")) == 0
    err = capfd.readouterr().err
    assert "--batch-cache kept does nothing without --batch auto" in err
    assert "--max-vram does nothing on the CPU; --max-ram bounds host memory" in err
    assert main((*model, "--no-batch-cache")) == 0
    assert "--no-batch-cache does nothing without --batch auto" in capfd.readouterr().err
