"""The torch runtime with plain networks: no kind of model, no config."""

from __future__ import annotations

import numpy as np
import pytest
from support.loading import torch_backend

from itk_infer.errors import ConfigError, InferenceError, ModelError, OutOfMemoryError
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.precision_check import relative_error
from itk_infer.model.runtimes.torch import TorchBackend, TorchModel
from itk_infer.model.runtimes.torch_choices import choose_device
from itk_infer.options import Options
from itk_infer.spec import ModelSpec

torch = pytest.importorskip("torch")
needs_openvino = pytest.mark.skipif(not openvino.openvino_installed(), reason="needs the openvino extra")

WEIGHT = 0.5
RNG = np.random.default_rng(50)


class Scale(torch.nn.Module):
    """Multiplies by `WEIGHT` with a convolution of one voxel, and answers in the form that a test wants."""

    def __init__(self, answer="list", dims=3, channels=1, groups=1):
        super().__init__()
        kind = torch.nn.Conv2d if dims == 2 else torch.nn.Conv3d
        self.conv = kind(channels, channels, 1, bias=False, groups=groups)
        with torch.no_grad():
            self.conv.weight.zero_()
            for channel in range(channels):
                self.conv.weight[channel, channel if groups == 1 else 0] = WEIGHT
        self.answer = answer

    def forward(self, inputs):
        assert not torch.is_grad_enabled()
        assert not self.training
        logits = self.conv(inputs)
        answers = {
            "list": [logits, logits[..., ::2] * 99],
            "plain": logits,
            "dict": {"out": logits},
            "small": logits[..., ::2],
            "flat": logits[:, :, 0],
            "none": None,
        }
        if self.answer == "raise":
            raise RuntimeError("\n\nthe essential line\nand its details")
        if self.answer == "memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return answers[self.answer]


@pytest.fixture
def load():
    """A network in the runtime: as torch runs it on the CPU, unless a test says otherwise."""

    def make(answer="list", *, network=None, notes=(), batch_hint=None, **options):
        layers = {name: options.pop(name) for name in ("dims", "channels", "groups") if name in options}
        options.setdefault("device", "cpu")
        options.setdefault("provider", "cpu" if options["device"] == "cpu" else "auto")
        network = network or Scale(answer, **layers)
        return torch_backend(network, ModelSpec(name="plain"), notes=notes, batch_hint=batch_hint, **options)

    return make


def windows(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_what_a_kind_hands_over_is_in_the_backend(load):
    backend = load(notes=("a note",), batch_hint=4)
    assert backend.spec.name == "plain"
    assert backend.digest == "digest"
    assert backend.shape.batch_hint == 4
    assert backend.notes == ("a note",)
    assert (backend.device, backend.provider, backend.precision) == ("cpu", "torch", "fp32")


def test_of_several_outputs_the_first_counts(load):
    given = windows(2, 1, 3, 4, 5)
    answer = load("list").forward(given)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, given * WEIGHT, rtol=1e-6)


def test_tensors_stay_tensors(load):
    """As on a GPU, where windows never leave it."""
    given = windows(2, 1, 3, 4, 5)
    backend = load()
    assert backend.tensor_device is None  # on a CPU, arrays are all there is
    answer = backend.forward(torch.from_numpy(given))
    assert isinstance(answer, torch.Tensor)
    np.testing.assert_array_equal(answer.numpy(), backend.forward(given))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_on_a_gpu(load, precision):
    given = windows(2, 1, 3, 4, 5)
    backend = load(device="cuda:0", precision=precision)
    assert backend.tensor_device == "cuda:0"
    answer = backend.forward(torch.from_numpy(given).cuda())
    assert answer.is_cuda
    close = 1e-5 if precision == "fp32" else 2e-2
    np.testing.assert_allclose(answer.float().cpu().numpy(), given * WEIGHT, rtol=close)


@pytest.mark.parametrize(("answer", "channels"), [("list", 3), ("none", None), ("raise", None)])
def test_output_channels_are_known_before_a_window_runs(load, answer, channels):
    assert load(answer, channels=3).shape.channels_out == channels


class Twice(Scale):
    """One module under two names, as MONAI's DynUNet holds its layers."""

    def __init__(self):
        super().__init__("plain")
        self.same = torch.nn.ModuleDict({"conv": self.conv})
        self.again = torch.nn.ModuleList([self.conv, self.same])


def test_weights_of_modules_with_several_names_stay_as_they_are(load):
    network = Twice()
    backend = load(network=network)
    assert backend.shape.channels_out == 1
    assert {(float(weight.sum()), weight.device.type) for weight in network.parameters()} == {(WEIGHT, "cpu")}
    given = windows(1, 1, 2, 3, 4)
    np.testing.assert_allclose(backend.forward(given), given * WEIGHT, rtol=1e-6)


def test_what_the_first_layer_says_about_channels(load):
    assert load(channels=3).shape.channels_in == 3
    assert load(channels=2, groups=2).shape.channels_in is None


def test_a_2d_network_gets_single_planes(load):
    backend = load("plain", dims=2)
    given = windows(3, 1, 1, 4, 6)
    assert backend.shape.size == (1, None, None)
    np.testing.assert_allclose(backend.forward(given), given * WEIGHT, rtol=1e-6)
    with pytest.raises(InferenceError, match="one plane at a time, not on 2"):
        backend.forward(windows(1, 1, 2, 4, 6))


def test_windows_that_may_not_be_written_to_stay_as_they_are(load):
    given = windows(1, 1, 2, 2, 2)
    given.setflags(write=False)
    np.testing.assert_allclose(load().forward(given), given * WEIGHT)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("dict", "output is a dict; logits were expected"),
        ("none", "output is a NoneType"),
        ("small", r"shape \(2, 1, 4, 4, 2\) for input \(2, 1, 4, 4, 4\)"),
        ("flat", "it must keep N, Z, Y and X"),
        ("raise", "failed on windows of shape .*: RuntimeError: the essential line$"),
    ],
)
def test_an_answer_that_is_no_segmentation_fails_the_case(load, answer, message):
    with pytest.raises(InferenceError, match=message) as caught:
        load(answer).forward(windows(2, 1, 4, 4, 4))
    assert not isinstance(caught.value, OutOfMemoryError)


def test_memory_that_ran_out_has_an_error_of_its_own(load):
    with pytest.raises(OutOfMemoryError, match="out of memory"):
        load("memory").forward(windows(1, 1, 2, 2, 2))


# --- what was asked for ---------------------------------------------------------------------------


def test_a_device_that_is_not_there_is_an_error_before_anything_is_built():
    def build():
        raise AssertionError("built in vain")

    with pytest.raises(ModelError, match="`device=cuda:97`: torch finds .* CUDA devices"):
        torch_backend(build, device="cuda:97")


@pytest.mark.parametrize("device", ["tpu", "cuda:x"])
def test_other_words_are_not_devices(device):
    with pytest.raises(ModelError, match=f"`device={device}`: no such device"):
        choose_device(device)


def test_only_auto_settles_for_the_cpu_and_says_so(load, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    backend = load(device="auto", provider="auto")
    assert backend.device == "cpu"
    assert "device: cpu (torch found no usable CUDA device)" in backend.notes
    with pytest.raises(ModelError, match="torch finds 0 CUDA devices"):
        load(device="cuda")


@pytest.mark.parametrize(
    ("provider", "message"), [("tensorrt", "runs ONNX models"), ("cuda", "`device=cpu` was given")]
)
def test_a_provider_that_cannot_run_it_is_an_error(load, provider, message):
    with pytest.raises(ModelError, match=f"`provider={provider}`.*{message}"):
        load(provider=provider)


def test_a_precision_that_the_device_lacks_is_an_error(load):
    with pytest.raises(ConfigError, match="`precision=fp16`: cpu with torch runs fp32"):
        load(precision="fp16")
    half = load(precision="half")
    assert half.precision == "fp32"
    assert half.in_full_precision() is half


# --- compiled by OpenVINO -------------------------------------------------------------------------


@pytest.fixture
def blur():
    """A network whose answer is no multiple of its input."""
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, 2, 1))


@needs_openvino
def test_a_compiled_network_is_proven_against_the_original(load, blur):
    compiled, plain = load(network=blur, provider="auto"), load(network=blur)
    assert (compiled.provider, plain.provider) == ("openvino", "torch")
    given = windows(2, 1, 6, 7, 8)
    reference = plain.forward(given)
    for _ in range(2):  # the proof, and the proven
        assert relative_error(compiled.forward(given), reference) < 1e-4
    assert compiled.provider == "openvino"


@needs_openvino
def test_a_network_that_openvino_gets_wrong_stays_with_torch(load, blur, monkeypatch):
    compiled = load(network=blur, provider="auto")
    given = windows(2, 1, 6, 7, 8)
    reference = load(network=blur).forward(given)
    monkeypatch.setattr(openvino.OpenVinoNetwork, "__call__", lambda self, x: reference + 1)
    np.testing.assert_allclose(compiled.forward(given), reference, atol=1e-6)
    assert compiled.provider == "torch"
    assert any("its output differs from the original's); torch runs it in fp32" in n for n in compiled.notes)


@needs_openvino
def test_a_shape_that_fails_after_others_ran_fails_the_case(load, blur, monkeypatch):
    compiled = load(network=blur, provider="auto")
    compiled.forward(windows(2, 1, 6, 7, 8))

    def refuse(self, x):
        raise InferenceError("no such shape")

    monkeypatch.setattr(openvino.OpenVinoNetwork, "__call__", refuse)
    with pytest.raises(InferenceError, match=r"windows of shape \(1, 1, 6, 7, 8\) \(no such shape"):
        compiled.forward(windows(1, 1, 6, 7, 8))
    assert compiled.provider == "openvino"


@needs_openvino
def test_where_openvino_cannot_torch_can_unless_openvino_was_asked_for(load, monkeypatch):
    def refuse(self, windows):
        raise InferenceError("no conversion rule")

    monkeypatch.setattr(openvino.OpenVinoNetwork, "__call__", refuse)
    given = windows(1, 1, 2, 3, 4)
    by_itself = load(provider="auto")
    np.testing.assert_allclose(by_itself.forward(given), WEIGHT * given)
    assert by_itself.provider == "torch"
    with pytest.raises(
        InferenceError, match="no conversion rule.; leave `provider=openvino` out, and torch runs it"
    ):
        load(provider="openvino").forward(given)


@needs_openvino
def test_a_broken_installation_of_openvino_is_named(load, monkeypatch):
    def broken():
        raise ImportError("libopenvino.so is missing")

    monkeypatch.setattr(openvino, "import_openvino", broken)
    backend = load(provider="auto")
    assert backend.provider == "torch"
    assert any("libopenvino.so is missing); torch runs the network instead" in note for note in backend.notes)
    with pytest.raises(ModelError, match="`provider=openvino`: .*libopenvino.so is missing"):
        load(provider="openvino")


@needs_openvino
def test_the_twin_in_full_precision_is_a_network_of_its_own(load, blur, monkeypatch):
    monkeypatch.setattr(openvino, "reduced_precisions", lambda: ("bf16",))
    half = load(network=blur, provider="openvino", precision="bf16")
    full = half.in_full_precision()
    assert (half.precision, full.precision) == ("bf16", "fp32")
    given = windows(1, 1, 6, 7, 8)
    assert relative_error(full.forward(given), load(network=blur).forward(given)) < 1e-4


class Sized(Scale):
    """Its trace is that of the window's size."""

    def __init__(self):
        super().__init__("plain")
        self.seen = []

    def forward(self, inputs):
        self.seen.append(tuple(inputs.shape))
        return super().forward(inputs)


@needs_openvino
def test_a_network_for_all_sizes_is_traced_with_a_small_window_and_compared_on_one():
    network = Sized()
    model = TorchModel(network, network, ModelSpec(), "digest", channels_out=1, trace_size=(2, 3, 4))
    backend = TorchBackend(lambda: model, Options(device="cpu", provider="openvino"))
    assert backend.shape.channels_out == 1
    given = windows(3, 1, 6, 5, 8)
    for _ in range(2):
        np.testing.assert_allclose(backend.forward(given), given * WEIGHT, rtol=1e-5)
    assert sorted(network.seen) == [(1, 1, 2, 3, 4), (1, 1, 6, 5, 8)]


@needs_openvino
def test_a_batch_of_which_only_the_first_window_is_right_is_refused(monkeypatch):
    def only_the_first(self, inputs):
        return np.repeat(inputs[:1] * WEIGHT, len(inputs), 0)

    monkeypatch.setattr(openvino.OpenVinoNetwork, "__call__", only_the_first)
    backend = torch_backend(Scale("plain"), ModelSpec(), device="cpu", provider="auto")
    given = windows(3, 1, 4, 4, 4)
    np.testing.assert_allclose(backend.forward(given), given * WEIGHT, rtol=1e-5)
    assert backend.provider == "torch"
    assert "its output differs from the original's" in backend.notes[-1]
