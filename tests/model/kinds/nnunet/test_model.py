"""A model that is read as a whole: files that belong together, and files that do not."""

from __future__ import annotations

import json

import pytest
from support.nnunet_folder import DATASET, architecture, configuration, older_configuration, plans, random_state
from support.nnunet_folder import write_model as write

from itk_infer.errors import ModelError

torch = pytest.importorskip("torch", reason="needs the nnunet extra")

from itk_infer.model.kinds.nnunet.kind import build_network  # noqa: E402
from itk_infer.model.kinds.nnunet.model import read_model  # noqa: E402


def test_a_model(tmp_path):
    model = read_model(write(tmp_path / "m", ("0", "1")))
    assert model.notes == (
        "folds 0 and 1 are used, and their logits averaged",
        "configuration 3d_fullres, trained by nnUNetTrainer",
        "nnU-Net stores no orientation: images must be stored as those it was trained on",
    )
    assert model.document["window"]["mirror_axes"] == [0, 1, 2]
    assert (model.inputs, model.previous_stage, model.previous_labels) == (1, None, ())


def test_no_mirroring_is_said(tmp_path):
    assert "its trainer allows no mirroring" in read_model(write(tmp_path / "m", axes=None)).notes


def test_a_second_stage_of_a_cascade(tmp_path):
    plan = plans({
        "3d_lowres": configuration(next_stage="3d_cascade_fullres"),
        "3d_cascade_fullres": configuration(previous_stage="3d_lowres"),
    })  # fmt: skip
    dataset = {**DATASET, "labels": {"background": 0, "a": 3, "b": 5, "ignore": 9}}
    state = random_state(architecture(), inputs=3)
    model = read_model(write(tmp_path / "m", plan=plan, dataset=dataset, state=state, name="3d_cascade_fullres"))
    assert (model.previous_stage, model.previous_labels, model.inputs) == ("3d_lowres", (3, 5), 3)
    assert model.document["input"]["channels"] == ["MRI"]
    with torch.inference_mode():
        assert build_network(model).eval()(torch.ones((1, 3, 8, 16, 12))).shape == (1, 3, 8, 16, 12)


def test_the_digest_is_that_of_all_files(tmp_path):
    root = write(tmp_path / "m", ("0", "1"), ("final", "best"))
    torch.save({**torch.load(root / "fold_1/checkpoint_best.pth", weights_only=False), "current_epoch": 9},
               root / "fold_1/checkpoint_best.pth")  # fmt: skip
    whole = read_model(root).digest
    digests = {
        whole,
        read_model(root, ("0",)).digest,
        read_model(root, ("1",)).digest,
        read_model(root, checkpoint="best").digest,
    }
    (root / "dataset.json").write_text(
        json.dumps({**DATASET, "labels": {"background": 0, "other": 1, "right": 2}})
    )
    digests.add(read_model(root).digest)
    (root / "dataset.json").write_text(json.dumps(DATASET, indent=8))
    assert read_model(root).digest == whole
    (root / "plans.json").write_text(json.dumps(plans(plans_name="other")))
    digests.add(read_model(root).digest)
    assert len(digests) == 6


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("plans.json", plans({"2d": configuration(2)}),
         r"plans\.json: has no configuration 3d_fullres of the checkpoint; there are 2d"),
        ("dataset.json", {**DATASET, "channel_names": {"0": "T1", "1": "T2"}},
         r"dataset\.json: names 2 channels \(T1, T2\), and the plans normalise 1"),
        ("dataset.json", {**DATASET, "labels": {"background": 0, "a": 1}},
         r"dataset\.json: its labels are 2 output channels, and the weights in .*fold_0.* have 3; is it of another"),
    ],
    ids=["configuration", "channels", "labels"],
)  # fmt: skip
def test_json_files_of_another_model_are_one_sentence(tmp_path, file, content, message):
    root = write(tmp_path / "m")
    (root / file).write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message) as caught:
        read_model(root)
    assert "\n" not in str(caught.value)


def test_channels_that_do_not_fit_the_weights(tmp_path):
    root = write(tmp_path / "m")
    two = configuration(normalization_schemes=["NoNormalization"] * 2, use_mask_for_norm=[False] * 2)
    (root / "plans.json").write_text(json.dumps(plans({"3d_fullres": two})))
    (root / "dataset.json").write_text(json.dumps({**DATASET, "channel_names": {"0": "T1", "1": "T2"}}))
    with pytest.raises(ModelError, match=r"dataset\.json: names 2 input channels, and the weights in .* take 1"):
        read_model(root)


def test_plans_that_differ_from_those_of_training_are_used_and_said(tmp_path):
    root = write(tmp_path / "m")
    note = "plans.json differs from the plans in checkpoint_final.pth; plans.json is used, as nnU-Net does"
    for same in (plans(plans_name="renamed"), plans({"3d_fullres": older_configuration()})):
        (root / "plans.json").write_text(json.dumps(same))
        assert note not in read_model(root).notes
    (root / "plans.json").write_text(json.dumps(plans({"3d_fullres": configuration(spacing=[1, 1, 1])})))
    model = read_model(root)
    assert note in model.notes
    assert model.document["input"]["spacing"] == [1, 1, 1]
    (root / "plans.json").write_text(json.dumps(plans({"3d_fullres": configuration()})))
    path = root / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["init_args"]["plans"] = {"configurations": {}}
    torch.save(content, path)
    assert note in read_model(root).notes


def test_a_checkpoint_that_does_not_name_its_configuration(tmp_path):
    root = write(tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres", name="")
    assert read_model(root).configuration.name == "3d_fullres"
    with pytest.raises(ModelError, match="does not name its configuration, and the folder other is not called"):
        read_model(root.rename(tmp_path / "other"))


def test_a_trainer_that_normalises_batches(tmp_path):
    """nnUNetTrainerBN replaces the normalisation of the plans; its weights have statistics of training."""
    state = random_state(architecture(norm_op="torch.nn.BatchNorm3d"))
    model = read_model(write(tmp_path / "m", state=state, trainer="nnUNetTrainerBN"))
    assert "the weights are those of batch normalisation, as nnUNetTrainerBN builds it" in model.notes
    network = build_network(model)
    assert isinstance(network.encoder.stages[0][0].convs[0].norm, torch.nn.BatchNorm3d)
    assert network.encoder.stages[0][0].convs[0].conv.bias is not None  # nothing cancels it


def test_folds_that_differ(tmp_path):
    root = write(tmp_path / "m", ("0", "1"))
    path = root / "fold_1" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    torch.save({**content, "inference_allowed_mirroring_axes": (0,)}, path)
    model = read_model(root)
    assert "folds allow different mirror axes; those of fold_0 are used, as nnU-Net does" in model.notes
    assert model.document["window"]["mirror_axes"] == [0, 1, 2]
    content["init_args"]["configuration"] = "3d_lowres"
    torch.save(content, path)
    with pytest.raises(
        ModelError, match=r"fold_1.* is of the configuration 3d_lowres, and .*fold_0.* of 3d_fullres"
    ):
        read_model(root)
