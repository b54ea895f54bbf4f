"""What README.md and docs/ tell people to type, typed."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from support.classifier_files import make_archive, make_classifier

from itk_infer.cli.main import main
from itk_infer.spec import parse_spec
from itk_infer.spec.classify_parse import is_classification, parse_classify_spec

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
    "--cluster slurm": "there is no SLURM; see tests/cli/test_executors.py",
    "--scheduler": "there is no such host; see tests/cli/test_executors.py",
    "-cfg config.py": "an MMEngine config is run in tests/model, with torch",
    "itk_infer view": "it serves until it is interrupted; see tests/viewer",
    "decisions.csv": "a browser writes this file; see tests/run/test_decisions.py",
    "--device cuda": "there need not be a GPU",
    **({} if importlib.util.find_spec("pydicom") else {"studies": "pydicom, which writes the series, is missing"}),
    **({} if importlib.util.find_spec("highdicom") else {"--dicom ": "highdicom is missing"}),
    **({} if importlib.util.find_spec("pydicom") else {"chest.onnx": "likewise"}),
    "calibrat": "it takes 20 cases; see tests/cli/commands/test_calibrate_command.py",
    "itk_infer serve": "it serves until it is stopped; see tests/service",
    "itk_infer submit": "it needs a server; see tests/docs/test_server_page.py",
    "-m Dataset": "nnU-Net's model folders are run in tests/test_real_nnunet.py, with torch",
    "-m nnUNetTrainer": "likewise",
    "-m MODEL": "stands for any model",
    "organs.recipe.json": "recipes are run in tests/model/test_recipe.py",
    "-m spleen_ct": "a bundle of MONAI is run in tests/test_real_monai.py",
    "-m brats_mri": "likewise",
    "-m model.ts": "a TorchScript file is run in tests/model/kinds, with torch",
    "-m model.pt2": "likewise",
}
# Pages whose Python blocks need more than a scratch folder.
PYTHON_NOT_RUN = {
    "mmengine.md": "its blocks are parts of configs and of training; see tests/model",
    "server.md": "its block needs a server; see tests/client",
}
# What a block needs beyond the package, by a part of its text.
OPTIONAL = {"import torch\n": "torch", "torch.onnx.": "onnxscript", "import onnx\n": "onnx"}


def commands(text: str) -> list[str]:
    return [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("itk_infer ")]


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


def pictures_and_cells(folder: Path) -> None:
    """Three pictures of bright spots, and a network that finds what is bright."""
    onnx = pytest.importorskip("onnx")
    for package in ("tifffile", "pycocotools"):
        pytest.importorskip(package)
    from PIL import Image

    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    for name in ("one.png", "two.jpg", "three.tif"):
        picture = random.integers(0, 60, (96, 128, 3), np.uint8)
        for y, x in random.integers(10, 80, (5, 2)):
            picture[y : y + 12, x : x + 15] += 180
        Image.fromarray(picture).save(folder / "pictures" / name)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["picture", "axes"], ["logits"])],
        "cells",
        [helper.make_tensor_value_info("picture", kind, ["N", 3, "Y", "X"])],
        [helper.make_tensor_value_info("logits", kind, ["N", 1, "Y", "X"])],
        [onnx.numpy_helper.from_array(np.array([1], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    page = (REPOSITORY / "docs" / "images2d.md").read_text("utf-8")
    spec = next(text for language, text in FENCE.findall(page) if language == "json")
    helper.set_model_props(model, {"itk_infer": spec})
    onnx.save(model, folder / "cells.onnx")


def chest_model(folder: Path) -> None:
    """What docs/classify.md takes for granted: a network with its spec, and pictures."""
    from support.classify_files import CLASSIFY, brightness_network, grey_dicom

    brightness_network(folder / "chest.onnx", CLASSIFY)
    for number in range(3):
        grey_dicom(folder / f"pictures/a/{number}.dcm", number / 4, number)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the pages take for granted."""
    (tmp_path / "scans").mkdir()
    for name, source in FILES.items():
        shutil.copyfile(DEMO / source, tmp_path / name)
    if importlib.util.find_spec("pydicom"):
        from support.dicom_files import save_series, voxels

        place = {"position": [(0.0, 0.0, float(k)) for k in range(20)], "spacing": (1.0, 1.0)}
        for name in ("T1", "T2"):
            folder = tmp_path / "studies" / "p1" / name
            save_series(folder, voxels((20, 30, 24), np.int16), series=name, SeriesDescription=name, **place)
        (tmp_path / "rule.json").write_text('{"series": {"SeriesDescription": "T1"}}', "utf-8")
    labels = [{"value": 1, "name": "head"}, {"value": 2, "name": "body and tail"}]
    (tmp_path / "my.spec.json").write_text(json.dumps({"output": {"labels": labels}}), "utf-8")
    (tmp_path / "truths").mkdir()
    for side in ("left", "right"):  # anything on the grid of the scans
        scan = sitk.ReadImage(str(tmp_path / "scans" / f"{side}.nii.gz"))
        sitk.WriteImage(sitk.OtsuThreshold(scan), str(tmp_path / "truths" / f"{side}_seg.nii.gz"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def type_command(command: str) -> None:
    if not any(part in command for part in NOT_RUN):
        stated = STATED.search(command)
        assert main(shlex.split(command, comments=True)[1:]) == (int(stated[1]) if stated else 0), command


def run_python(text: str, page: Path, namespace: dict[str, Any]) -> None:
    for part, package in OPTIONAL.items():
        if part in text:
            pytest.importorskip(package)
    with warnings.catch_warnings():
        if "import torch\n" in text:
            warnings.simplefilter("ignore", FutureWarning)  # of torch's exporter, about itself
        exec(compile(text, page.name, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_does_what_it_says(page: Path, scratch: Path) -> None:
    """Commands and Python blocks of a page, from top to bottom, in one folder and one namespace."""
    pytest.importorskip("onnxruntime")
    content = page.read_text("utf-8")
    if "old.onnx" in content:
        old_model(scratch / "old.onnx")
    if "nodule.onnx" in content:
        pytest.importorskip("onnx")
        make_classifier(scratch / "nodule.onnx")
        make_archive(scratch / "archive")
    if "chest.onnx" in content:
        pytest.importorskip("onnx")
        chest_model(scratch)
    if "cells.onnx" in content:
        pictures_and_cells(scratch)
    namespace: dict[str, Any] = {"__name__": "docs"}
    for language, text in FENCE.findall(content):
        if language == "bash":
            for command in commands(text):
                type_command(command)
        elif language == "python" and page.name not in PYTHON_NOT_RUN:
            run_python(text, page, namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_json_block_is_valid(page: Path) -> None:
    for language, text in FENCE.findall(page.read_text("utf-8")):
        document = json.loads(text) if language == "json" else {}
        if is_classification(document):
            parse_classify_spec(document, page.name)
        elif not {"event", "recipe", "ensemble"} & document.keys():  # those are no specs
            parse_spec(document, page.name)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_link_leads_somewhere(name: str) -> None:
    """Of the pages outside docs/; of those inside, mkdocs --strict sees to it."""
    links = re.findall(r"\]\(([^)#]+)", (REPOSITORY / name).read_text("utf-8"))
    assert not [link for link in links if "://" not in link and not (REPOSITORY / link).exists()]


def test_every_exception_is_still_needed() -> None:
    everything = "".join(page.read_text("utf-8") for page in PAGES)
    assert not [part for part in NOT_RUN if part not in everything]
    assert not PYTHON_NOT_RUN.keys() - {page.name for page in PAGES}
