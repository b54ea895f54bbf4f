"""What every place of the engine must do alike. A GPU is one where there is one; the CPU is a device for torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.arrays import namespace, to_host
from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.probe_windows import probe_windows
from itk_infer.engine.segment import segment
from itk_infer.engine.windows import place_windows
from itk_infer.errors import InferenceError
from itk_infer.spec import Label, OutputSpec, Padding
from itk_infer.volume.interpolation import AxisMap, ModelGrid, axis_map
from itk_infer.volume.padding import pad_volume

torch = pytest.importorskip("torch", reason="torch is not installed")
from itk_infer.engine.device.workspace import DeviceWorkspace  # noqa: E402

GPU = pytest.param("cuda:0", marks=pytest.mark.gpu)
DEVICES = pytest.mark.parametrize("device", ["cpu", GPU])
MIX = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
ODD = [Label(value, f"organ {value}", "#ff0000", channel) for channel, value in ((1, 7), (2, 40_000), (3, 300))]


def network(windows):
    """Four channels that know where in the window they are; for arrays and for tensors."""
    xp = namespace(windows)
    ramp = np.linspace(-1, 1, np.prod(windows.shape[2:]), dtype=np.float32).reshape(windows.shape[2:])
    on = (lambda a: a) if xp is np else (lambda a: xp.asarray(a, device=windows.device))
    mixed = xp.tensordot(on(MIX), windows, axes=((1,), (1,)))
    return xp.moveaxis(mixed, 0, 1) + on(ramp) * on(np.arange(4, dtype=np.float32)[:, None, None, None])


def outcome(
    workspace,
    volume,
    patch,
    stride,
    *,
    output=OutputSpec(),
    model=None,
    logits=False,
    batch=1,
    net=network,
    repair=None,
):
    z, y, x = (AxisMap(n, n, 1.0, 0.0) for n in volume.shape[1:])
    model = model or ModelGrid((z, y, x))
    grid = place_windows(model.size, patch, stride, (1, 1, 1), "gaussian")
    array = pad_volume(workspace.put(volume), grid.pads, Padding("edge"))
    slabs = []
    found = segment(
        array,
        grid,
        model,
        net,
        output,
        lambda decision: (slabs.append, logits),
        workspace=workspace,
        batch=batch,
        repair=repair,
    )
    assert [s.z0 for s in slabs] == np.cumsum([0, *[len(s.labels) for s in slabs]])[:-1].tolist()
    assert all(isinstance(s.labels, np.ndarray) for s in slabs)
    parts = {"labels": np.concatenate([s.labels for s in slabs])}
    if slabs[0].masks is not None:
        parts["masks"] = np.concatenate([s.masks for s in slabs], axis=1)
    if logits:
        parts["logits"] = np.concatenate([s.logits for s in slabs], axis=1)
    return found, parts


def model_of(native, size, alignment="edge"):
    z, y, x = (axis_map(n, m, n / m, alignment) for n, m in zip(native, size))
    return ModelGrid((z, y, x))


OUTPUTS = [
    OutputSpec(),
    OutputSpec(labels=tuple(ODD)),
    OutputSpec(decision="threshold"),
    OutputSpec(decision="threshold", labels=tuple(ODD)),
    OutputSpec(values="probabilities"),
    OutputSpec(values="probabilities", decision="threshold", threshold=0.3),
]


@DEVICES
@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(*[st.integers(1, 12)] * 3),
    patch=st.tuples(*[st.integers(1, 7)] * 3),
    zoom=st.sampled_from([None, 0.6, 1.0, 1.7]),
    output=st.sampled_from(OUTPUTS),
    logits=st.booleans(),
    batch=st.integers(1, 4),
    slab_bytes=st.integers(1, 4000),
    seed=st.integers(0, 2**31),
)
def test_a_device_gives_what_the_host_gives(device, size, patch, zoom, output, logits, batch, slab_bytes, seed):
    volume = np.random.default_rng(seed).normal(size=(2, *size)).astype(np.float32)
    model = None
    if zoom is not None:
        model = model_of([max(1, round(n * zoom)) for n in size], size)
    stride = tuple(max(1, n // 2) for n in patch)
    asked = {"output": output, "model": model, "logits": logits, "batch": batch}
    host, of_host = outcome(HostWorkspace(slab_bytes=slab_bytes), volume, patch, stride, **asked)
    there, of_device = outcome(DeviceWorkspace(device, slab_bytes=slab_bytes), volume, patch, stride, **asked)
    assert of_host.keys() == of_device.keys()
    for name, expected in of_host.items():
        assert of_device[name].dtype == expected.dtype
        if name == "logits":
            np.testing.assert_allclose(of_device[name], expected, rtol=2e-3, atol=2e-3)
        else:  # sums in another order: a voxel between two labels may fall to the other side
            assert np.mean(of_device[name] != expected) <= 0.01
    np.testing.assert_allclose(there.voxels, host.voxels, atol=max(2, 0.01 * volume[0].size * 8))
    for ours, theirs in zip(
        (there.confidence.overall, *there.confidence.per_label),
        (host.confidence.overall, *host.confidence.per_label),
    ):
        assert (ours is None) == (theirs is None)
        assert ours is None or ours == pytest.approx(theirs, abs=0.02)


@DEVICES
def test_confidence_on_a_device_is_the_hosts(device):
    volume = np.random.default_rng(3).normal(size=(2, 9, 10, 11)).astype(np.float32)
    for output in OUTPUTS:
        host, _ = outcome(HostWorkspace(), volume, (4, 5, 6), (2, 3, 3), output=output)
        there, _ = outcome(DeviceWorkspace(device), volume, (4, 5, 6), (2, 3, 3), output=output)
        assert there.confidence.overall == pytest.approx(host.confidence.overall, rel=1e-5)
        assert there.confidence.foreground == pytest.approx(host.confidence.foreground, rel=1e-4)
        assert there.confidence.per_label == pytest.approx(host.confidence.per_label, rel=1e-3)
        assert there.voxels == pytest.approx(host.voxels, abs=1)


@DEVICES
@pytest.mark.parametrize("native", [None, (9, 5, 7)])
@pytest.mark.parametrize("logits", [False, True])
def test_of_equal_channels_the_first_wins(device, native, logits):
    """Constant answers stay equal through blending and interpolation; channels 1 and 2 tie above the others."""
    volume = np.zeros((2, 6, 6, 6), np.float32)
    tied = np.array([0, 4, 4, 2], np.float32)[:, None, None, None]

    def ties(windows):
        xp = namespace(windows)
        return (windows[:, :1] * 0) + (tied if xp is np else xp.asarray(tied, device=windows.device))

    model = None if native is None else model_of(native, (6, 6, 6))
    for workspace in (HostWorkspace(), DeviceWorkspace(device)):
        _, parts = outcome(workspace, volume, (4, 4, 4), (2, 2, 2), model=model, logits=logits, net=ties)
        assert set(np.unique(parts["labels"])) == {1}


@DEVICES
def test_logits_beyond_half_precision_are_clipped_and_counted(device):
    volume = np.ones((2, 4, 4, 4), np.float32)
    huge = lambda windows: network(windows) * 0 + 1e6  # noqa: E731
    for workspace in (HostWorkspace(), DeviceWorkspace(device)):
        found, parts = outcome(workspace, volume, (4, 4, 4), (4, 4, 4), logits=True, net=huge)
        assert found.clipped == 4 * 64
        assert (parts["logits"] == np.float16(65504)).all()


@DEVICES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_windows_are_repaired_alone_or_refused(device, bad):
    volume = np.random.default_rng(5).normal(size=(2, 8, 4, 4)).astype(np.float32)
    calls = []

    def breaks(windows):
        calls.append(len(windows))
        answers = network(windows) + 0
        if len(calls) == 2:
            answers[0, 1, 2, 3, 1] = bad
        return answers

    repaired = []

    def repair(windows):
        repaired.append(to_host(windows))
        return network(windows)

    for workspace in (HostWorkspace(), DeviceWorkspace(device)):
        calls.clear(), repaired.clear()
        _, expected = outcome(workspace, volume, (4, 4, 4), (2, 4, 4))
        _, parts = outcome(workspace, volume, (4, 4, 4), (2, 4, 4), net=breaks, repair=repair)
        np.testing.assert_array_equal(parts["labels"], expected["labels"])
        assert len(repaired) == 1
        np.testing.assert_array_equal(repaired[0][0], volume[:, 2:6])  # the second window
        calls.clear()
        with pytest.raises(InferenceError, match=r"NaN or infinity in the window at \(2, 0, 0\)"):
            outcome(workspace, volume, (4, 4, 4), (2, 4, 4), net=breaks)


def test_a_device_begins_the_next_call_before_it_looks_at_the_last():
    volume = np.random.default_rng(5).normal(size=(2, 12, 4, 4)).astype(np.float32)
    story = []

    class Watched(DeviceWorkspace):
        def finite(self, windows):
            told = super().finite(windows)
            return lambda: story.append("looked") or told()

    def watch(windows):
        story.append("begun")
        return network(windows)

    outcome(Watched("cpu"), volume, (4, 4, 4), (4, 4, 4), net=watch)
    assert story == ["begun", "begun", "looked", "begun", "looked", "looked"]


@DEVICES
def test_stored_types_and_views_arrive_as_they_are(device):
    workspace = DeviceWorkspace(device)
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64):
        stored = np.arange(24, dtype=dtype).reshape(1, 2, 3, 4)[:, ::-1]
        stored.flags.writeable = False
        arrived = workspace.put(stored)
        assert arrived.device.type == device.partition(":")[0]
        np.testing.assert_array_equal(to_host(arrived), stored)


@DEVICES
def test_the_busiest_windows_are_found_on_a_device_too(device):
    volume = np.zeros((1, 16, 8, 8), np.float32)
    volume[0, 8:] = np.random.default_rng(0).normal(size=(8, 8, 8))
    grid = place_windows((16, 8, 8), (8, 8, 8), (8, 8, 8), (1, 1, 1), "constant")
    found = probe_windows(DeviceWorkspace(device).put(volume), grid, 1)
    np.testing.assert_array_equal(to_host(found)[0], volume[:, 8:])


def test_room_on_a_device_is_what_it_was_given():
    assert DeviceWorkspace("cpu").room() is None
    assert DeviceWorkspace("cpu", max_bytes=1000).room() == 1000


@pytest.mark.gpu
def test_room_on_a_gpu_is_what_is_free():
    free, _ = torch.cuda.mem_get_info()
    assert 0.5 * free < DeviceWorkspace("cuda:0").room() <= free
