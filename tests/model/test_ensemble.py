"""Ensembles: the mean of probabilities on the image's own grid, whatever grid and windows each member has."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.case import infer_ensemble
from itk_infer.case.network_run import NetworkRun
from itk_infer.engine.ensemble import around, mean_of, reordered
from itk_infer.engine.ensemble import probabilities as probabilities_of
from itk_infer.engine.native import to_native
from itk_infer.engine.segment import decide
from itk_infer.engine.workspace import Slab
from itk_infer.errors import ConfigError, InputError
from itk_infer.model.backend import NetworkShape
from itk_infer.model.ensemble import Ensemble
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.model.label_match import channel_order
from itk_infer.model.mean_of_networks import MeanOfNetworks, averaged
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.spec import parse_spec
from itk_infer.volume.grid import Grid
from itk_infer.volume.interpolation import AxisMap, ModelGrid

IMAGE = np.random.default_rng(0).normal(0, 2, (11, 12, 13)).astype(np.float32)
IMAGE[:2], IMAGE[:, :, 10:] = 0, 0


def scan(array=IMAGE, spacing=(1.0, 1.2, 2.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    return image


def member(factor, document=None, decision="argmax", **more):
    """Three channels that depend on the voxel; they differ from member to member."""

    def network(windows):
        return np.concatenate([windows * 0 + 0.3, factor * windows, 1 - windows / factor], axis=1)

    labels = [{"value": 1}, {"value": 2}, {"value": 3}] if decision == "threshold" else None
    output = {"decision": decision, **({"labels": labels} if labels else {}), **more}
    window = {"patch_size": [4, 5, 6], **(document or {}).get("window", {})}
    inputs = {"orientation": None, **(document or {}).get("input", {})}
    return FakeBackend(network, parse_spec({"window": window, "input": inputs, "output": output}, "test"))


def probabilities(backend, tmp_path, decision):
    """Of one model on the native grid, from its stored logits."""
    sitk.WriteImage(scan(), str(tmp_path / "a.mha"))
    output = tmp_path / f"single {id(backend)}"
    settings = RunSettings(tmp_path / "a.mha", output, save_logits=True)
    assert run_folder(Predictor(backend, orientation="input"), settings).exit_code == 0
    logits = zarr.open_array(output / "a.zarr", mode="r")[:].astype(np.float64)
    if decision == "threshold":
        return 1 / (1 + np.exp(-logits))
    shares = np.exp(logits - logits.max(0))
    return shares / shares.sum(0)


OTHER_GRID = {"input": {"spacing": [1.3, 0.9, None]}, "window": {"patch_size": [5, 4, 7]}}
CROPPED = {"input": {"crop": {"to": "nonzero"}}, "window": {"patch_size": [3, 6, 5]}}


@pytest.mark.parametrize("decision", ["argmax", "threshold"])
@pytest.mark.parametrize("documents", [(None, None), (None, OTHER_GRID), (OTHER_GRID, CROPPED, None)])
def test_the_mean_of_probabilities_decides(tmp_path, decision, documents):
    members = [member(1 + number, document, decision) for number, document in enumerate(documents)]
    expected = np.mean([probabilities(backend, tmp_path, decision) for backend in members], axis=0)
    predictor = Predictor(Ensemble(members, list("abc")[: len(members)]), orientation="input")
    settings = RunSettings(tmp_path / "a.mha", tmp_path / "out", save_logits=True)
    assert run_folder(predictor, settings).exit_code == 0
    stored = zarr.open_array(tmp_path / "out" / "a.zarr", mode="r")[:]
    np.testing.assert_allclose(stored, expected, atol=3e-3)  # of half precision
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "a.mha")))
    if decision == "argmax":
        clear = np.diff(np.sort(expected, axis=0)[-2:], axis=0)[0] > 5e-3
        decided = expected.argmax(0)
    else:
        clear = np.abs(expected - 0.5).min(0) > 5e-3
        decided = np.select([expected[2] > 0.5, expected[1] > 0.5, expected[0] > 0.5], [3, 2, 1], 0)
    np.testing.assert_array_equal(labels[clear], decided[clear])
    assert clear.mean() > 0.5
    assert len(np.unique(labels)) > 1


def test_all_windows_of_all_members_are_counted():
    seen = []
    predictor = Predictor(Ensemble([member(1), member(2, OTHER_GRID)], ["a", "b"]), orientation="input")
    singles = [Predictor(each) for each in predictor.backend.members]
    windows = sum(len(each.plan(_volume().grid, 4).windows) for each in singles)
    pending = predictor.compute(_volume(), lambda header: [], lambda done, every: seen.append((done, every)))
    assert seen[-1] == (windows, windows)
    assert pending.measurements.windows == windows
    assert predictor.plan(_volume().grid, 4).memory.running > singles[0].plan(_volume().grid, 4).memory.running


def _volume():
    from itk_infer.case.images import volume_of_images

    return volume_of_images(scan())[0]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_streams_that_are_cut_at_different_planes(data):
    """Slabs of parts of a volume, put into the whole and averaged: as of whole arrays."""
    size = data.draw(st.tuples(st.integers(1, 9), st.just(3), st.just(4)))
    streams, arrays = [], []
    for _ in range(data.draw(st.integers(1, 3))):
        first = data.draw(st.integers(0, size[0] - 1))
        last = data.draw(st.integers(first + 1, size[0]))
        part = (slice(first, last), slice(1, 3), slice(0, 4)) if data.draw(st.booleans()) else None
        shape = size if part is None else (last - first, 2, 4)
        inside = np.random.default_rng(len(arrays)).normal(size=(2, *shape)).astype(np.float32)
        heights = data.draw(st.lists(st.integers(1, 4), min_size=1))
        whole = np.broadcast_to(np.float32([0.25, -1])[:, None, None, None], (2, *size)).copy()
        whole[(slice(None), *(part or (slice(None),) * 3))] = inside
        arrays.append(whole)
        streams.append(
            around(_slabs(inside, heights), part, size, lambda channels: np.float32([0.25, -1])[:channels])
        )
    found = list(mean_of(streams))
    assert [slab.z0 for slab in found] == np.cumsum([0, *(slab.logits.shape[1] for slab in found)])[:-1].tolist()
    np.testing.assert_allclose(
        np.concatenate([slab.logits for slab in found], axis=1), np.mean(arrays, axis=0), atol=1e-6
    )


@pytest.mark.parametrize("alone", [True, False])
def test_the_image_of_a_case_is_freed_at_its_end(alone):
    """Not when garbage is collected, which is soon for many small objects, not for a few large arrays."""
    models = [member(0.7), member(1.9, {"input": {"spacing": [2.0, 1.5, 1.5]}})]
    predictor = Predictor(models[1] if alone else Ensemble(models, ("a", "b")))
    gc.collect()
    gc.disable()
    try:
        predictor(scan())
        assert not [kept for kept in gc.get_objects() if type(kept) is NetworkRun]
    finally:
        gc.enable()


def test_slabs_that_were_handed_on_are_not_kept():
    """While the next slab of any member is computed, no member holds one that was averaged."""
    grid = ModelGrid((AxisMap(8, 8, 1.0, 0.0), AxisMap(3, 6, 0.5, 0.0), AxisMap(4, 4, 1.0, 0.0)))
    output = parse_spec({"output": {"decision": "argmax"}}, "test").output
    slabs, held = [], []

    def source():
        for z in range(8):
            held.append(sum(reference() is not None for reference in slabs))
            made = np.random.default_rng(z).normal(size=(2, 1, 6, 4)).astype(np.float32)
            slabs.append(weakref.ref(made))
            yield Slab(z, made)
            del made

    steps = reordered(probabilities_of(source(), output), [1, 0])
    for slab in mean_of([to_native(steps, grid, 1)]):
        assert slab.logits.shape == (2, 1, 3, 4)
        del slab
    assert max(held) == 0


def _slabs(array, heights):
    z, number = 0, 0
    while z < array.shape[1]:
        height = heights[number % len(heights)]
        yield Slab(z, array[:, z : z + height])
        z, number = z + height, number + 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (member(1, {"input": {"orientation": "RAS"}}), "see the image in different orientations, as stored"),
        (member(1, decision="threshold"), "decide by different rules"),
        (member(1, labels=[{"value": 1, "name": "liver"}, {"value": 2}]), "their labels differ"),
        (member(1, {"input": {"channels": ["T1", "T2"]}}), "they take 1 and 2 channels"),
    ],
    ids=["orientation", "decision", "labels", "channels"],
)
def test_what_cannot_be_averaged(other, message):
    with pytest.raises(ConfigError, match=message):
        Ensemble([member(1), other], ["a", "b"])


def test_another_member_or_setting_makes_results_stale():
    def identity(*members, **options):
        return Predictor(Ensemble(members, ["a"] * len(members)), **options).identity

    base = identity(member(1), member(2))
    assert identity(member(1), member(2)) == base
    assert identity(member(1), member(2, OTHER_GRID)) != base
    assert identity(member(1), member(2), member(3)) != base
    assert Predictor(member(1)).identity != base


# --- weights, logits, groups, labels by name --------------------------------------------------


def native_logits(backend, tmp_path):
    """Of one model on the native grid, as stored."""
    sitk.WriteImage(scan(), str(tmp_path / "a.mha"))
    output = tmp_path / f"logits {id(backend)}"
    predictor = Predictor(backend, orientation="input")
    assert run_folder(predictor, RunSettings(tmp_path / "a.mha", output, save_logits=True)).exit_code == 0
    return zarr.open_array(output / "a.zarr", mode="r")[:].astype(np.float64)


def softmax(logits):
    shares = np.exp(logits - logits.max(0))
    return shares / shares.sum(0)


def test_weights_count(tmp_path):
    members = [member(1), member(2, OTHER_GRID)]
    singles = [softmax(native_logits(each, tmp_path)) for each in members]
    found = native_logits(Ensemble(members, ["a", "b"], (3, 1)), tmp_path)
    np.testing.assert_allclose(found, 0.75 * singles[0] + 0.25 * singles[1], atol=3e-3)


@pytest.mark.parametrize("document", [None, OTHER_GRID], ids=["one ring", "two rings"])
def test_the_mean_of_logits(tmp_path, document):
    members = [member(1), member(2, document)]
    singles = [native_logits(each, tmp_path) for each in members]
    backend = averaged(members, ["a", "b"], (3, 1), "logits")
    assert isinstance(backend, MeanOfNetworks) == (document is None)
    expected = 0.75 * singles[0] + 0.25 * singles[1]
    np.testing.assert_allclose(native_logits(backend, tmp_path), expected, atol=2e-2, rtol=2e-3)


def test_one_ring_gives_what_two_give(tmp_path):
    members = [member(1), member(2)]
    one, two = averaged(members, ["a", "b"], None, "logits"), Ensemble(members, ["a", "b"], None, "logits")
    results = [native_logits(backend, tmp_path) for backend in (one, two)]
    np.testing.assert_allclose(*results, atol=2e-2, rtol=2e-3)
    assert one.digest == two.digest
    assert (
        Predictor(one).plan(_volume().grid, 4).memory.running
        < Predictor(two).plan(_volume().grid, 4).memory.running
    )


def test_groups_in_groups(tmp_path):
    """Folds by their logits, backbones by their probabilities."""
    folds, other = [member(1), member(2, OTHER_GRID)], member(3)
    logits = [native_logits(each, tmp_path) for each in folds]
    last = softmax(native_logits(other, tmp_path))
    group = averaged(folds, ["f0", "f1"], None, "logits")
    found = native_logits(Ensemble([group, other], ["folds", "other"], (2, 1)), tmp_path)
    expected = (2 * softmax(np.mean(logits, axis=0)) + last) / 3
    np.testing.assert_allclose(found, expected, atol=4e-3)


def test_labels_are_matched_by_name(tmp_path):
    """The same network with its channels in another order, and other values: nothing changes."""
    names = [{"value": 1, "name": "a"}, {"value": 2, "name": "b"}]
    first = member(2, labels=names)

    def shuffled(windows):
        return first.forward(windows)[:, [2, 0, 1]]

    labels = [{"value": 7, "name": "b", "channel": 0}, {"value": 9, "name": "a", "channel": 2}]
    document = {**first.spec.to_dict(), "output": {"labels": [*labels, {"value": 0, "channel": 1}]}}
    other = FakeBackend(shuffled, parse_spec(document, "test"), NetworkShape(channels_out=3))
    first.shape = NetworkShape(channels_out=3)
    alone = native_logits(first, tmp_path)
    for mean, expected in (("probabilities", softmax(alone)), ("logits", alone)):
        both = averaged([first, other], ["first", "other"], None, mean)
        np.testing.assert_allclose(native_logits(both, tmp_path), expected, atol=2e-2, rtol=2e-3)
        assert [label.value for label in both.spec.output.label_table(3)] == [1, 2]


def test_labels_of_several_channels_are_matched_in_their_order():
    def output(*channels):
        names = zip((1, 2, 1), "aba", channels, strict=True)
        labels = [{"value": value, "name": name, "channel": channel} for value, name, channel in names]
        return parse_spec({"output": {"decision": "threshold", "labels": labels}}, "test").output

    assert channel_order(output(0, 1, 2), output(0, 1, 2), (3, 3)) is None
    assert channel_order(output(0, 1, 2), output(2, 1, 0), (3, 3)) == (2, 1, 0)
    two_of_b = [{"value": v, "name": n, "channel": c} for v, n, c in ((1, "a", 0), (2, "b", 1), (2, "b", 2))]
    other = parse_spec({"output": {"decision": "threshold", "labels": two_of_b}}, "test").output
    with pytest.raises(ConfigError, match="a is read from another number of channels"):
        channel_order(output(0, 1, 2), other, (3, 3))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([{"value": 1, "name": "a"}, {"value": 2, "name": "c"}], "only the first has b; only the second has c"),
        ([{"value": 1, "name": "a"}], "only the first has b; only the second has label 2"),
    ],
    ids=["name", "too few"],
)
def test_labels_without_a_counterpart_are_refused(labels, message):
    shape = NetworkShape(channels_out=3)
    first, other = (
        member(1, labels=[{"value": 1, "name": "a"}, {"value": 2, "name": "b"}]),
        member(2, labels=labels),
    )
    first.shape = other.shape = shape
    with pytest.raises(ConfigError, match=message):
        Ensemble([first, other], ["one", "two"])


def test_probabilities_have_no_logits_to_average():
    with pytest.raises(ConfigError, match="b: its outputs are probabilities, so logits cannot be averaged"):
        averaged([member(1), member(2, values="probabilities")], ["a", "b"], None, "logits")


@pytest.mark.parametrize("weights", [(1,), (1, 0), (1, float("nan"))], ids=["few", "zero", "nan"])
def test_weights_that_do_not_fit(weights):
    with pytest.raises(ConfigError, match="`weights`"):
        Ensemble([member(1), member(2)], ["a", "b"], weights)


def test_weights_make_results_stale():
    members = [member(1), member(2)]
    identities = [Predictor(Ensemble(members, ["a", "b"], weights)).identity for weights in (None, (2, 1), (1, 2))]
    assert identities[0] != identities[1] != identities[2]


def test_a_ring_of_logits_in_full_precision():
    both = averaged([member(1), member(2)], ["a", "b"], None, "logits")
    assert both.in_full_precision() is both
    wanted = [member(1), member(2)]
    wanted[0].in_full_precision = lambda: member(3)
    full = averaged(wanted, ["a", "b"], (1, 3), "logits").in_full_precision()
    windows = np.ones((2, 1, 4, 5, 6), np.float32)
    expected = 0.25 * member(3).forward(windows) + 0.75 * member(2).forward(windows)
    np.testing.assert_allclose(full.forward(windows), expected, rtol=1e-6)


def in_single_precision(backend, monkeypatch, on_windows=lambda windows, every: None):
    """What an ensemble decides of, (C, Z, Y, X), as it is before it is stored."""
    parts = []

    def spied(slabs, *rest):
        def kept():
            for slab in slabs:
                parts.append(slab.logits.copy())
                yield slab

        return decide(kept(), *rest)

    monkeypatch.setattr(infer_ensemble, "decide", spied)
    Predictor(backend, orientation="input").compute(_volume(), lambda header: [], on_windows)
    return np.concatenate(parts, axis=1, dtype=np.float64)


WHOLE = {"input": {"pad_to": {"size": [14, 1, 1]}, "spacing": [2.0, 1.0, 1.0]}, "window": {"patch_size": None}}
APART = {"input": {"crop": {"to": "above", "value": 0.5, "after": "intensity", "margin": 1}}}


@pytest.mark.parametrize("decision", ["argmax", "threshold"])
@pytest.mark.parametrize("ranges", [2, 3, 11])
def test_one_after_the_other_where_memory_is_too_small(monkeypatch, decision, ranges):
    """The same to the last digits but two, whatever grid, crop and windows the members have."""
    documents = [None, OTHER_GRID, CROPPED, WHOLE, APART]
    members = [member(1 + number, document, decision) for number, document in enumerate(documents)]
    group = Ensemble(members[:2], ["a", "b"], (1, 4), "logits" if ranges == 2 else "probabilities")
    both = Ensemble([group, *members[2:]], ["g", "c", "d", "e"], (2, 1, 3, 1))
    expected = in_single_precision(both, monkeypatch)
    predictor = Predictor(both, orientation="input")
    planned = type(predictor.model).plan

    def in_ranges(self, *given, **more):
        return replace(planned(self, *given, **more), ranges=ranges)

    monkeypatch.setattr(type(predictor.model), "plan", in_ranges)
    done = []
    found = in_single_precision(both, monkeypatch, lambda windows, every: done.append((windows, every)))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert done == sorted(done)
    assert done[-1][0] == done[-1][1]


def test_as_many_ranges_as_memory_asks_for():
    both = Ensemble([member(1), member(2, OTHER_GRID)], ["a", "b"])
    volume = _volume()
    together = Predictor(both).plan(volume.grid, 4)
    least = max(plan.memory.peak for plan in (replace(together, beside=()), *together.beside))
    between = (together.memory.peak + least) // 2
    predictor = Predictor(both, max_ram=between)
    plan = predictor.plan(volume.grid, 4)
    assert 1 < plan.ranges <= 11
    assert plan.memory.peak <= between
    assert "they run one after the other" in plan.warnings[-1]
    result = predictor.compute(volume, lambda header: [])
    assert any("one after the other" in text for text in result.measurements.warnings)
    with pytest.raises(InputError, match="max_ram"):
        Predictor(both, max_ram=1000).compute(volume, lambda header: [])


def test_weights_and_groups_to_five_digits(monkeypatch):
    """Averaging by hand what each member answers alone: the mean of it and itself."""
    one, two, three = member(1), member(2, OTHER_GRID), member(3, CROPPED)
    shares = [in_single_precision(Ensemble([each, each], ["a", "b"]), monkeypatch) for each in (one, three)]
    logits = [
        in_single_precision(Ensemble([each, each], ["a", "b"], None, "logits"), monkeypatch) for each in (one, two)
    ]
    found = in_single_precision(Ensemble([one, three], ["a", "b"], (3, 1)), monkeypatch)
    np.testing.assert_allclose(found, 0.75 * shares[0] + 0.25 * shares[1], atol=1e-5)
    group = Ensemble([one, two], ["a", "b"], (1, 4), "logits")
    found = in_single_precision(Ensemble([group, three], ["g", "c"], (2, 1)), monkeypatch)
    expected = (2 * softmax(0.2 * logits[0] + 0.8 * logits[1]) + shares[1]) / 3
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_plan_counts_the_image_once():
    """A deep image is much larger than the rings, and there is one of it for all members."""
    one = member(1.0, {"window": {"patch_size": [16, 64, 64]}})
    grid = Predictor(one).plan(Grid((2000, 64, 64), (1.0, 1.0, 1.0)), 2).native
    plans = [
        Predictor(model).plan(grid, 2) for model in (Ensemble([one] * count, ["a"] * count) for count in (2, 3))
    ]
    ring = plans[0].work.accumulator
    assert ring == 4 * 16 * 64 * 64  # one channel: the network states none
    further = plans[1].memory.running - plans[0].memory.running
    assert ring < further < plans[0].work.stored / 2
