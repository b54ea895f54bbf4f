"""Every workspace passes the tests of `WorkspaceTests`; the CPU is a device for torch, too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.arrays import to_host
from itk_infer.engine.host import HostWorkspace
from itk_infer.testing import WorkspaceTests
from itk_infer.testing.workspaces import OUTPUTS, assert_alike, model_of, network, outcome

torch = pytest.importorskip("torch", reason="torch is not installed")
from itk_infer.engine.device.workspace import DeviceWorkspace  # noqa: E402


class TestHost(WorkspaceTests):
    def make(self, slab_bytes=None):
        return HostWorkspace(**({} if slab_bytes is None else {"slab_bytes": slab_bytes}))


class TestCpuDevice(WorkspaceTests):
    device = "cpu"

    def make(self, slab_bytes=None):
        return DeviceWorkspace(self.device, **({} if slab_bytes is None else {"slab_bytes": slab_bytes}))

    def test_it_is_the_device(self):
        arrived = self.make().put(np.zeros((1, 2, 3, 4), np.int16))
        assert arrived.device.type == self.device.partition(":")[0]
        assert to_host(arrived).dtype == np.int16


@pytest.mark.gpu
class TestGpu(TestCpuDevice):
    device = "cuda:0"


DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)])


@DEVICES
@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(*[st.integers(1, 12)] * 3),
    patch=st.tuples(*[st.integers(1, 7)] * 3),
    zoom=st.sampled_from([None, 0.6, 1.0, 1.7]),
    output=st.sampled_from(list(OUTPUTS.values())),
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
    expected = outcome(HostWorkspace(slab_bytes=slab_bytes), volume, patch, stride, **asked)
    assert_alike(outcome(DeviceWorkspace(device, slab_bytes=slab_bytes), volume, patch, stride, **asked), expected)


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


def test_room_on_a_device_is_what_it_was_given():
    assert DeviceWorkspace("cpu").room() is None
    assert DeviceWorkspace("cpu", max_bytes=1000).room() == 1000


@pytest.mark.gpu
def test_room_on_a_gpu_is_what_is_free():
    free, _ = torch.cuda.mem_get_info()
    assert 0.5 * free < DeviceWorkspace("cuda:0").room() <= free
