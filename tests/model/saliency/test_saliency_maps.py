"""Grad-CAM and its relatives: against formulas on paper, the reference's figures, and captum."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest

from itk_infer.errors import ConfigError, InferenceError, ModelError
from itk_infer.model.saliency.choice import explainer_for
from itk_infer.model.saliency.closed_form import ClosedForm, with_outputs
from itk_infer.model.saliency.explainer import check_methods
from itk_infer.model.saliency.maps import grad_cam, grad_cam_plus, input_gradient, normalised, resized

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
from support.onnx_files import save  # noqa: E402 - it needs onnx

KIND = onnx.TensorProto.FLOAT


def relative(found, wanted) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


# --- formulas -----------------------------------------------------------------------------------------------


def test_formulas_on_paper():
    features = np.array([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # one picture, two channels, one row
    gradient = np.array([[[[1.0, 3.0]], [[-2.0, 0.0]]]])
    assert input_gradient(gradient).tolist() == [[[1.5, 1.5]]]
    # Weights 2 and -1: 2 * (1, 2) - (3, 0) = (-1, 4).
    assert grad_cam(features, gradient).tolist() == [[[0.0, 4.0]]]
    # Channel 0, sum of A 3: 1 / (2 + 3) * 1 + 9 / (18 + 3 * 27) * 3; channel 1 has no positive gradient.
    weight = 1 / 5 + 9 / 99 * 3
    assert np.allclose(grad_cam_plus(features, gradient), [[[weight, 2 * weight]]])


def test_gradients_of_zero_and_maps_of_zero():
    features = np.ones((1, 2, 2, 2))
    assert not grad_cam_plus(features, np.zeros((1, 2, 1, 1))).any()
    assert not normalised(np.zeros((2, 3, 3))).any()
    assert normalised(np.array([[[0.0, 4.0], [1.0, 2.0]]])).tolist() == [[[0.0, 1.0], [0.25, 0.5]]]
    assert np.allclose(resized(np.array([[0.0, 1.0]]), (1, 4)), [[0, 0.25, 0.75, 1]])


def test_unknown_methods():
    assert check_methods(("gradcam", "gradcam")) == ("gradcam",)
    with pytest.raises(ConfigError, match="'camgrad' is not a method; there are input_grad"):
        check_methods(("camgrad",))
    with pytest.raises(ConfigError, match="no method is given"):
        check_methods(())


# --- closed form ----------------------------------------------------------------------------------------------


@pytest.fixture
def classify_data(shared):
    return shared / "classify"


def test_the_planted_network(classify_data):
    """Grad-CAM of class 0 is 2/N relu(x0 - 0.5), of class 1 zero."""
    expected = np.load(classify_data / "expected" / "planted.npz")
    inputs = expected["input"].astype(np.float32)
    explainer = ClosedForm(classify_data / "models" / "planted.onnx")
    on_paper = 2 / inputs[0, 0].size * np.maximum(inputs[:, 0].astype(np.float64) - 0.5, 0)
    for target in (0, 1):
        found = explainer.explain(inputs, np.full(len(inputs), target), ("gradcam",))
        assert np.allclose(found.maps["gradcam"], expected[f"gradcam_{target}"], atol=1e-9)
        assert np.allclose(found.maps["gradcam"], on_paper * (target == 0), atol=1e-9)
        assert np.allclose(found.logits, expected["logits"], atol=1e-6)


@pytest.mark.parametrize("kind", ["densenet", "seresnext"])
def test_closed_form_equals_the_reference(classify_data, needles, kind):
    expected = np.load(classify_data / "expected" / "saliency.npz")
    path = classify_data / "models" / f"cxr2_{kind}.onnx"
    # The reference's layer of the DenseNet is the one before the last ReLU.
    layer = "/features/features.22/BatchNormalization_output_0" if kind == "densenet" else None
    explainer = ClosedForm(path, layer=layer)
    found = explainer.explain(needles, np.ones(len(needles), np.intp), explainer.methods)
    for method in ("gradcam", "gradcampp"):
        assert relative(found.maps[method], expected[f"{kind}_{method}"]) < 1e-6
    assert explainer.layer == (layer or "/layer3/layer3.1/Relu_3_output_0")
    assert ClosedForm(path).layer.endswith("Relu_output_0") or kind == "seresnext"


def head(path, nodes, *, shape=("n", 2, 4, 6), weights=None, out=("n", 3)):
    """A network of a ReLU and these nodes, from "map" to "y"."""
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(2, 3)), "b": rng.normal(size=3)} | (weights or {})
    initializers = [onnx.numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in arrays.items()]
    axes = onnx.numpy_helper.from_array(np.array([3], np.int64), "axes")
    nodes = [onnx.helper.make_node("Relu", ["x"], ["map"]), *nodes]
    return save(path, nodes, {"x": (KIND, shape)}, {"y": (KIND, out)}, None, [*initializers, axes])


def node(operation, inputs, outputs, **attributes):
    return onnx.helper.make_node(operation, inputs, outputs, **attributes)


HEADS = {
    "gemm": (
        [("GlobalAveragePool", ["map"], ["p"]), ("Flatten", ["p"], ["f"]), ("Gemm", ["f", "w", "b"], ["y"])],
        {},
    ),
    "matmul": (
        [
            ("ReduceMean", ["map"], ["p"], {"axes": [2, 3], "keepdims": 0}),
            ("MatMul", ["p", "w"], ["m"]),
            ("Add", ["b", "m"], ["y"]),
        ],
        {},
    ),
    "two means and a sigmoid": (
        [
            ("ReduceMean", ["map"], ["r"], {"axes": [3], "keepdims": 0}),
            ("ReduceMean", ["r"], ["p"], {"axes": [2], "keepdims": 0}),
            ("MatMul", ["p", "w"], ["m"]),
            ("Sigmoid", ["m"], ["y"]),
        ],
        {"b": np.zeros(3)},
    ),
    "convolution": (
        [
            ("GlobalAveragePool", ["map"], ["p"]),
            ("Conv", ["p", "c", "b"], ["m"]),
            ("Flatten", ["m"], ["y"]),
        ],
        {"c": np.random.default_rng(0).normal(size=(2, 3)).T[:, :, None, None]},
    ),
    "transposed weights": (
        [
            ("GlobalAveragePool", ["map"], ["p"]),
            ("Flatten", ["p"], ["f"]),
            ("Gemm", ["f", "t", "b"], ["y"], {"transB": 1}),
        ],
        {"t": np.random.default_rng(0).normal(size=(2, 3)).T},
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_have_a_closed_form(tmp_path, name):
    parts, weights = HEADS[name]
    nodes = [node(*part[:3], **(part[3] if len(part) > 3 else {})) for part in parts]
    explainer = ClosedForm(head(tmp_path / "net.onnx", nodes, weights=weights))
    inputs = np.random.default_rng(1).normal(size=(2, 2, 4, 6)).astype(np.float32)
    weight = np.random.default_rng(0).normal(size=(2, 3))
    found = explainer.explain(inputs, np.array([0, 2]), ("gradcam",)).maps["gradcam"]
    for picture, target, map_ in zip(inputs, (0, 2), found, strict=True):
        wanted = np.maximum(np.tensordot(weight[:, target] / 24, np.maximum(picture, 0), 1), 0)
        assert np.allclose(map_, wanted, atol=1e-6)
    assert explainer.layer == "map"


def test_the_pooled_map_may_be_the_answer(tmp_path):
    nodes = [node("GlobalAveragePool", ["map"], ["p"]), node("Flatten", ["p"], ["y"])]
    explainer = ClosedForm(head(tmp_path / "net.onnx", nodes, out=("n", 2)))
    inputs = np.random.default_rng(1).normal(size=(1, 2, 4, 6)).astype(np.float32)
    found = explainer.explain(inputs, np.array([1]), ("gradcam",)).maps["gradcam"]
    assert np.allclose(found[0], np.maximum(inputs[0, 1], 0) / 24)


def test_heads_without_a_closed_form(tmp_path):
    two_layers = [
        *(node("GlobalAveragePool", ["map"], ["p"]), node("Flatten", ["p"], ["f"])),
        *(node("MatMul", ["f", "w"], ["m"]), node("Relu", ["m"], ["r"]), node("MatMul", ["r", "w2"], ["y"])),
    ]
    path = head(tmp_path / "two.onnx", two_layers, weights={"w2": np.eye(3)})
    with pytest.raises(
        ModelError, match=r"two\.onnx: the network does not end in average pooling and one linear layer"
    ):
        ClosedForm(path)
    scaled = [
        *(node("GlobalAveragePool", ["map"], ["p"]), node("Flatten", ["p"], ["f"])),
        node("Gemm", ["f", "w", "b"], ["y"], alpha=2.0),
    ]
    path = head(tmp_path / "scaled.onnx", scaled)
    with pytest.raises(ModelError, match="its logits are not the mean of map times the weights"):
        ClosedForm(path).explain(np.ones((1, 2, 4, 6), np.float32), np.array([0]), ("gradcam",))
    no_rows = [node("ReduceMean", ["map"], ["p"], axes=[2], keepdims=0), node("MatMul", ["p", "w"], ["y"])]
    path = head(tmp_path / "rows.onnx", no_rows, shape=("n", 2, 4))
    with pytest.raises(ModelError, match="without rows and columns"):
        ClosedForm(path).explain(np.ones((1, 2, 4), np.float32), np.array([0]), ("gradcam",))


def test_layers_of_the_closed_form_and_failures(tmp_path):
    path = head(tmp_path / "net.onnx", [node(*part[:3]) for part in HEADS["gemm"][0]])
    inputs = np.random.default_rng(1).normal(size=(2, 2, 4, 6)).astype(np.float32)
    before = ClosedForm(path, layer="x").explain(inputs, np.array([0, 1]), ("gradcam",)).maps["gradcam"]
    gradient = np.random.default_rng(0).normal(size=(2, 3))[:, :2].T[:, :, None, None] / 24 * (inputs > 0)
    assert np.allclose(before, np.maximum((gradient.mean((2, 3), keepdims=True) * inputs).sum(1), 0), atol=1e-6)
    with pytest.raises(ModelError, match="`saliency_layer=f`: the closed form is known for map and x"):
        ClosedForm(path, layer="f")
    with pytest.raises(InferenceError, match="the network failed on"):
        ClosedForm(path).explain(np.ones((1, 5, 4, 6), np.float32), np.array([0]), ("gradcam",))


def test_weights_in_another_file(tmp_path):
    path = head(tmp_path / "net.onnx", [node(*part[:3]) for part in HEADS["gemm"][0]])
    inputs = np.ones((1, 2, 4, 6), np.float32)
    wanted = ClosedForm(path).explain(inputs, np.array([0]), ("gradcam",)).maps["gradcam"]
    model = onnx.load(path)
    (tmp_path / "other").mkdir()
    onnx.save(
        model, tmp_path / "other" / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    found = ClosedForm(tmp_path / "other" / "net.onnx").explain(inputs, np.array([0]), ("gradcam",))
    assert np.array_equal(found.maps["gradcam"], wanted)


def test_names_longer_than_a_byte_counts(tmp_path):
    model = onnx.load_model_from_string(with_outputs(b"", ["x" * 300]))
    assert [output.name for output in model.graph.output] == ["x" * 300]


# --- choice ---------------------------------------------------------------------------------------------------


def test_the_explainer_follows_from_network_and_methods(tmp_path):
    path = head(tmp_path / "net.onnx", [node(*part[:3]) for part in HEADS["gemm"][0]])
    forward = forward_of(path)
    inputs = np.random.default_rng(1).normal(size=(1, 2, 28, 28)).astype(np.float32)[:, :, :4, :6]
    sizes = {"onnx": path, "size": (2, 4, 6)}
    both = explainer_for(("gradcam", "occlusion"), forward, **sizes)
    assert both.how == "closed form and occlusion of 14 x 14 cells"
    assert (both.layer, both.methods) == ("map", ("gradcam", "occlusion"))
    assert both.explain(inputs, np.array([0]), both.methods).maps.keys() == {"gradcam", "occlusion"}
    assert explainer_for(("gradcampp",), forward, **sizes).how == "closed form"
    with pytest.raises(
        ModelError, match=r"net\.onnx: `saliency_layer=f`: the closed form is known for map and x$"
    ):
        explainer_for(("gradcam",), forward, **sizes, layer="f")
    with pytest.raises(ModelError, match="needs an ONNX or a torch network; `saliency=occlusion` explains any"):
        explainer_for(("gradcam",), forward, size=(2, 4, 6))


TWO_LAYERS = [
    *(("GlobalAveragePool", ["map"], ["p"]), ("Flatten", ["p"], ["f"]), ("MatMul", ["f", "w"], ["m"])),
    *(("Relu", ["m"], ["r"]), ("MatMul", ["r", "w2"], ["y"])),
]


def forward_of(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(None, {"x": pictures})[0]


def test_without_onnx2torch_gradients_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    path = head(tmp_path / "two.onnx", [node(*part) for part in TWO_LAYERS], weights={"w2": np.eye(3)})
    words = r"two\.onnx: the network does not end in .*pip install 'itk_infer\[saliency\]'; `saliency=occlusion`"
    with pytest.raises(ModelError, match=words):
        explainer_for(("gradcam",), forward_of(path), onnx=path, size=(2, 4, 6))
    with pytest.raises(
        ModelError, match=r"two\.onnx: `saliency=input_grad` needs gradients; gradients of an ONNX"
    ):
        explainer_for(("input_grad",), forward_of(path), onnx=path, size=(2, 4, 6))


@pytest.fixture
def onnx2torch():
    """The package; torchvision, which it asks for, is not needed."""
    from itk_infer.model.saliency.converted import import_onnx2torch

    try:
        return import_onnx2torch()
    except ImportError as error:
        pytest.skip(f"onnx2torch cannot be imported ({error}): pip install --no-deps onnx2torch")


@pytest.mark.parametrize("opset", [17, 20])
def test_other_heads_of_onnx_by_conversion(tmp_path, onnx2torch, opset):
    path = head(tmp_path / "two.onnx", [node(*part) for part in TWO_LAYERS], weights={"w2": np.eye(3)})
    if opset > 17:
        onnx.save(onnx.version_converter.convert_version(onnx.load(path), opset), path)
    explainer = explainer_for(("gradcam", "input_grad"), forward_of(path), onnx=path, size=(2, 4, 6))
    assert explainer.how == "autograd of its conversion by onnx2torch"
    inputs = np.random.default_rng(1).normal(size=(2, 2, 4, 6)).astype(np.float32)
    found = explainer.explain(inputs, np.array([0, 2]), ("gradcam", "input_grad")).maps
    weight = np.random.default_rng(0).normal(size=(2, 3))
    for picture, target, cam, gradient in zip(inputs, (0, 2), found["gradcam"], found["input_grad"], strict=True):
        hidden = np.maximum(picture, 0).mean((1, 2)) @ weight
        slope = weight[:, target] / 24 * (hidden[target] > 0)
        assert np.allclose(cam, np.maximum(np.tensordot(slope, np.maximum(picture, 0), 1), 0), atol=1e-6)
        assert np.allclose(gradient, np.abs(slope[:, None, None] * (picture > 0)).mean(0), atol=1e-6)


def test_torchvision_is_left_as_it_is(onnx2torch, monkeypatch):
    vision = ModuleType("torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", vision)
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnx2torch"]:
        monkeypatch.delitem(sys.modules, name)
    from itk_infer.model.saliency.converted import import_onnx2torch

    assert import_onnx2torch() is not onnx2torch
    assert sys.modules["torchvision"] is vision
    assert "torchvision.ops" not in sys.modules


def test_a_conversion_that_answers_differently_is_refused(tmp_path, onnx2torch):
    path = head(tmp_path / "two.onnx", [node(*part) for part in TWO_LAYERS], weights={"w2": np.eye(3)})
    with pytest.raises(ModelError, match="the outputs of its conversion by onnx2torch differ"):
        explainer_for(("input_grad",), lambda x: forward_of(path)(x) + 1, onnx=path, size=(2, 4, 6))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match="onnx2torch cannot convert it"):
        explainer_for(("input_grad",), forward_of(path), onnx=broken, size=(2, 4, 6))


def test_occlusion_finds_the_bright_corner():
    """The logit is the mean of the first quarter: covering a cell of it costs a quarter of its contrast."""

    def forward(pictures):
        return pictures[:, :1, :2, :2].mean((2, 3))

    picture = np.zeros((1, 1, 4, 4), np.float32)
    picture[0, 0, :2, :2] = 1
    from itk_infer.model.saliency.occlusion import Occlusion

    found = Occlusion(forward, grid=2).explain(picture, np.array([0]), ("occlusion",))
    assert np.allclose(found.maps["occlusion"][0], [[0.75, 0], [0, 0]])
    assert np.allclose(found.logits, [[1.0]])


# --- autograd -------------------------------------------------------------------------------------------------


def module_of(path):
    spec = importlib.util.spec_from_file_location(f"reference_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference(shared):
    """The networks of the reference implementation beside the data."""
    pytest.importorskip("torch")
    return module_of(shared / "classify" / "reference" / "nets.py")


@pytest.fixture(scope="module")
def needles(shared):
    """Nine pictures with a needle, as the networks take them, by the reference: (9, 3, 64, 64)."""
    pytest.importorskip("torch")
    pytest.importorskip("pydicom")
    folder = shared / "classify"
    picture, made = (module_of(folder / "reference" / f"{name}.py") for name in ("picture", "classify"))
    expected = np.load(folder / "expected" / "saliency.npz")
    pairs = zip(expected["files"], expected["frames"], strict=True)
    found = [picture.pictures(folder / "cxr_studies" / str(file))[int(frame)] for file, frame in pairs]
    return made.cxr_input(found).numpy().astype(np.float32)


def trained(reference, shared, kind, *, random=False):
    torch = pytest.importorskip("torch")
    network = (reference.TinyDenseNet if kind == "densenet" else reference.TinySEResNeXt)(2)
    if random:
        torch.manual_seed(0)
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    else:
        path = shared / "classify" / "models" / f"cxr2_{kind}_state_dict.pth"
        network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


@pytest.mark.parametrize(("kind", "layer"), [("densenet", "features"), ("seresnext", "layer3")])
def test_autograd_equals_the_reference_and_captum(shared, reference, needles, kind, layer):
    from itk_infer.model.saliency.gradients import Autograd

    torch = pytest.importorskip("torch")
    network = trained(reference, shared, kind)
    explainer = Autograd(network, (3, 64, 64))
    assert explainer.layer == layer
    found = explainer.explain(needles, np.ones(9, np.intp), explainer.methods)
    expected = np.load(shared / "classify" / "expected" / "saliency.npz")
    for method, maps in found.maps.items():
        assert relative(maps, expected[f"{kind}_{method}"]) < 1e-6
    assert not network._forward_hooks
    assert not dict(network.named_modules())[layer]._forward_hooks
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    inputs = torch.from_numpy(needles)
    cam = attr.LayerGradCam(network, dict(network.named_modules())[layer]).attribute(
        inputs, target=1, relu_attributions=True
    )
    assert relative(found.maps["gradcam"], cam[:, 0].detach().numpy()) < 1e-6
    gradient = attr.Saliency(network).attribute(inputs.requires_grad_(), target=1)
    assert relative(found.maps["input_grad"], gradient.mean(1).detach().numpy()) < 1e-6


@pytest.mark.parametrize("kind", ["script", "export"])
def test_programs_of_torch_equal_the_closed_form(shared, reference, needles, kind):
    """The same tensor, after the last ReLU, in two graphs; and again in a second call."""
    from itk_infer.model.saliency.gradients import Autograd

    torch = pytest.importorskip("torch")
    models = shared / "classify" / "models"
    if kind == "script":
        from itk_infer.model.kinds.torch_file import read_torchscript

        network = read_torchscript(models / "cxr2_densenet_torchscript.pt")
    else:
        example = (torch.zeros(2, 3, 64, 64),)
        shapes = {"x": {0: torch.export.Dim("n")}}
        network = torch.export.export(
            trained(reference, shared, "densenet"), example, dynamic_shapes=shapes
        ).module()
    explainer = Autograd(network, (3, 64, 64))
    exact = ClosedForm(models / "cxr2_densenet.onnx").explain(
        needles, np.ones(9, np.intp), ("gradcam", "gradcampp")
    )
    for _ in range(3):
        found = explainer.explain(needles, np.ones(9, np.intp), explainer.methods)
        for method, maps in exact.maps.items():
            assert relative(found.maps[method], maps) < 1e-6
    assert relative(found.logits, exact.logits) < 1e-6


@pytest.mark.parametrize("kind", ["densenet", "seresnext"])
def test_random_weights_lose_the_map(shared, reference, needles, kind):
    """Adebayo et al. 2018: a map that survives random weights shows edges of the picture, not the network."""
    from scipy.stats import spearmanr

    from itk_infer.model.saliency.gradients import Autograd

    trained_maps, random_maps = (
        Autograd(trained(reference, shared, kind, random=random), (3, 64, 64))
        .explain(needles, np.ones(9, np.intp), ("gradcam",))
        .maps["gradcam"]
        for random in (False, True)
    )
    assert abs(spearmanr(trained_maps.ravel(), random_maps.ravel()).statistic) < 0.3


def small_network(torch, *, in_place=False, classes=2):
    nn = torch.nn
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(inplace=in_place),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    ).eval()


def test_what_works_in_place_changes_nothing():
    from itk_infer.model.saliency.gradients import Autograd

    torch = pytest.importorskip("torch")
    inputs = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    plain, in_place = (
        Autograd(small_network(torch, in_place=flag), (1, 8, 8), layer="0").explain(
            inputs, np.array([0, 1]), ("gradcam",)
        )
        for flag in (False, True)
    )
    assert np.array_equal(plain.maps["gradcam"], in_place.maps["gradcam"])


def test_the_log_odds_of_probabilities_are_explained():
    from itk_infer.model.saliency.gradients import Autograd

    torch = pytest.importorskip("torch")
    network = small_network(torch)
    inputs = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    logits = Autograd(network, (1, 8, 8)).explain(inputs, np.array([0, 1]), ("gradcam", "input_grad"))
    with_sigmoid = torch.nn.Sequential(network, torch.nn.Sigmoid())
    odds = Autograd(with_sigmoid, (1, 8, 8), probabilities=True).explain(
        inputs, np.array([0, 1]), ("gradcam", "input_grad")
    )
    for method, maps in logits.maps.items():
        assert relative(odds.maps[method], maps) < 1e-5
    network[-1].bias.data += 200.0  # saturated: probability 1, gradient 0
    with pytest.raises(InferenceError, match="a gradient is not finite"):
        Autograd(with_sigmoid, (1, 8, 8), probabilities=True).explain(inputs, np.array([0, 1]), ("gradcam",))


class Tokens:
    """A transformer's shape: patches become tokens, and no later layer has rows and columns."""

    @staticmethod
    def make(torch):
        nn = torch.nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.patches = nn.Conv2d(1, 4, 4, stride=4)
                self.block = nn.Linear(4, 4)
                self.head = nn.Linear(4, 2)

            def forward(self, x):
                tokens = self.patches(x).flatten(2).transpose(1, 2)
                return self.head(self.block(tokens).mean(1))

        return Net().eval()


def test_transformers_without_a_map_are_refused():
    from itk_infer.model.saliency.gradients import Autograd, last_map

    torch = pytest.importorskip("torch")
    network = Tokens.make(torch)
    with pytest.raises(
        ModelError, match=r"nothing to explain: after its last map, patches, .*tokens, as a transformer"
    ):
        explainer_for(("gradcam",), lambda x: x, network=network, size=(1, 16, 16))
    gradient = explainer_for(("input_grad",), lambda x: x, network=network, size=(1, 16, 16))
    assert (
        gradient.explain(np.ones((1, 1, 16, 16), np.float32), np.array([0]), ("input_grad",))
        .maps["input_grad"]
        .any()
    )
    named = Autograd(network, (1, 16, 16), layer="patches")
    assert named.layer == "patches"
    channels_last = last_map({"norm": (1, 7, 7, 96), "head": (1, 2)}, (224, 224))
    assert "are (1, 7, 7, 96), and not those of a picture" in channels_last
    assert last_map({"a": (1, 2)}, (8, 8)) == "the network has no map of rows and columns"
    assert last_map({"a": (1, 5, 4, 6), "view": (1, 5, 24), "head": (1, 2)}, (8, 12)) == "a"


def test_layers_that_are_not_there():
    from itk_infer.model.saliency.gradients import Autograd

    torch = pytest.importorskip("torch")
    with pytest.raises(
        ModelError, match=r"`saliency_layer=convolution`: the network has no such layer; there are "
    ):
        Autograd(small_network(torch), (1, 8, 8), layer="convolution")
    with pytest.raises(ModelError, match=r"`saliency_layer=4`: its shape is \(1, 2\)"):
        Autograd(small_network(torch), (1, 8, 8), layer="4")
    explainer = Autograd(small_network(torch), (1, 8, 8))
    with pytest.raises(InferenceError, match="the network failed on"):
        explainer.explain(np.ones((1, 3, 8, 8), np.float32), np.array([0]), ("gradcam",))
    detached = torch.nn.Sequential(small_network(torch), Detach.make(torch))
    with pytest.raises((ModelError, InferenceError)):
        Autograd(detached, (1, 8, 8)).explain(np.ones((1, 1, 8, 8), np.float32), np.array([0]), ("gradcam",))


class Detach:
    @staticmethod
    def make(torch):
        class Module(torch.nn.Module):
            def forward(self, x):
                return x.detach()

        return Module()


def test_a_layer_beside_the_way_to_the_answer():
    from itk_infer.model.saliency.gradients import Autograd

    torch = pytest.importorskip("torch")

    class Beside(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.aside = small_network(torch), torch.nn.Conv2d(1, 1, 1)

        def forward(self, x):
            answer = self.net(x)
            self.aside(x)
            return answer

    with pytest.raises(ModelError, match="the logits do not depend on aside by gradients"):
        Autograd(Beside(), (1, 8, 8)).explain(np.ones((1, 1, 8, 8), np.float32), np.array([0]), ("gradcam",))
