"""One class declares the options of a model run; flags, keywords, requests and identity come from it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import click
import pytest

from itk_infer.case.identity import BEFORE, PARTS
from itk_infer.cli.commands.classify import classify_command
from itk_infer.cli.commands.export import export_command
from itk_infer.cli.commands.node import node_command
from itk_infer.cli.commands.push import push_command
from itk_infer.cli.commands.report import report_command
from itk_infer.cli.commands.segment import segment_command
from itk_infer.cli.commands.serve import serve_command
from itk_infer.cli.model import model_options, model_request
from itk_infer.cli.options import RUN_FLAGS, flags_of, with_flags
from itk_infer.errors import ConfigError
from itk_infer.executors.loader import ModelRequest
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.option import OptionError
from itk_infer.options import BLENDS, Options, declared, default_of
from itk_infer.predictor import Predictor
from itk_infer.spec.model_spec import Blend

USERS = {"spec", "backend", "predictor"}
# Text on the command line, and the value that it stands for, where that does not follow from the type.
GIVEN = {
    "picture_dpi": (("300",), 300),
    "orientation": (("ras",), "RAS"),
    "device": (("cuda:1",), "cuda:1"),
    "folds": (("2,0",), ("0", "2")),
    "max_ram": (("1.5G",), 3 * 2**29),
    "max_vram": (("800MiB",), 800 * 2**20),
    "skip_empty": (("0.25",), 0.25),
    "batch": (("auto",), "auto"),
    "step_size": (("0.25",), 0.25),
    "weights": (("2,1.5",), (2.0, 1.5)),
}
BY_TYPE = {bool: ((), True), float: (("-0.5",), -0.5), Path: (("a/b",), Path("a/b"))}


def sample(name: str) -> tuple[tuple[str, ...], Any]:
    """Words for one option, and the value that they stand for."""
    about = declared()[name]
    if isinstance(about.text, tuple):
        value = next(choice for choice in about.text if choice != default_of(name))
        words = (value,)
    elif about.text is int and name not in GIVEN:
        numbers = tuple(range(3, 3 + about.count))
        words, value = tuple(map(str, numbers)), numbers if about.count > 1 else numbers[0]
    else:
        words, value = GIVEN[name] if name in GIVEN else BY_TYPE[about.text]
    return (about.flags[-1], *words), value


def request_of(*words: str) -> ModelRequest:
    seen = []
    command = model_options(lambda **given: seen.append(model_request(**given)))
    for name in (
        "orientation",
        "picture_style",
        "picture_dpi",
        "seg_type",
        "series_number",
        "threads",
    ):  # under headings of the main job
        command = flags_of(name)[0](command)
    click.command()(command).main(["--onnx", "model.onnx", *words], standalone_mode=False)
    return seen[0]


@pytest.mark.parametrize("name", declared())
def test_an_option_is_read_from_the_command_line_and_travels(name):
    words, value = sample(name)
    request = request_of(*words)
    assert request == ModelRequest((Path("model.onnx"),), "onnx", options=Options(**{name: value}))
    assert request != request_of()
    assert pickle.loads(pickle.dumps(request)) == request
    assert hash(pickle.loads(pickle.dumps(request))) == hash(request)


@pytest.mark.parametrize("name", declared())
def test_an_option_is_declared_completely(name):
    about = declared()[name]
    assert about.check(default_of(name)) == default_of(name)
    assert about.help.endswith(".")
    assert about.values
    assert isinstance(default_of(name), str) or about.unset
    assert about.used_by
    assert set(about.used_by) <= USERS
    assert (name in Options().identity()) == bool(about.result)
    assert not about.result or PARTS[name] == about.result


def test_nothing_given_is_the_default():
    assert request_of().options == Options() == Options.from_keywords()
    assert [field.name for field in fields(Options)] == list(declared())


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (("--fp16",), {"precision": "half"}),
        (("--fp16", "--precision", "fp16"), {"precision": "fp16"}),
        (("--no-batch-cache",), {"batch_cache": False}),
        (("--skip-empty",), {"skip_empty": True}),
        (("--batch", "7"), {"batch": 7}),
        (("--folds", "3 1"), {"folds": ("1", "3")}),
        (("--folds", "all"), {"folds": ("all",)}),
    ],
)
def test_flags_that_stand_for_one_value(words, changed):
    assert request_of(*words).options == Options(**changed)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("--fp16", "--precision", "bf16"), click.UsageError, "--fp16 and --precision bf16 contradict each other"),
        (("--batch-cache", "x", "--no-batch-cache"), click.UsageError, "--no-batch-cache and --batch-cache x"),
        (("--batch", "0"), click.UsageError, "--batch 0: give a whole number"),
        (("--folds", "first"), click.UsageError, "--folds first: give numbers of folds"),
        (("--folds", ","), click.UsageError, "--folds ,: give numbers of folds"),
        (("--max-ram", "much"), click.UsageError, "--max-ram much: give a size such as 12G"),
        (("--skip-empty", "no"), click.UsageError, "--skip-empty no: give a number"),
        (("--patch-size", "8", "0", "8"), ConfigError, "--patch-size 8 0 8: give three whole numbers"),
        (("--device", "gpu"), ConfigError, "--device gpu: give auto, cpu"),
        (("--wl", "nan"), ConfigError, "--wl nan: give a number"),
        (("--orientation", "up"), ConfigError, "--orientation up: give 'input'"),
    ],
)
def test_the_command_line_names_the_flag(words, error, message):
    with pytest.raises(error, match=message):
        request_of(*words)


def test_python_names_the_argument():
    with pytest.raises(OptionError, match=r"patch_size \(0, 8, 8\): give three") as caught:
        Options(patch_size=(0, 8, 8))
    again = pickle.loads(pickle.dumps(caught.value))  # from a worker
    assert (str(again), again.option) == (str(caught.value), "patch_size")
    with pytest.raises(TypeError, match="unknown option 'devise'; there are agreement, batch, "):
        Options.from_keywords(devise="cpu")
    with pytest.raises(TypeError, match="'device' is used where a model is loaded"):
        Predictor(FakeBackend(), device="cpu")


def test_values_are_kept_in_one_form():
    options = Options.from_keywords(spec="a.json", batch_cache="kept", patch_size=[1, 2, 3], orientation="ras")
    assert options == Options(
        spec=Path("a.json"), batch_cache=Path("kept"), patch_size=(1, 2, 3), orientation="RAS"
    )
    assert Options(folds=1) == Options(folds=["1"]) == Options(folds="1")
    assert options.absolute().spec == Path.cwd() / "a.json"
    assert options.absolute().batch_cache == Path.cwd() / "kept"
    request = ModelRequest((Path("m.onnx"),), "onnx", options).absolute()
    assert (request.paths, request.options.spec) == ((Path.cwd() / "m.onnx",), Path.cwd() / "a.json")


def test_keywords_stand_above_options():
    predictor = Predictor(FakeBackend(), Options(orientation="RAS", batch=4), batch=2)
    assert (predictor.options.orientation, predictor.batch_size) == ("RAS", 2)
    assert predictor.options == Options(orientation="RAS", batch=2)


def test_the_identity_holds_what_changes_the_result():
    plain = Predictor(FakeBackend()).identity
    assert {part: plain[part] for part in BEFORE} == {**BEFORE, "precision": "fp32"}
    assert Predictor(FakeBackend(), skip_empty=True, batch=3, threads=1).identity == plain
    assert Predictor(FakeBackend(), skip_empty=0.5).identity == {**plain, "skip_empty": 0.5}
    assert Predictor(FakeBackend(), crop_foreground=1.0).identity == {**plain, "crop_foreground": 1.0}
    older = ["orientation", "precision", "tta", "crop_foreground", "skip_empty"]  # as ledgers know them
    assert [part for part in PARTS if part in older] == older


def test_messages_get_flags():
    message = "`batch=auto`, `max_vram`, `precision=half`, `tta=True`, `batch_cache=False` and `nothing`"
    assert with_flags(message) == "--batch auto, --max-vram, --fp16, --tta, --no-batch-cache and `nothing`"
    assert (
        with_flags("`shard=9/2`, `save_logits` or `case_timeout`")
        == "--shard 9/2, --save-logits or --case-timeout"
    )


def test_flags_of_runs_are_options_of_the_commands():
    there = {
        flag
        for command in (
            segment_command,
            classify_command,
            report_command,
            serve_command,
            export_command,
            node_command,
            push_command,
        )
        for item in command.params
        for flag in item.opts
    }
    assert set(RUN_FLAGS.values()) <= there


def test_options_are_light():
    heavy = "numpy", "SimpleITK", "click", "itk_infer.spec"
    code = f"import sys, itk_infer.options; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_blends_are_those_of_the_spec():
    assert get_args(Blend) == BLENDS
