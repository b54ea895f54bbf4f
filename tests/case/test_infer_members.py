"""Members of one model on whole cases: what is decided, measured, recorded, and refused."""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np
import pytest
import SimpleITK as sitk
import zarr

from itk_infer.case.loaded_model import LoadedModel
from itk_infer.engine.memory import predict_memory
from itk_infer.errors import ConfigError
from itk_infer.model.backend import NetworkShape
from itk_infer.model.inferer.perturb import perturbations, unchanged
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.model.mean_of_networks import averaged
from itk_infer.model.members import members_of
from itk_infer.options import Options
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.ledger import Ledger
from itk_infer.run.settings import RunSettings
from itk_infer.spec import parse_spec
from itk_infer.volume.volume import volume_of

IMAGE = np.random.default_rng(0).normal(0, 2, (11, 12, 13)).astype(np.float32)


def scan(spacing=(1.0, 1.2, 2.0)):
    image = sitk.GetImageFromArray(IMAGE)
    image.SetSpacing(spacing)
    return image


def network(windows, factor=1.0):
    """Three channels with a neighbourhood, so that a shift or a mirroring shows."""
    near = np.concatenate([windows[..., 1:], windows[..., -1:]], axis=-1)
    return np.concatenate([windows * 0 + 0.3, factor * (windows + near), 1 - windows], axis=1)


def model(decision="argmax", net=network, **document):
    labels = {"labels": [{"value": 1}, {"value": 2}, {"value": 3}]} if decision == "threshold" else {}
    window = {"patch_size": [4, 5, 6], "mirror_axes": [0, 2], **document.pop("window", {})}
    inputs = {"orientation": None, **document.pop("input", {})}
    spec = parse_spec({"window": window, "input": inputs, "output": {"decision": decision, **labels}}, "test")
    return FakeBackend(net, spec)


def logits_of(predictor, tmp_path):
    """What a predictor writes as logits, in float64; and what it measured."""
    sitk.WriteImage(scan(), str(tmp_path / "a.mha"))
    output = tmp_path / f"out {len(list(tmp_path.iterdir()))}"
    summary = run_folder(predictor, RunSettings(tmp_path / "a.mha", output, save_logits=True))
    assert summary.exit_code == 0
    values = zarr.open_array(output / "a.zarr", mode="r")
    return values[:].astype(float), values.attrs["about"]["values"], output


def share(logits, decision):
    if decision == "threshold":
        return 1 / (1 + np.exp(-logits))
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def alone(view, decision, tmp_path, **document):
    """Probabilities of one member: the same model with its view inside the network."""
    single = model(decision, lambda windows: np.ascontiguousarray(view(network)(windows)), **document)
    logits, values, _ = logits_of(Predictor(single, orientation="input"), tmp_path)
    assert values == "logits"
    return share(logits, decision)


@pytest.mark.parametrize("decision", ["argmax", "threshold"])
def test_the_mean_of_probabilities_decides(tmp_path, decision):
    expected = np.mean([alone(view, decision, tmp_path) for view in (unchanged, *perturbations(4, 1))], axis=0)
    together, values, output = logits_of(Predictor(model(decision), orientation="input", stability=4), tmp_path)
    assert values == "probabilities"
    np.testing.assert_allclose(together, expected, atol=2e-3)  # logits are stored in half precision
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(output / "a.mha")))
    wanted = expected.argmax(axis=0)
    if decision == "threshold":
        wanted = np.zeros(labels.shape, int)
        for channel in range(3):
            wanted[expected[channel] > 0.5] = channel + 1
        sure = np.abs(expected - 0.5).min(axis=0) > 0.002
    else:
        sure = np.diff(np.sort(expected, axis=0)[-2:], axis=0)[0] > 0.002
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(labels[sure], wanted[sure])


def test_mirrorings_are_members(tmp_path):
    """Of probabilities, where `tta` alone averages logits."""
    from itk_infer.model.inferer.perturb import flipped

    views = [flipped(axes) for axes in ((), (2,), (4,), (2, 4))]
    expected = np.mean([alone(view, "argmax", tmp_path) for view in views], axis=0)
    asked = {"orientation": "input", "tta": True}
    together, values, _ = logits_of(Predictor(model(), agreement=True, **asked), tmp_path)
    assert values == "probabilities"
    np.testing.assert_allclose(together, expected, atol=2e-3)
    _, values, _ = logits_of(Predictor(model(), **asked), tmp_path)
    assert values == "logits"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_another_grid_windows_and_batches(batch, threads):
    """The agreement does not depend on how the work is cut up."""
    other = {"input": {"spacing": [1.3, 0.9, None]}}

    def measured(**more):
        return Predictor(model(**other), stability=2, **more)(scan()).measurements

    found, expected = measured(batch=batch, threads=threads), measured()
    assert found.members == 3
    assert found.windows == expected.windows > 0
    for one, two in zip(found.labels, expected.labels, strict=True):
        assert one.voxels == two.voxels
        assert one.agreement == pytest.approx(two.agreement, abs=1e-6)
    assert found.mutual_information == pytest.approx(expected.mutual_information, rel=1e-4)


def test_a_whole_volume_as_one_window_and_a_backend_that_uses_its_memory_again():
    """An answer must stay as it is while other members use the network."""
    kept = np.empty((1, 3, 11, 12, 13), np.float32)

    def into_the_same_memory(windows):
        kept[...] = network(windows)
        return kept

    def found(net):
        predictor = Predictor(model(net=net, window={"patch_size": None, "mirror_axes": []}), stability=3)
        predictor.model.workspaces.host.slab_bytes = 2000  # so that an answer is used piece by piece
        return predictor(scan())

    again, expected = found(into_the_same_memory), found(network)
    assert sitk.GetArrayFromImage(again.labels).tolist() == sitk.GetArrayFromImage(expected.labels).tolist()
    assert again.measurements.agreement == expected.measurements.agreement < 1


def test_agreement_is_that_of_the_masks_of_members():
    labels = [
        sitk.GetArrayFromImage(Predictor(model(net=view(network)))(scan()).labels)
        for view in (unchanged, *perturbations(2, 1))
    ]
    found = Predictor(model(), stability=2)(scan()).measurements
    for item in found.labels:
        masks = [mask == item.label.value for mask in labels]
        pairs = [(0, 1), (0, 2), (1, 2)]
        dice = [2 * (masks[i] & masks[j]).sum() / (masks[i].sum() + masks[j].sum()) for i, j in pairs]
        assert item.agreement == pytest.approx(np.mean(dice), abs=1e-3)
    assert found.agreement == min(item.agreement for item in found.labels)
    assert 0 < found.mutual_information < 0.2


def test_a_device_measures_the_same():
    pytest.importorskip("torch")
    from itk_infer.engine.device.workspace import DeviceWorkspace

    def measured(on_device):
        predictor = Predictor(model(net=lambda windows: _as_given(windows)), stability=3)
        if on_device:
            predictor.model.workspaces._device = DeviceWorkspace("cpu")
        return predictor(scan()).measurements

    host, device = measured(False), measured(True)
    assert device.agreement == pytest.approx(host.agreement, abs=1e-3)
    assert device.mutual_information == pytest.approx(host.mutual_information, rel=1e-3)


def _as_given(windows):
    if isinstance(windows, np.ndarray):
        return network(windows)
    import torch

    return torch.from_numpy(network(windows.numpy()))


def test_members_of_an_ensemble_are_compared_without_being_asked():
    members = [model(net=lambda windows, f=factor: network(windows, f)) for factor in (1.0, 1.3)]
    found = Predictor(averaged(members, ["a", "b"]))(scan()).measurements
    assert found.members == 2
    assert 0.5 < found.agreement < 1
    logits = Predictor(averaged(members, ["a", "b"], mean="logits"), agreement=True)(scan()).measurements
    assert logits.members == 2
    assert logits.agreement == pytest.approx(found.agreement, abs=0.02)
    other_windows = [members[0], model(net=network, window={"patch_size": [5, 4, 7]})]
    apart = Predictor(averaged(other_windows, ["a", "b"], mean="logits"))(scan()).measurements
    assert apart.members == 2
    for option in ({"stability": 2}, {"mc_dropout": 3}, {"dropout_seed": 3}):
        with pytest.raises(ConfigError, match="the models of an ensemble are compared as they are"):
            Predictor(averaged(members, ["a", "b"]), **option)


def test_what_there_is_not_is_refused():
    for options, words in (
        ({"agreement": True}, "no folds, and its windows are not mirrored"),
        ({"mc_dropout": 3}, "have no dropout"),
        ({"dropout_seed": 3}, "is the seed of `mc_dropout`: give that, too"),
        ({"stability": 2, "mc_dropout": 2}, "`stability` and `mc_dropout` exclude each other"),
        ({"stability": 2, "agreement": True}, "`agreement` and `stability` exclude each other"),
    ):
        with pytest.raises(ConfigError, match=words):
            Predictor(model(), **options)
    for options in (
        {"stability": -1},
        {"stability": 17},
        {"mc_dropout": 1},
        {"mc_dropout": 65},
        {"dropout_seed": -1},
        {"stability": True},
    ):
        with pytest.raises(ConfigError, match="give a whole number from"):
            Options(**options)
    assert len(members_of(model(), Options(), None)) == 1


def test_memory_is_planned_for_every_ring():
    grid = volume_of([scan()], "a").grid
    one, five = (Predictor(model(), stability=n).plan(grid, 4) for n in (0, 4))
    more = predict_memory(five.work).running - predict_memory(one.work).running
    assert more >= 4 * one.work.accumulator
    assert five.device_memory >= one.device_memory + 4 * one.work.accumulator


def test_members_are_part_of_the_identity():
    plain, stable = (Predictor(model(), stability=n).identity for n in (0, 2))
    assert {key for key in plain if plain[key] != stable[key]} == {"stability"}


def test_the_ledger_has_what_was_measured(tmp_path):
    sitk.WriteImage(scan(), str(tmp_path / "a.mha"))
    settings = RunSettings(tmp_path / "a.mha", tmp_path / "out", save=("report", "workbook", "montage"))
    assert run_folder(Predictor(model(), stability=3), settings).exit_code == 0
    with closing(Ledger(tmp_path / "out", read_only=True)) as ledger:
        results = ledger.cases()["a.mha"].results
    assert results["members"] == 4
    agreements = {item["name"]: item["agreement"] for item in results["findings"]}
    assert results["agreement"] == min(agreements.values())
    assert agreements[results["least_agreed_label"]] == results["agreement"]
    (case,) = json.loads((tmp_path / "out" / "report.json").read_text())["cases"]
    assert case["agreement"] == case["certainty"] == results["agreement"]
    assert case["mutual_information"] == results["mutual_information"]
    assert f"agreement of the members {results['agreement']:.2f}" in (tmp_path / "out" / "report.html").read_text()


def test_a_model_without_members_has_no_such_numbers(tmp_path):
    sitk.WriteImage(scan(), str(tmp_path / "a.mha"))
    run_folder(Predictor(model()), RunSettings(tmp_path / "a.mha", tmp_path / "out"))
    with closing(Ledger(tmp_path / "out", read_only=True)) as ledger:
        results = ledger.cases()["a.mha"].results
    assert "agreement" not in results
    assert "agreement" not in results["findings"][0]
    assert Predictor(model())(scan()).measurements.agreement is None


def test_nothing_found_by_any_member_is_no_agreement():
    def background(windows):
        return np.concatenate([windows * 0 + 5, windows * 0, windows * 0], axis=1)

    found = Predictor(model(net=background), stability=2)(scan()).measurements
    assert found.agreement == 0.0
    assert found.least_agreed is None
    assert found.mutual_information is None


def test_a_previous_stage_has_one_member():
    """What it costs to run it several times would not be asked for."""
    stage = model()
    second = model()
    second.previous = stage
    loaded = LoadedModel(second, Options(stability=4))
    assert len(loaded.blended_apart) == 5
    assert len(loaded.previous.blended_apart) == 1


@pytest.mark.parametrize("shape", [NetworkShape(), NetworkShape(batch=2)], ids=["any batch", "batch of two"])
def test_progress_counts_the_windows_of_all_members(shape):
    backend = model()
    backend.shape = shape
    seen = []
    predictor = Predictor(backend, stability=2)
    predictor.run(
        volume_of([scan()], "a"), lambda header: [LabelMapSink(None, header)], lambda *at: seen.append(at)
    )
    done, every = seen[-1]
    assert done == every == 3 * len(predictor.plan(volume_of([scan()], "a").grid, 4).windows)
    assert [at[0] for at in seen] == sorted(at[0] for at in seen)
