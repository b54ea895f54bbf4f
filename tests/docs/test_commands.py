"""What README.md and docs/ tell people to type, typed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itk_infer.cli.group import main
from itk_infer.spec import parse_spec

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "itk_infer" / "demo"
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STATED = re.compile(r"# exit code (\d+)")
FILES = {"model.onnx": "hippocampus_unet.onnx"} | {
    f"scans/{side}.nii.gz": f"mni152_hippocampus_{side}.nii.gz" for side in ("left", "right")
}

# Commands that cannot run here, by a part of their text.
NOT_RUN = {
    "-cfg config.py": "an MMEngine config is run in tests/model, with torch",
}
# Pages whose Python blocks need more than a scratch folder.
PYTHON_NOT_RUN = {"mmengine.md": "its blocks are parts of configs and of training; see tests/model"}
OPTIONAL = ("torch", "onnx", "onnxscript")


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(page.read_text("utf-8")) if language in languages]


def commands(page: Path) -> list[str]:
    joined = "".join(blocks(page, "bash")).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.startswith("itk_infer ")]


def old_model(path: Path) -> None:
    """A network without a word about itself, as they were exported before there was a spec."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.array([-1, 1], np.float32).reshape(2, 1, 1, 1, 1)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights"], ["logits"])],
        "old",
        [helper.make_tensor_value_info("image", kind, ["N", 1, "Z", "Y", "X"])],
        [helper.make_tensor_value_info("logits", kind, ["N", 2, "Z", "Y", "X"])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


@pytest.fixture()
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the pages take for granted."""
    (tmp_path / "scans").mkdir()
    for name, source in FILES.items():
        shutil.copyfile(DEMO / source, tmp_path / name)
    labels = [{"value": 1, "name": "head"}, {"value": 2, "name": "body and tail"}]
    (tmp_path / "my.spec.json").write_text(json.dumps({"output": {"labels": labels}}), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    stated = STATED.search(command)
    assert main(words) == (int(stated[1]) if stated else 0), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_does_what_it_says(page: Path, scratch: Path) -> None:
    """Commands and Python blocks of a page, from top to bottom, in one folder and one namespace."""
    pytest.importorskip("onnxruntime")
    if "old.onnx" in page.read_text("utf-8"):
        old_model(scratch / "old.onnx")
    namespace: dict[str, Any] = {"__name__": "docs"}
    for language, text in FENCE.findall(page.read_text("utf-8")):
        if language == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                if line.startswith("itk_infer ") and not any(part in line for part in NOT_RUN):
                    run(line)
        elif language == "python" and page.name not in PYTHON_NOT_RUN:
            for package in OPTIONAL:
                if f"import {package}\n" in text:
                    pytest.importorskip(package)
            exec(compile(text, page.name, "exec"), namespace)


def test_every_exception_is_still_needed() -> None:
    everything = "\n".join(command for page in PAGES for command in commands(page))
    assert not [part for part in NOT_RUN if part not in everything]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_json_block_is_valid(page: Path) -> None:
    for text in blocks(page, "json"):
        document = json.loads(text)
        if "event" not in document:
            parse_spec(document, page.name)
