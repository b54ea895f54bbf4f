from __future__ import annotations

import hashlib
import json

import pytest

from itk_infer.errors import ConfigError, SpecError
from itk_infer.model.rules_file import read_rules
from itk_infer.model.spec_sources import Document, resolve
from itk_infer.options import Options
from itk_infer.spec.postprocessing import Custom, KeepLargest, Open

OWN = {"op": "custom", "function": "own_rules:tidy"}
WINDOW = {"input": {"intensity": [{"op": "window", "level": 1, "width": 2}]}}


@pytest.fixture
def rules_file(tmp_path):
    def write(content):
        path = tmp_path / "rules.json"
        path.write_text(json.dumps(content))
        return path

    return write


def test_they_replace_those_of_the_model(rules_file):
    model = Document("model", {**WINDOW, "output": {"postprocessing": [{"op": "open", "mm": 1}]}})
    assert resolve([model], Options())[0].output.postprocessing == (Open(1.0),)
    spec, _ = resolve([model], Options(postprocess=rules_file([{"op": "keep_largest"}])))
    assert spec.output.postprocessing == (KeepLargest(),)
    assert resolve([model], Options(postprocess=rules_file([])))[0].output.postprocessing == ()


def test_a_model_names_no_functions():
    model = Document("model.onnx", {**WINDOW, "output": {"postprocessing": [OWN]}})
    with pytest.raises(
        SpecError, match=r"^model\.onnx: a model spec names a function to run \('own_rules:tidy'\)"
    ):
        resolve([model], Options())


def test_a_function_is_known_by_its_file_and_not_run(rules_file, tmp_path, monkeypatch):
    module = tmp_path / "own_rules.py"
    module.write_text("raise RuntimeError('run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (rule,) = read_rules(rules_file([OWN]))
    assert rule == Custom("own_rules:tidy", sha256=hashlib.sha256(module.read_bytes()).hexdigest())


def test_a_module_that_is_not_there(rules_file):
    with pytest.raises(ConfigError, match="there is no module own_rules_absent"):
        read_rules(rules_file([{"op": "custom", "function": "own_rules_absent:tidy"}]))
    with pytest.raises(ConfigError, match=r"there is no module absent\.part"):
        read_rules(rules_file([{"op": "custom", "function": "absent.part:tidy"}]))


def test_files_that_hold_no_rules(rules_file, tmp_path):
    with pytest.raises(SpecError, match="rules must be a list"):
        read_rules(rules_file({"rules": []}))
    with pytest.raises(SpecError, match="cannot be read"):
        read_rules(tmp_path / "absent.json")
