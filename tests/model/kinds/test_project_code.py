"""A user's own modules: found beside the config, part of the digest, never mistaken for others."""

from __future__ import annotations

import gc
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.project_code import check_imports, code_digest, importable

PROGRAM = """
import sys
from pathlib import Path
from itk_infer.model.registry import load_backend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
before = list(sys.path)
files = Path(sys.argv[1]), Path(sys.argv[2])
backend = load_backend("mmengine", files, SpecSources(), Options(device="cpu", provider="cpu"))
assert sys.path == before, sys.path
import numpy as np
print(backend.digest, float(backend.forward(np.ones((1, 1, 1, 1, 1), np.float32)).ravel()[0]))
"""
NETWORK = """
from mmengine.registry import MODELS
from torch import nn
from own_numbers import FACTOR

@MODELS.register_module(force=True)
class OwnNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv3d(1, 1, 1, bias=False)
    def forward(self, inputs, mode="tensor"):
        return self.backbone(inputs) * FACTOR
"""
BODY = "model = dict(type='OwnNetwork')\nwl, ww = 0, 1\n"


@pytest.fixture
def project(tmp_path):
    torch = pytest.importorskip("torch", reason="needs the mmengine extra")
    pytest.importorskip("mmengine", reason="needs the mmengine extra")
    files = {
        "own_network.py": NETWORK,
        "own_numbers.py": "FACTOR = 3\n",
        "_base_/more.py": "custom_imports = dict(imports=['own_network'], allow_failed_imports=False)\n",
        "config.py": "_base_ = ['_base_/more.py']\n" + BODY,
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    torch.save({"backbone.weight": torch.full((1, 1, 1, 1, 1), 2.0)}, tmp_path / "net.pth")
    return tmp_path


def load(folder, cwd=None):
    words = [sys.executable, "-c", PROGRAM, str(folder / "config.py"), str(folder / "net.pth")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd or folder.parent, check=False)
    assert done.returncode == 0, done.stderr
    digest, value = done.stdout.split()
    return digest, float(value)


def test_modules_beside_the_config_are_found_and_are_in_the_digest(project):
    first, value = load(project)
    assert value == 6  # weight 2, factor 3
    (project / "own_numbers.py").write_text("FACTOR = 4\n")
    second, value = load(project)
    assert value == 8
    assert first != second


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("own_network.py", True),
        ("own_numbers.py", True),
        ("own_package/__init__.py", True),
        ("own_package/part.py", True),
        ("unrelated.py", False),
    ],
)
def test_what_modules_import_counts_and_nothing_else(tmp_path, file, counts):
    for name in ("own_network.py", "own_numbers.py", "own_package/__init__.py", "own_package/part.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("import own_numbers\nimport own_package.part\n" if "network" in name else "")
    (tmp_path / "config.py").write_text(BODY)
    before = code_digest(tmp_path / "config.py", ["own_network"])
    (tmp_path / file).write_text("import own_numbers\nimport own_package.part\nX = 1\n")
    assert (code_digest(tmp_path / "config.py", ["own_network"]) != before) == counts


def test_a_module_of_the_same_name_in_this_process_is_refused(tmp_path, monkeypatch):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one_of_two.py").write_text(f"NAME = {folder!r}\n")
    with importable(tmp_path / "a"):
        import one_of_two  # type: ignore[import-not-found]

        monkeypatch.setitem(sys.modules, "one_of_two", one_of_two)
    assert str(tmp_path / "a") not in sys.path
    check_imports(["one_of_two", "sys", "os.path"], tmp_path / "a")
    with pytest.raises(
        ModelError, match=r"one_of_two.*imported from .*a.one_of_two\.py, not from .*b.one_of_two\.py; rename"
    ):
        check_imports(["one_of_two"], tmp_path / "b")


def test_installed_modules_are_not_in_the_digest(tmp_path):
    (tmp_path / "config.py").write_text("import json\nimport numpy\nimport itk_infer\n")
    assert code_digest(tmp_path / "config.py", ["numpy", "json.decoder", "itk_infer.spec"]) == b""


def test_a_folder_that_is_importable_anyway_stays_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path.resolve()), sysconfig.get_path("stdlib")])
    before = list(sys.path)
    with importable(tmp_path):
        sys.path.insert(0, "put there by a config")
    assert sys.path == ["put there by a config", *before]
    with importable(tmp_path):
        sys.path[:] = ["only this"]
    assert sys.path == ["only this"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            "custom_imports = dict(imports=['nothing_there'], allow_failed_imports=False)\n" + BODY,
            r"needs the Python package nothing_there, .*put its folder on PYTHONPATH$",
        ),
        (
            "_base_ = ['../_base_/unet.py']\n" + BODY,
            r"No such file.*unet\.py'; copy that file .* along with the config$",
        ),
        (BODY + "train = dict(\n", "never closed.*; correct the config$"),
        (
            "import os\nroot = os.environ['ROOT']\n" + BODY,
            r"; MMEngine does not run what a config imports: .*default\}\}'$",
        ),
        (BODY.replace("OwnNetwork", "Nowhere"), "; name the module that registers it in custom_imports$"),
    ],
    ids=["missing module", "missing base", "syntax", "lazy import", "unregistered"],
)
# MMEngine leaves its temporary copy of a config open when the config fails.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_the_remedy_is_the_end_of_the_sentence(tmp_path, config, words):
    pytest.importorskip("mmengine", reason="needs the mmengine extra")
    from support.loading import mmengine_backend

    (tmp_path / "config.py").write_text(config)
    with pytest.raises(ModelError, match=words) as caught:
        mmengine_backend(tmp_path / "config.py", Path("net.pth"), device="cpu")
    sentence = str(caught.value)
    del caught
    gc.collect()
    assert "\n" not in sentence
