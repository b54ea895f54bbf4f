"""What a path names, which folds are run, and where plans and dataset come from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.nnunet_folder import DATASET, plans, write_model

from itk_infer.errors import ConfigError, ModelError
from itk_infer.model.kinds.nnunet.folder import is_nnunet, open_folder
from itk_infer.model.registry import kind_of

NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def touch(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def empty_model(root: Path, *files: str) -> Path:
    """A model folder of files without content, which recognition does not read."""
    for file in files or ("fold_0/checkpoint_final.pth",):
        touch(root / file)
    touch(root / "plans.json", json.dumps(plans()))
    touch(root / "dataset.json", json.dumps(DATASET))
    return root


@pytest.mark.parametrize(
    "path",
    ["", NAME, f"{NAME}/fold_0", f"{NAME}/fold_0/checkpoint_final.pth", f"{NAME}/fold_0/checkpoint_best.pth"],
)
def test_a_model_folder_and_what_is_in_it_is_recognised(tmp_path, path):
    root = empty_model(tmp_path / "Dataset001" / NAME, "fold_0/checkpoint_final.pth", "fold_0/checkpoint_best.pth")
    given = root.parent / path
    assert is_nnunet(given)
    assert kind_of(given).name == "nnunet"
    opened = open_folder(given)
    assert opened.root == root
    assert [fold.checkpoint.name for fold in opened.folds] == [
        "checkpoint_best.pth" if "best" in path else "checkpoint_final.pth"
    ]


def test_a_folder_deep_inside_is_found_and_one_too_deep_is_not(tmp_path):
    empty_model(tmp_path / "a" / "b" / "c" / "d" / NAME)
    assert open_folder(tmp_path / "a").root.name == NAME
    empty_model(tmp_path / "1" / "2" / "3" / "4" / "5" / "6" / NAME)
    assert not is_nnunet(tmp_path / "1")


def test_a_path_relative_to_the_current_folder(tmp_path, monkeypatch):
    root = empty_model(tmp_path / NAME)
    monkeypatch.chdir(root / "fold_0")
    assert open_folder(Path()).root == root
    assert open_folder(Path("..")).root == root


def test_links_to_checkpoints_elsewhere_are_used_by_their_own_names(tmp_path):
    root = empty_model(tmp_path / NAME)
    file = root / "fold_0" / "checkpoint_final.pth"
    file.rename(tmp_path / "3f2a")
    file.symlink_to(tmp_path / "3f2a")
    assert is_nnunet(file)
    assert open_folder(file).folds[0].checkpoint == file


@pytest.mark.parametrize(
    "files",
    [
        ["plans.json"],
        ["fold_0/model.pth"],
        ["fold_0/progress.png", "dataset.json"],
        ["fold_x/checkpoint_final.pth"],
        ["checkpoint_final.pth"],
    ],
    ids=["plans alone", "another name", "no checkpoint", "no fold", "checkpoint outside a fold"],
)
def test_other_folders_are_not(tmp_path, files):
    for file in files:
        touch(tmp_path / "m" / file)
    assert not is_nnunet(tmp_path / "m")
    assert not any(is_nnunet(tmp_path / "m" / file) for file in files)


def test_what_cannot_be_read_is_not_and_raises_nothing(tmp_path):
    assert not is_nnunet(tmp_path / "absent")
    assert not is_nnunet(tmp_path / ("x" * 5000))
    assert not is_nnunet(Path("a\0b"))


def test_several_models_are_listed(tmp_path):
    for name in ("2d", "3d_fullres"):
        empty_model(tmp_path / "Dataset001" / f"nnUNetTrainer__nnUNetPlans__{name}")
    assert is_nnunet(tmp_path)
    with pytest.raises(
        ModelError, match=r"holds 2 models; give one of them: Dataset001.*__2d, Dataset001.*3d_fullres"
    ):
        open_folder(tmp_path)


def test_version_1_and_interactive_models_are_refused_in_words(tmp_path):
    touch(tmp_path / "v1" / "plans.pkl")
    touch(tmp_path / "v1" / "fold_0" / "model_final_checkpoint.model")
    touch(tmp_path / "all" / "all" / "model_final_checkpoint.model")
    for name in ("v1", "all"):
        assert is_nnunet(tmp_path / name)
        with pytest.raises(ModelError, match=r"nnU-Net v1 .*only version 2"):
            open_folder(tmp_path / name)
    touch(empty_model(tmp_path / "interactive") / "inference_session_class.json")
    with pytest.raises(ModelError, match="nnInteractive"):
        open_folder(tmp_path / "interactive")
    with pytest.raises(ModelError, match="has no fold with a checkpoint"):
        open_folder(empty_model(tmp_path / "none", "fold_0/progress.png"))


def final(*folds: str) -> list[str]:
    return [f"fold_{fold}/checkpoint_final.pth" for fold in folds]


@pytest.mark.parametrize(
    ("there", "asked", "used", "note"),
    [
        (final("0"), None, ["0"], "fold 0 is used, the only one there"),
        (final("10", "2", "0"), None, ["0", "2", "10"], "folds 0, 2 and 10 are used, and their logits averaged"),
        (final("1", "0", "all"), None, ["0", "1"], "averaged; there is also all"),
        (final("all"), None, ["all"], "fold all is used, the only one"),
        (final("all", "0"), ("all",), ["all"], "fold all is used; there is also 0"),
        (final("0", "1", "2"), ("2", "0"), ["2", "0"], "folds 2 and 0 are used.*there is also 1"),
    ],
    ids=["one", "all numbered ones", "fold_all beside", "fold_all alone", "fold_all asked for", "some"],
)
def test_which_folds_are_used(tmp_path, there, asked, used, note):
    opened = open_folder(empty_model(tmp_path, *there), asked)
    assert [fold.name for fold in opened.folds] == used
    assert re.search(note, opened.notes[0])


def test_a_fold_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path):
    root = empty_model(tmp_path, *final("0", "1"))
    with pytest.raises(ModelError, match=r"there is no fold 2 and all; there is 0 and 1"):
        open_folder(root, ("0", "2", "all"))
    with pytest.raises(ConfigError, match="the path names fold 0, and `folds` others"):
        open_folder(root / "fold_0", ("1",))
    assert open_folder(root / "fold_1", ("1",)).folds[0].name == "1"


def test_which_checkpoint_is_used(tmp_path):
    root = empty_model(tmp_path, *final("0", "1"), "fold_0/checkpoint_best.pth", "fold_2/checkpoint_best.pth")
    touch(root / "fold_3" / "checkpoint_latest.pth")

    def used(**choice):
        opened = open_folder(root, **choice)
        return [f"{fold.name} {fold.checkpoint.stem[11:]}" for fold in opened.folds], " | ".join(opened.notes)

    assert used()[0] == ["0 final", "1 final", "2 best"]
    assert "fold 2: checkpoint_best.pth is used, as there is no checkpoint_final.pth" in used()[1]
    assert (
        "fold 3: there is no checkpoint_final.pth or checkpoint_best.pth, but checkpoint_latest.pth" in used()[1]
    )
    assert used(checkpoint="best")[0] == ["0 best", "2 best"]
    assert (
        "fold 1: there is no checkpoint_best.pth, but checkpoint_final.pth, so it is not"
        in used(checkpoint="best")[1]
    )
    with pytest.raises(ModelError, match=r"fold_1: there is no checkpoint_best\.pth, but checkpoint_final\.pth"):
        open_folder(root, ("1",), "best")
    with pytest.raises(ModelError, match=r"fold_3: there is no checkpoint_final\.pth or"):
        open_folder(root / "fold_3")
    assert open_folder(root / "fold_3" / "checkpoint_latest.pth").folds[0].name == "3"
    with pytest.raises(ConfigError, match=r"names checkpoint_final\.pth; leave `checkpoint=best` out"):
        open_folder(root / "fold_0" / "checkpoint_final.pth", None, "best")


def test_missing_json_files_come_from_the_checkpoint(tmp_path):
    pytest.importorskip("torch", reason="needs the nnunet extra")
    root = write_model(tmp_path / "m", json_files=False)
    opened = open_folder(root)
    assert opened.plans == plans()
    assert opened.dataset == DATASET
    assert "plans.json is missing; the copy in fold_0/checkpoint_final.pth is used" in opened.notes
    (root / "dataset.json").write_text(json.dumps({**DATASET, "name": "other"}))
    assert open_folder(root).dataset["name"] == "other"
    import torch

    bare = torch.load(root / "fold_0" / "checkpoint_final.pth", weights_only=False)
    bare["init_args"] = {}
    torch.save(bare, root / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(
        ModelError, match=r"plans\.json: is missing, and checkpoint_final\.pth of fold 0 holds no copy"
    ):
        open_folder(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not valid JSON"), ("[1]", "is not a JSON object"), ("\udcff", "is not valid JSON")],
    ids=["cut", "a list", "not text"],
)
def test_json_files_that_cannot_be_read(tmp_path, content, message):
    root = empty_model(tmp_path)
    (root / "dataset.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=rf"dataset\.json: {message}"):
        open_folder(root)


def test_recognition_imports_nothing_heavy(tmp_path):
    root = empty_model(tmp_path / NAME)
    code = (
        "import sys; from pathlib import Path; from itk_infer.model.kinds.nnunet.folder import open_folder\n"
        f"open_folder(Path({str(root)!r}))\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'SimpleITK')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env=os.environ).returncode == 0


def test_folders_that_cannot_be_read(tmp_path, monkeypatch):
    root = empty_model(tmp_path / "above" / NAME)
    (tmp_path / "above" / "closed").mkdir()
    listed = Path.iterdir

    def iterdir(self):
        if self.name == closed:
            raise PermissionError(13, "Permission denied")
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    closed = "closed"
    assert open_folder(tmp_path / "above").root == root
    closed = NAME
    assert not is_nnunet(root / "fold_0" / "absent")
    (root / "plans.json").unlink()
    assert not is_nnunet(root)
    with pytest.raises(ModelError, match=r"cannot be read \(Permission denied\)"):
        open_folder(root)


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(ModelError, match=r"holds no model folder of nnU-Net \(plans\.json"):
        open_folder(tmp_path)
    with pytest.raises(ModelError, match="holds no model folder"):
        open_folder(tmp_path / "absent")


def test_no_fold_that_can_be_used(tmp_path):
    root = empty_model(tmp_path, "fold_0/checkpoint_latest.pth")
    with pytest.raises(ModelError, match=r"no fold can be used; fold 0: there is no checkpoint_final\.pth or"):
        open_folder(root)
