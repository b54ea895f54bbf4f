from __future__ import annotations

import subprocess

import pytest
from ItkInferLib.command import InvalidChoice, Model, Options, Run, inspect_argv, triplet


@pytest.fixture
def files(tmp_path):
    for name in ("m.onnx", "c.py", "w.pth", "s.json"):
        (tmp_path / name).touch()
    (tmp_path / "in").mkdir()
    return tmp_path


def everything(files) -> list[Run]:
    options = Options(-50.0, 400.0, (96, 96, 64), (48, 48, 32), "constant", "cuda:1", True)
    onnx = Model("onnx", onnx=str(files / "m.onnx"), spec=str(files / "s.json"))
    mmengine = Model("mmengine", config=str(files / "c.py"), checkpoint=str(files / "w.pth"))
    paths = str(files / "in"), str(files / "out")
    return [Run(*paths, onnx, options, True, True, True), Run(*paths, mmengine, options)]


def test_the_words_of_a_run_on_a_server(files, itk_infer):
    model = Model("server", server="http://127.0.0.1:8000", served="spleen", token=str(files / "s.json"))
    run = Run(str(files / "m.onnx"), str(files / "out"), model)
    run.check()
    words = run.argv(["itk_infer"])
    assert words == [
        "itk_infer", "submit", "http://127.0.0.1:8000", f"{files}/m.onnx", "--output", f"{files}/out",
        "--format", "seg.nrrd", "--progress", "json", "--model", "spleen", "--token-file", f"{files}/s.json",
    ]  # fmt: skip
    done = subprocess.run([*itk_infer, "submit", "--help"], capture_output=True, text=True, check=True)
    assert not [word for word in words if word.startswith("--") and word not in done.stdout]


def test_the_words_of_a_run(files):
    run = everything(files)[0]
    run.check()
    assert run.argv(["itk_infer"]) == [
        "itk_infer", "--input-folder", f"{files}/in", "--output", f"{files}/out",
        "--onnx", f"{files}/m.onnx", "--spec", f"{files}/s.json",
        "--device", "cuda:1", "--wl=-50.0", "--ww=400.0", "--patch-size", "96", "96", "64",
        "--patch-stride", "48", "48", "32", "--blend", "constant", "--fp16",
        "--format", "seg.nrrd", "--orientation", "input", "--save-conf", "--progress", "json",
        "--recursive", "--save-logits", "--overwrite",
    ]  # fmt: skip


def test_the_real_program_knows_every_option(files, itk_infer):
    def help_of(*words: str) -> str:
        return subprocess.run([*itk_infer, *words, "--help"], capture_output=True, text=True, check=True).stdout

    for run in everything(files):
        words = [word.split("=")[0] for word in run.argv([]) if word.startswith("--")]
        assert not [word for word in words if f"{word} " not in help_of().replace("\n", " ")]
        words = [
            word.split("=")[0] for word in inspect_argv([], run.model, run.options)[1:] if word.startswith("--")
        ]
        assert not [word for word in words if f"{word} " not in help_of("inspect").replace("\n", " ")]


def test_nothing_chosen_says_nothing():
    assert Options().argv() == ["--device", "auto"]
    assert Options(level=5.0).argv() == ["--device", "auto"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": Model()}, "No model is chosen"),
        ({"model": Model("server", server="127.0.0.1")}, "begins with http"),
        ({"model": Model("server", server="http://x", token="gone")}, "token file gone is not there"),
        ({"model": Model("mmengine", config="c.py")}, "config c.py is not there"),
        ({"model": Model(onnx="gone.onnx")}, "gone.onnx is not there"),
        ({"source": ""}, "No input folder"),
        ({"source": "gone"}, "gone is not there"),
        ({"output": ""}, "No output folder"),
        ({"output": "FILE"}, "is a file"),
        ({"output": "IN"}, "the same folder"),
        ({"options": Options(1.0, 0.0)}, "width"),
        ({"options": Options(patch=(4, 4, 4), stride=(4, 5, 4))}, "larger than the patch"),
    ],
    ids=[
        "no model",
        "no address",
        "no token",
        "no config",
        "no network",
        "no input",
        "absent input",
        "no output",
        "output is a file",
        "output is input",
        "window without width",
        "stride beyond patch",
    ],
)
def test_what_cannot_work_is_said_before_anything_is_started(files, change, message):
    settings = {
        "source": str(files / "in"),
        "output": str(files / "out"),
        "model": Model(onnx=str(files / "m.onnx")),
    }
    settings |= change
    known = {"FILE": str(files / "c.py"), "IN": str(files / "in" / ".")}
    settings["output"] = known.get(settings["output"], settings["output"])
    with pytest.raises(InvalidChoice, match=message):
        Run(**settings).check()


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("  ", None), ("96 64 32", (96, 64, 32)), ("96, 64,32", (96, 64, 32)), ("96x64 x 32", (96, 64, 32)),
     ("96\u00d764\u00d732", (96, 64, 32))],
)  # fmt: skip
def test_triplets_as_people_write_them(text, value):
    assert triplet(text, "Patch size") == value


@pytest.mark.parametrize("text", ["96", "96 96", "1 2 3 4", "0 1 1", "-1 2 3", "1.5 2 3", "a b c", "\u0663 1 1"])
def test_other_triplets_are_refused(text):
    with pytest.raises(InvalidChoice, match="Patch size: give three whole numbers"):
        triplet(text, "Patch size")
