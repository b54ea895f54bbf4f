from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import pytest
from ItkInferLib import environment
from ItkInferLib.command import InvalidChoice
from ItkInferLib.environment import check_new, clean_environment, find_program, making_steps, verdict

posix = pytest.mark.skipif(os.name == "nt", reason="made of scripts")


def script(path, first_line):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(first_line + "\n")
    path.chmod(0o755)
    return str(path)


@posix
def test_an_executable_knows_its_python_by_its_first_line(tmp_path):
    python = script(tmp_path / "elsewhere" / "python3.12", "")
    program = find_program(script(tmp_path / "itk_infer", f"#!{python}"))
    assert program.command == (str(tmp_path / "itk_infer"),)
    assert program.python == python
    assert program.test_argv() == [python, environment.PROBE]


@posix
def test_or_by_its_folder_or_not_at_all(tmp_path):
    path = script(tmp_path / "bin" / "itk_infer", "#!/bin/sh")
    assert find_program(path).python == ""
    assert find_program(path).test_argv() == [path, "--version"]
    python = script(tmp_path / "bin" / "python", "")
    assert find_program(path).python == python


@posix
def test_a_folder_a_python_and_nothing(tmp_path, monkeypatch):
    python = script(tmp_path / "env" / "bin" / "python", "")
    assert find_program(str(tmp_path / "env")).command == (python, "-m", "itk_infer")
    path = script(tmp_path / "env" / "bin" / "itk_infer", f"#!{python}")
    assert find_program(str(tmp_path / "env")).command == (path,)
    assert find_program(python).command == (python, "-m", "itk_infer")
    monkeypatch.setenv("PATH", str(tmp_path / "env" / "bin"))
    assert find_program("").command == (path,)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidChoice, match="No environment was chosen"):
        find_program(" ")


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "is not there"), ("empty", "holds no env"), ("f", "not a program")]
)
def test_other_paths_are_refused(name, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "f").touch(mode=0o644)
    with pytest.raises(InvalidChoice, match=message):
        find_program(str(tmp_path / name))


def test_the_environment_of_slicer_does_not_reach_the_program():
    clean = clean_environment({"PYTHONHOME": "/slicer", "PYTHONPATH": "/slicer", "PATH": "/bin", "HOME": "/me"})
    assert "PYTHONHOME" not in clean
    assert "PYTHONPATH" not in clean
    assert (clean["PATH"], clean["HOME"], clean["PYTHONUTF8"]) == ("/bin", "/me", "1")


def test_the_real_environment_is_described(itk_infer):
    done = subprocess.run([sys.executable, environment.PROBE], capture_output=True, text=True, check=True)
    good, words = verdict(0, done.stdout.splitlines())
    assert good, words
    assert words.startswith("itk_infer ")
    assert "onnxruntime" in words
    assert "cpu" in words


def test_what_is_wrong_is_said():
    found = {
        "python": "3.10.1",
        "versions": {},
        "devices": ["cpu"],
        "problems": ["itk_infer is not installed here."],
    }
    good, words = verdict(0, ["noise", json.dumps(found)])
    assert not good
    assert (
        words == "No itk_infer on Python 3.10.1, with no runtime. Devices: cpu. itk_infer is not installed here."
    )
    assert verdict(0, ["itk_infer 0.1.0"])[0]
    assert not verdict(1, [])[0]
    assert not verdict(0, [])[0]


def test_where_an_environment_may_be_made(tmp_path):
    check_new(sys.executable, str(tmp_path / "new"), "/no/slicer")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "file").touch()
    for python, folder, message in (
        ("", "x", "Name a Python"),
        (sys.executable, "", "Choose a folder"),
        (sys.executable, str(tmp_path / "home"), "not empty"),
        (sys.executable, str(tmp_path / "home" / "new"), "inside Slicer"),
    ):
        with pytest.raises(InvalidChoice, match=message):
            check_new(python, folder, str(tmp_path / "home") if "new" in folder else "")


def test_an_environment_is_made_and_itk_infer_installed_into_it(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)  # which may lead to the real one
    # A wheel of nothing but a name stands in for the download.
    wheel = tmp_path / "itk_infer-9.9-py3-none-any.whl"
    info = "itk_infer-9.9.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("itk_infer/__init__.py", "__version__ = '9.9'\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: itk_infer\nVersion: 9.9\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    folder = str(tmp_path / "env")
    for _, words in making_steps(sys.executable, folder, str(wheel)):
        variables = clean_environment(os.environ) | {"PIP_NO_INDEX": "1"}
        subprocess.run(words, check=True, env=variables, capture_output=True)
    program = find_program(folder)
    done = subprocess.run(program.test_argv(), capture_output=True, text=True, check=True)
    good, words = verdict(0, done.stdout.splitlines())
    assert not good
    assert words.startswith("itk_infer 9.9 on Python 3")
    assert words.endswith("Neither onnxruntime nor mmengine is installed: no model can run here.")


def test_a_python_that_is_too_old_is_refused_by_its_own_words(tmp_path):
    _, words = making_steps(sys.executable, str(tmp_path), "x")[0]
    pretend = "import sys; sys.version_info = (3, 9, 1); " + words[2]
    done = subprocess.run([words[0], "-c", pretend], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Python 3.9 is too old" in done.stderr
