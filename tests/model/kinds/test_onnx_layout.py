"""Networks with channels last, against the same network with channels first."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import SimpleITK as sitk
from onnx import TensorProto, helper, numpy_helper
from support.onnx_files import save, sign_network

from itk_infer.errors import ModelError, SpecError
from itk_infer.model.backend import NetworkShape
from itk_infer.model.kinds.onnx import OnnxBackend
from itk_infer.model.kinds.onnx_layout import Layout, find_layout
from itk_infer.model.window import fit_window
from itk_infer.predictor import Predictor

PROVIDERS = [
    "cpu",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(
            not __import__("importlib.util").util.find_spec("openvino"), reason="needs the openvino extra"
        ),
    ),
]
RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=(4, 2)).astype(np.float32)  # classes, input channels
SMOOTH = RNG.normal(size=3).astype(np.float32)  # along the last spatial axis only: axes must not be mixed up
SPEC = {"spec": 1, "input": {"channels": ["a", "b"], "orientation": None}, "window": {"patch_size": [4, 6, 5]}}


def kernel(dims):
    return np.einsum("oi,k->oik", WEIGHTS, SMOOTH).reshape(4, 2, *[1] * (dims - 1), 3)


def network(path, shape, *, last_in, last_out, spec=SPEC):
    """A convolution; with `last_in` and `last_out`, between the transposes that tf2onnx puts there."""
    batch, sizes = shape[0], shape[1:]
    dims = len(sizes)
    nodes, source, target = [], "x", "y"
    if last_in:
        nodes.append(helper.make_node("Transpose", ["x"], ["first"], perm=[0, dims + 1, *range(1, dims + 1)]))
        source = "first"
    if last_out:
        target = "before"
    pads = [0] * (dims - 1) + [1]
    nodes.append(
        helper.make_node("Conv", [source, "w"], [target], kernel_shape=[1] * (dims - 1) + [3], pads=pads * 2)
    )
    if last_out:
        nodes.append(helper.make_node("Transpose", ["before"], ["y"], perm=[0, *range(2, dims + 2), 1]))
    taken = (batch, *sizes, 2) if last_in else (batch, 2, *sizes)
    given = (batch, *sizes, 4) if last_out else (batch, 4, *sizes)
    return save(
        path,
        nodes,
        {"x": (TensorProto.FLOAT, taken)},
        {"y": (TensorProto.FLOAT, given)},
        {"itk_infer": json.dumps(spec)},
        [numpy_helper.from_array(kernel(dims), "w")],
    )


def expected(windows):
    """The convolution in NumPy: (N, 2, Z, Y, X) to (N, 4, Z, Y, X)."""
    padded = np.pad(windows.astype(np.float64), [(0, 0)] * 4 + [(1, 1)])
    width = windows.shape[-1]
    smoothed = sum(SMOOTH[k] * padded[..., k : k + width] for k in range(3))
    return np.einsum("oi,nizyx->nozyx", WEIGHTS, smoothed)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(("n", "d", "h", "w"), id="3d free"),
        pytest.param((2, 4, 6, 5), id="3d fixed"),
        pytest.param(("n", 4, 4, 4), id="3d cubes of as many voxels as classes"),
        pytest.param(("n", "h", "w"), id="2d free"),
        pytest.param((1, 6, 5), id="2d fixed"),
    ],
)
@pytest.mark.parametrize(
    ("last_in", "last_out"),
    [
        pytest.param(True, True, id="both last"),
        pytest.param(False, True, id="only the answer last"),
        pytest.param(True, False, id="only the input last"),
        pytest.param(False, False, id="both first"),
    ],
)
def test_all_layouts_answer_the_same(tmp_path, provider, shape, last_in, last_out):
    if shape[1:] == (4, 4, 4) and last_in != last_out:
        pytest.skip("nothing in such a file tells its output's layout")
    path = network(tmp_path / "m.onnx", shape, last_in=last_in, last_out=last_out)
    size = [6 if isinstance(n, str) else n for n in shape[1:]]
    windows = RNG.normal(size=(3, 2, *[1] * (3 - len(size)), *size)).astype(np.float32)

    backend = OnnxBackend(path, device="cpu", provider=provider)

    np.testing.assert_allclose(backend.forward(windows), expected(windows), atol=1e-5)
    fixed = [n if isinstance(n, int) else None for n in shape]
    z, y, x = [1] * (4 - len(shape)) + fixed[1:]
    assert backend.shape == NetworkShape(2, 4, (z, y, x), fixed[0])
    axes = "N Z Y X C" if len(shape) == 4 else "N Y X C"
    assert (f"the network takes {axes}; windows and outputs are transposed" in backend.notes) == last_in


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_whole_case_with_channels_last(tmp_path, provider):
    spec = {**SPEC, "input": {"channels": ["a", "b"], "orientation": None}}
    path = network(tmp_path / "m.onnx", ("n", 4, 6, 5), last_in=True, last_out=True, spec=spec)
    volumes = RNG.normal(size=(2, 4, 6, 5)).astype(np.float32)  # one window
    found = Predictor.from_onnx(path, device="cpu", provider=provider, orientation="input")(
        [sitk.GetImageFromArray(volume) for volume in volumes]
    )
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.labels), expected(volumes[None])[0].argmax(axis=0))


def test_tensors_go_through_the_same_layout(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch")
    layout = Layout(last_in=True, last_out=True)
    windows = torch.from_numpy(RNG.normal(size=(2, 1, 3, 4, 5)).astype(np.float32))
    given = layout.given(windows)
    assert given.shape == (2, 3, 4, 5, 1)
    assert given.is_contiguous()
    back = layout.answered(given, windows)
    assert back.is_contiguous()
    assert torch.equal(back, windows)


def test_a_gpus_network_is_told_the_shape_of_its_answer(tmp_path):
    """Channels last with free sizes: no declared dimension stands where the channels are."""
    torch = pytest.importorskip("torch", reason="needs torch")
    import onnxruntime

    from itk_infer.model.runtimes.onnxruntime import open_session
    from itk_infer.model.runtimes.onnxruntime_gpu import OnnxTensorNetwork

    path = network(tmp_path / "m.onnx", ("n", "d", "h", "w"), last_in=True, last_out=True)
    session = open_session(onnxruntime, path, ["CPUExecutionProvider"], 1)
    tensors = OnnxTensorNetwork(onnxruntime, session, np.dtype(np.float32), None)
    windows = RNG.normal(size=(2, 2, 4, 6, 5)).astype(np.float32)
    layout = Layout(last_in=True, last_out=True)
    answer = layout.answered(tensors(layout.given(torch.from_numpy(windows))), windows)
    np.testing.assert_allclose(answer.numpy(), expected(windows), atol=1e-5)


def layout_of(taken, given, channels=1, moved=False):
    return find_layout("m.onnx", list(taken), list(given), channels, moved)


@pytest.mark.parametrize(
    ("taken", "given", "channels", "last_in", "last_out"),
    [
        pytest.param(("n", 1, "d", "h", "w"), ("n", 4, "d", "h", "w"), 1, False, False, id="torch"),
        pytest.param((1, 1, 16, 16, 16), (1, 16, 16, 16, 16), 1, False, False, id="as many classes as voxels"),
        pytest.param((1, 16, 16, 16, 1), (1, 16, 16, 16, 16), 1, True, True, id="the same, last"),
        pytest.param((1, 1, 1, 64, 64), (1, 4, 1, 64, 64), 1, False, False, id="one plane"),
        pytest.param((1, 1, 64, 64, 1), (1, 4, 64, 64, 1), 1, False, False, id="one voxel wide"),
        pytest.param((1, 1, 64, 64, 1), (1, 1, 64, 64, 4), 1, True, True, id="one plane, last"),
        pytest.param(
            ("a", "b", "c", "d", 1), ("e", "f", "g", "h", 3), 1, True, True, id="names that tell nothing"
        ),
        pytest.param((None, None, None, None, None), (None,) * 5, 1, False, False, id="nothing is fixed"),
        pytest.param((1, 3, 224, 224), (1, 5, 224, 224), 3, False, False, id="2d, colours first"),
        pytest.param((1, 224, 224, 3), (1, 224, 224, 5), 3, True, True, id="2d, colours last"),
        pytest.param((1, 32, 16, 16, 16), (1, 2, 16, 16, 16), 1, False, False, id="a mistaken spec, first"),
        pytest.param((1, 16, 16, 16, 2), (1, 16, 16, 16, 4), 1, True, True, id="a mistaken spec, last"),
    ],
)
def test_layouts_by_shape(taken, given, channels, last_in, last_out):
    found = layout_of(taken, given, channels)
    assert (found.last_in, found.last_out) == (last_in, last_out)


def test_what_nothing_tells_is_refused_and_a_transpose_tells():
    shape = (1, 1, 64, 64, 1)
    with pytest.raises(ModelError, match=r"which may be N C Z Y X or N Z Y X C; export it"):
        layout_of(shape, shape)
    assert layout_of(shape, shape, moved=True) == Layout(last_in=True, last_out=True)


def test_channels_are_counted_where_they_are(tmp_path):
    path = network(tmp_path / "m.onnx", (1, 16, 16, 16), last_in=True, last_out=True, spec={"spec": 1})
    backend = OnnxBackend(path, device="cpu", provider="cpu")
    with pytest.raises(SpecError, match="takes 2 input channels, the model spec names 1"):
        fit_window(backend.spec, backend.shape)


def test_networks_with_channels_first_are_left_as_they_are(tmp_path):
    path = sign_network(tmp_path / "m.onnx", metadata={"itk_infer": json.dumps({"spec": 1})})
    assert OnnxBackend(path, device="cpu", provider="cpu").notes == ()
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[1].dim_value == 1
