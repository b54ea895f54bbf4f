"""Windows that OpenVINO runs one by one, against torch, and networks that take a certain number of them."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.model.runtimes import openvino as runtime

pytest.importorskip("openvino", reason="needs the openvino extra")
torch = pytest.importorskip("torch", reason="torch is not installed")


def windows(count, size=6):
    return np.random.default_rng(count).normal(size=(count, 2, size, 5, 4)).astype(np.float32)


def network(asked, read=None):
    """A convolution; `asked` collects the shapes that it is read for."""
    torch.manual_seed(0)
    module = torch.nn.Conv3d(2, 3, 3, padding=1).eval()
    read = read or runtime.torch_reader(module)

    def watched(shape):
        asked.append(shape)
        return read(shape)

    return module, watched


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_windows(threads):
    asked = []
    module, read = network(asked)
    compiled = runtime.OpenVinoNetwork(read, "fp32", threads)
    for count in (5, 2, 1, 4):
        found = compiled(windows(count))
        with torch.inference_mode():
            wanted = module(torch.from_numpy(windows(count))).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert set(asked) == {(1, 2, 6, 5, 4)}
    # Compiled anew only where fewer run at the same time.
    assert len(asked) == {1: 1, 2: 3, 3: 4}[threads]


def test_the_next_call_reuses_the_memory():
    compiled = runtime.OpenVinoNetwork(network([])[1], "fp32", 2)
    first = compiled(windows(4))
    assert compiled(windows(4) + 1) is first


def test_another_size():
    asked = []
    compiled = runtime.OpenVinoNetwork(network(asked)[1], "fp32", 2)
    assert compiled(windows(2)).shape == (2, 3, 6, 5, 4)
    assert compiled(windows(2, 9)).shape == (2, 3, 9, 5, 4)
    assert len(asked) == 2


def test_a_network_of_a_certain_number_of_windows():
    """One that can not be read for a single window, and one that gives two for one."""
    module, read = network([])

    def only_several(shape):
        if shape[0] == 1:
            raise ValueError("not for one window")
        return read(shape)

    def two_of_one(shape):
        from openvino import Model, opset13

        image = opset13.parameter(list(shape), np.float32)
        return Model([opset13.result(opset13.concat([image, image], 0))], [image])

    compiled = runtime.OpenVinoNetwork(only_several, "fp32", 2)
    for count in (3, 2):
        with torch.inference_mode():
            wanted = module(torch.from_numpy(windows(count))).numpy()
        np.testing.assert_allclose(compiled(windows(count)), wanted, atol=1e-5)
    assert runtime.OpenVinoNetwork(two_of_one, "fp32", 2)(windows(3)).shape == (6, 2, 6, 5, 4)


def test_an_error_names_the_shape_of_the_call():
    def broken(shape):
        raise ValueError("broken")

    with pytest.raises(Exception, match=r"OpenVINO failed on \(3, 2, 6, 5, 4\): broken"):
        runtime.OpenVinoNetwork(broken, "fp32", 2)(windows(3))
