"""``batch="auto"`` from the first case on: searched once, kept, told once, and never more than fits."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import ConfigError, OutOfMemoryError
from itk_infer.executors.loader import describe
from itk_infer.model.backend import NetworkShape
from itk_infer.model.batch_size.trial import BatchTrial
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec

SPEC = parse_spec({"window": {"patch_size": [4, 4, 4], "mirror_axes": [0]}}, "t")
RNG = np.random.default_rng(0)


def scan(size=8):
    return sitk.GetImageFromArray(RNG.normal(0, 9, (size, size, size)).astype(np.float32))


class Machine:
    """A network whose calls take max(10, 3 n) seconds of a clock of its own: four at once are best."""

    def __init__(self, monkeypatch, room=10**6):
        self.now, self.room = 0.0, room
        self.calls: list[int] = []
        trial = partial(BatchTrial, clock=lambda: self.now, memory=lambda: None)
        monkeypatch.setattr("itk_infer.case.warmup.BatchTrial", trial)

    def __call__(self, windows):
        self.calls.append(len(windows))
        if len(windows) > self.room:
            raise OutOfMemoryError("full")
        self.now += max(10, 3 * len(windows))
        return np.concatenate([-windows, windows], axis=1)

    def predictor(self, spec=SPEC, shape=None, **options):
        return Predictor(FakeBackend(self, spec, shape), batch="auto", **{"batch_cache": False, **options})

    def engine_calls(self, predictor, image):
        """Windows of each call outside the search."""
        before = len(self.calls)
        result = predictor(image)
        searched = 3 * 4 if any("times as fast" in note for note in result.measurements.warnings) else 0
        return self.calls[before + searched :], result


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def notes(result):
    return [note for note in result.measurements.warnings if "batch" in note]


def test_found_on_the_first_case_and_told_once(machine):
    predictor = machine.predictor()
    assert describe(predictor)["batch"] == "auto"
    calls, first = machine.engine_calls(predictor, scan())
    assert notes(first) == ["batch: 4 window(s) per call, 3.33 times as fast as one"]
    assert "batch" in first.measurements.seconds
    assert calls == [4] * 6 + [3]  # 27 windows
    assert predictor.batch_size == describe(predictor)["batch"] == 4
    calls, second = machine.engine_calls(predictor, scan())
    assert notes(second) == []
    assert calls == [4] * 6 + [3]


def test_labels_and_identity_are_those_of_one_window_a_call(machine):
    image = scan()
    one, auto = Predictor(FakeBackend(machine, SPEC)), machine.predictor()
    a, b = (sitk.GetArrayFromImage(predictor(image).labels) for predictor in (one, auto))
    np.testing.assert_array_equal(a, b)
    assert one.identity == auto.identity


def test_the_next_run_takes_it_from_the_cache(machine, tmp_path):
    machine.predictor(batch_cache=tmp_path)(scan())
    machine.calls.clear()
    again = machine.predictor(batch_cache=tmp_path)
    assert describe(again)["batch"] == again.batch_size == 4
    result = again(scan())
    assert machine.calls == [4] * 6 + [3]  # no search
    assert notes(result) == ["batch: 4 window(s) per call, as an earlier run found"]
    assert notes(again(scan())) == []


@pytest.mark.parametrize(
    "options",
    [{"tta": True}, {"threads": 7}, {"spec": parse_spec({"window": {"patch_size": [2, 2, 2]}}, "t")}],
    ids=["mirrored", "threads", "patch size"],
)
def test_other_circumstances_are_searched_anew(machine, tmp_path, options):
    machine.predictor(batch_cache=tmp_path, threads=2)(scan())
    other = machine.predictor(**{"batch_cache": tmp_path, "threads": 2, **options})
    assert describe(other)["batch"] == "auto"
    other(scan())
    assert len(list(tmp_path.iterdir())) == 2


def test_mirrored_windows_are_counted_as_the_network_sees_them(machine):
    # Two mirrorings: one, two windows are calls of two, four; then it pays no more.
    result = machine.predictor(tta=True)(scan())
    assert notes(result) == ["batch: 2 window(s) per call, 1.67 times as fast as one"]


def test_a_broken_cache_is_told_once(machine, tmp_path):
    (tmp_path / "file").touch()
    predictor = machine.predictor(batch_cache=tmp_path / "file" / "below")
    told = notes(predictor(scan()))
    assert len([note for note in told if "cannot be written" in note]) == 1
    assert predictor.batch_size == 4
    assert notes(predictor(scan())) == []


def test_memory_that_runs_out_ends_the_search(monkeypatch):
    machine = Machine(monkeypatch, room=2)
    predictor = machine.predictor()
    assert notes(predictor(scan())) == ["batch: 2 window(s) per call, 2.00 times as fast as one"]
    assert predictor.batch_size == 2


def test_memory_that_runs_out_later_is_remembered_in_this_run(monkeypatch):
    machine = Machine(monkeypatch)
    predictor = machine.predictor()
    predictor(scan())
    machine.room = 2
    assert any("memory ran out" in note for note in predictor(scan()).measurements.warnings)
    machine.calls.clear()
    predictor(scan())
    assert set(machine.calls) == {2, 1}
    assert predictor.batch_size == 2


def test_the_limit_for_a_case_bounds_search_and_use(monkeypatch, tmp_path):
    small, large = scan(8), scan(40)
    shape = NetworkShape(channels_out=2)
    usual = Machine(monkeypatch).predictor(shape=shape)
    volume = [usual.plan(itk_grid(image), 4, batch=2).memory.peak for image in (small, large)]
    machine = Machine(monkeypatch)
    predictor = machine.predictor(shape=shape, max_ram=volume[1], batch_cache=tmp_path)
    predictor(small)
    assert predictor.batch_size == 4
    machine.calls.clear()
    predictor(large)  # four windows a call would be too much here, and are no reason to refuse it
    assert set(machine.calls) == {2, 1}
    machine.calls.clear()
    searched = machine.predictor(shape=shape, max_ram=volume[1])
    searched(large)
    assert max(machine.calls) == searched.batch_size == 2


def itk_grid(image):
    from itk_infer.volume.volume import volume_of

    return volume_of([image], "t").grid


def test_networks_and_cases_without_a_choice(machine):
    fixed = machine.predictor(shape=NetworkShape(batch=3))
    whole = machine.predictor(spec=parse_spec({}, "t"))
    assert (fixed.batch_size, whole.batch_size) == (3, 1)
    for predictor in (fixed, whole):
        assert notes(predictor(scan())) == []
    predictor = machine.predictor()
    machine.calls.clear()
    assert notes(predictor(scan(4))) == []  # one window: nothing to find, nothing to keep
    assert machine.calls == [1]
    assert predictor.batch_size is None


def test_careful_is_one_window_a_call(machine):
    predictor = machine.predictor()
    machine.calls.clear()
    safe_mode = predictor.safe_mode()
    safe_mode(scan())
    assert set(machine.calls) == {1}
    assert safe_mode.batch_size == 1


def test_slices_as_large_as_each_image_are_searched_for_each_size(machine):
    # A 2D network: windows of one slice, as large as the image.
    predictor = machine.predictor(spec=parse_spec({}, "t"), shape=NetworkShape(size=(1, None, None)))
    assert len(notes(predictor(scan(8)))) == 1
    assert len(notes(predictor(scan(9)))) == 1
    assert notes(predictor(scan(8))) == []


def test_what_the_network_says_on_the_way_is_told(monkeypatch):
    machine = Machine(monkeypatch)
    predictor = machine.predictor()
    backend = predictor.backend
    forward = backend.forward

    def settles(windows):
        backend.notes = ("another library runs this network",)
        return forward(windows)

    backend.forward = settles
    told = predictor(scan()).measurements.warnings
    assert told.count("another library runs this network") == 1


@pytest.mark.parametrize("batch", [0, -1, "many", 1.5])
def test_other_words_are_refused(batch):
    with pytest.raises(ConfigError, match="at least one window per call, or 'auto'"):
        Predictor(FakeBackend(), batch=batch)
