"""Networks described by an MMEngine config, MMSegmentation's among them."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.errors import InferenceError, ModelError, OutOfMemoryError
from itk_infer.machine import usable_cores
from itk_infer.model.backend import Backend, Logits, NetworkShape, Windows
from itk_infer.model.inferer.out_of_memory import network_error
from itk_infer.model.kinds.mmengine_config import spec_documents
from itk_infer.model.kinds.mmengine_network import (
    build_network,
    first_line,
    load_weights,
    own_modules,
    quiet_imports,
    read_config,
)
from itk_infer.model.kinds.project_code import code_digest, importable
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.precision import Precision, choose_precision
from itk_infer.model.runtimes.precision_check import relative_error
from itk_infer.model.spec_sources import SpecSources, resolve
from itk_infer.options import PrecisionChoice, Provider

if TYPE_CHECKING:
    from torch import Tensor, nn

Call = Callable[["Tensor"], Any]
MAX_RELATIVE_ERROR = {"fp32": 1e-3, "fp16": 5e-2, "bf16": 5e-2}  # largest relative error of a compiled network


class MMEngineBackend:
    """Builds the network of a config, loads its weights strictly, and calls it without gradients, in float32.

    The config is Python and runs as code: only ever pass a path that the user typed. The weights are never run.

    Args:
        config: Classic (``_base_``) or lazy (``read_base``) MMEngine config with a ``model``.
        checkpoint: Its weights, see `load_state_dict`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. A device that is not there is an error;
            only ``auto`` may settle for the CPU, and says so in `notes`.
        max_vram: Bytes that torch may take on a GPU; None: all.
        sources: What else speaks about the model.

    Raises:
        ModelError: a package or the name of a network is missing, the weights do not fit or cannot be
            trusted, or the device is absent.
        SpecError: the config or another source of the spec says something invalid.
    """

    def __init__(
        self,
        config: Path,
        checkpoint: Path,
        *,
        device: str = "auto",
        provider: Provider = "auto",
        precision: PrecisionChoice = "auto",
        threads: int | None = None,
        max_vram: int | None = None,
        sources: SpecSources | None = None,
    ) -> None:
        sources = sources or SpecSources()
        self.device, notes = _device(device)
        self._threads = threads or usable_cores()
        if threads is not None:  # a worker among others on this machine
            import torch

            torch.set_num_threads(threads)
        with quiet_imports(), importable(config.parent):
            settings = read_config(config)
            documents, ignored, batch_hint = spec_documents(settings.to_dict(), config.name)
            self.spec, changes = resolve([*documents, *sources.beside(config, checkpoint)], sources.overrides)
            text: str = settings.pretty_text
            network = build_network(settings, config)
            code = code_digest(config, own_modules(settings, network))
        loaded = load_weights(network, checkpoint)
        network.to(self.device).eval().requires_grad_(False)
        self._flat = _is_2d(network)
        self._call = _call_form(network, config)
        self.provider, chosen_for = _provider(provider, self.device)
        self._automatic = provider == "auto"
        self.tensor_device = None if self.device == "cpu" else self.device
        self.precision, chosen = self._choose(precision)
        self._compiled = self._compile()
        self._proven: set[tuple[int, ...]] = set()
        self.shape = NetworkShape(
            channels_in=_channels_in(network),
            channels_out=self._channels_out(network),
            size=(1 if self._flat else None, None, None),
            batch_hint=batch_hint,
        )
        self.digest = _digest(checkpoint, text.encode() + code)
        self.notes = (*notes, *chosen_for, *chosen, *ignored, *loaded, *changes)

    def forward(self, windows: Windows) -> Logits:
        """See `Backend.forward`. float32 in and out; a 2D network takes windows of one plane."""
        if self._flat and windows.shape[2] != 1:
            raise InferenceError(f"a 2D network runs on one plane at a time, not on {windows.shape[2]}")
        if self._compiled is None:
            return self._eager(windows)
        if windows.shape in self._proven:
            return self._compiled(windows)
        return self._prove(windows)

    def in_full_precision(self) -> Backend:
        """See `Backend.in_full_precision`."""
        if self.precision == "fp32":
            return self
        twin = copy.copy(self)
        twin.precision = "fp32"
        twin._compiled, twin._proven = twin._compile(), set()
        return twin

    def _channels_out(self, network: nn.Module) -> int | None:
        """Output channels, which memory is planned from; None for a network that shapes alone do not run through.

        A forward pass on torch's meta device computes shapes and touches no values.
        """
        import torch

        rule = self.spec.window
        size = [p or -(-64 // m) * m for p, m in zip(rule.patch_size or (0, 0, 0), rule.multiple_of, strict=True)]
        if self._flat:
            size[0] = 1
        wrapper = _module(self._infer)
        wrapper.add_module("network", network)  # so that its weights are replaced by shapes
        tensors = (*wrapper.named_parameters(), *wrapper.named_buffers())
        shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
        try:
            with torch.inference_mode():
                channels = _channels_in(network) or len(self.spec.input.channels)
                inputs = torch.empty((1, channels, *size), device="meta")
                return int(torch.func.functional_call(wrapper, shapes, (inputs,)).shape[1])
        except Exception:  # anybody's code; the first window will say
            return None

    def _prove(self, windows: Windows) -> Logits:
        """The first answer to windows of a new shape: the compiled network's, if the original agrees."""
        exact = self._eager(windows)
        network = self._compiled
        try:
            answer = network(windows) if network is not None else exact
            if relative_error(answer, exact) <= MAX_RELATIVE_ERROR[self.precision]:
                self._proven.add(windows.shape)
                return answer
            reason = "its answer differs from the original's"
        except OutOfMemoryError:
            raise
        except InferenceError as error:
            reason = str(error)
        if self._proven:  # it runs, only not windows of this shape
            raise InferenceError(f"OpenVINO cannot run windows of shape {windows.shape} ({reason})")
        if not self._automatic:
            raise InferenceError(
                f"OpenVINO cannot run this network ({reason}); leave --provider openvino out, and torch runs it"
            )
        self._compiled, self.provider, self.precision = None, "torch", "fp32"
        self.notes = (*self.notes, f"OpenVINO cannot run this network ({reason}); torch runs it in fp32 instead")
        return exact

    def _choose(self, wish: PrecisionChoice) -> tuple[Precision, list[str]]:
        offered: tuple[Precision, ...] = ()
        if self.provider == "openvino":
            offered = openvino.reduced_precisions()
        elif self.device != "cpu":
            offered = ("fp16", "bf16")
        return choose_precision(wish, offered, f"{self.device} with {self.provider}")

    def _compile(self) -> openvino.OpenVinoNetwork | None:
        if self.provider != "openvino":
            return None
        read = openvino.torch_reader(_module(self._infer))
        return openvino.OpenVinoNetwork(read, self.precision, self._threads)

    def _infer(self, inputs: Tensor) -> Tensor:
        """(N, C, Z, Y, X) to logits of the same, whatever the network's form."""
        logits = _first_tensor(self._call(inputs.squeeze(2) if self._flat else inputs))
        return logits.unsqueeze(2) if self._flat else logits

    def _eager(self, windows: Windows) -> Logits:
        """The original network, as torch runs it; tensors stay where they are."""
        import torch

        on_host = isinstance(windows, np.ndarray)
        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
        kind = self.device.partition(":")[0]
        try:
            with (
                torch.inference_mode(),
                torch.autocast(kind, half, enabled=half is not None and kind == "cuda"),
                # Windows are of one shape: the best kernels are looked for once. And fp32 means fp32.
                torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
            ):
                # torch warns about arrays that it could write into but must not.
                source = torch.from_numpy(np.require(windows, np.float32, ["C", "W"])) if on_host else windows
                inputs = source.to(self.device)
                logits = self._infer(inputs)
                if logits.ndim != 5 or logits.shape[0] != inputs.shape[0] or logits.shape[2:] != inputs.shape[2:]:
                    raise InferenceError(
                        f"the network answered in the shape {tuple(logits.shape)} to {tuple(inputs.shape)} "
                        "(N, C, Z, Y, X); it must keep N, Z, Y and X (does the window fit its strides?)"
                    )
                return logits.float().cpu().numpy() if on_host else logits
        except InferenceError:
            raise
        except Exception as error:  # a network is anybody's code
            sentence = (
                f"the network failed on windows of shape {windows.shape} (N, C, Z, Y, X): {first_line(error)}"
            )
            raise network_error(error, sentence) from error


def _module(infer: Callable[[Tensor], Tensor]) -> nn.Module:
    """A function as the module that a tracer wants."""
    from torch import nn

    class Traceable(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return infer(inputs)

    return Traceable().eval()


def _provider(wanted: Provider, device: str) -> tuple[str, list[str]]:
    """What runs the network, and what to tell the user if that is not what is usual."""
    if wanted == "tensorrt":
        raise ModelError("--provider tensorrt runs ONNX models; export this one to ONNX, or leave it out")
    if wanted == "cuda" and device == "cpu":
        raise ModelError("--provider cuda: torch found no usable CUDA device, or --device cpu was given")
    if wanted in ("cpu", "openvino") and device != "cpu":
        raise ModelError(f"--provider {wanted} runs on the CPU: give --device cpu as well")
    if wanted == "openvino" and not openvino.openvino_installed():
        raise ModelError("--provider openvino: OpenVINO is not installed: pip install 'itk_infer[openvino]'")
    fast = device == "cpu" and wanted in ("auto", "openvino") and openvino.openvino_installed()
    unusable = openvino.why_not() if fast else None
    if unusable is None:
        return "openvino" if fast else "torch", []
    if wanted == "openvino":
        raise ModelError(f"--provider openvino: OpenVINO cannot be used ({unusable}); install it again")
    return "torch", [f"OpenVINO cannot be used ({unusable}); torch runs the network instead"]


def _digest(checkpoint: Path, rest: bytes) -> str:
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(rest)
    return digest.hexdigest()


def _call_form(network: Any, config: Path) -> Call:
    if hasattr(network, "encode_decode"):  # a segmentor of MMSegmentation: resizes to the size it is told

        def encode_decode(inputs: Tensor) -> Any:
            size = tuple(inputs.shape[2:])
            meta = {"ori_shape": size, "img_shape": size, "pad_shape": size, "padding_size": [0, 0, 0, 0]}
            return network.encode_decode(inputs, [dict(meta) for _ in range(len(inputs))])

        return encode_decode
    if "mode" in inspect.signature(network.forward).parameters:  # any BaseModel of MMEngine
        return lambda inputs: network(inputs, mode="tensor")
    if hasattr(network, "backbone"):  # the whole network is kept there
        return lambda inputs: network.backbone(inputs)
    raise ModelError(
        f"{config}: {type(network).__name__} has neither encode_decode nor forward(inputs, mode='tensor') "
        "nor a backbone; wrap it: model = dict(type='Segmentor3D', network=dict(...))"
    )


def _first_tensor(answer: Any) -> Tensor:
    """Networks with deep supervision answer with several outputs, the finest first."""
    import torch

    first = answer[0] if isinstance(answer, list | tuple) and answer else answer
    if not isinstance(first, torch.Tensor):
        raise InferenceError(f"the network answered with a {type(first).__name__} where logits were expected")
    return first


def _is_2d(network: nn.Module) -> bool:
    """Whether the first convolution is a 2D one."""
    from torch import nn

    kinds = (nn.Conv2d, nn.Conv3d)
    first = next((module for module in network.modules() if isinstance(module, kinds)), None)
    return isinstance(first, nn.Conv2d)


def _channels_in(network: nn.Module) -> int | None:
    """Input channels of the first layer, if that is a plain convolution."""
    from torch import nn

    leaves = (module for module in network.modules() if next(module.children(), None) is None)
    first = next((leaf for leaf in leaves if next(leaf.parameters(), None) is not None), None)
    if isinstance(first, nn.Conv2d | nn.Conv3d) and first.groups == 1:
        return first.in_channels
    return None


def _device(wanted: str) -> tuple[str, list[str]]:
    """The device to use, and what to tell the user if the program chose it."""
    try:
        import torch
    except ImportError as error:
        raise ModelError(
            f"the MMEngine backend needs torch ({error}): pip install 'itk_infer[mmengine]'"
        ) from None
    if wanted == "cpu":
        return "cpu", []
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        if count:
            return "cuda:0", [f"device: cuda:0 ({torch.cuda.get_device_name(0)})"]
        return "cpu", ["device: cpu (torch found no usable CUDA device)"]
    kind, _, number = wanted.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise ModelError(f"--device {wanted}: no such device; there are auto, cpu, cuda and cuda:N")
    if int(number or 0) >= count:
        raise ModelError(
            f"--device {wanted}: torch finds {count} CUDA devices; install a torch build for CUDA with a "
            "matching driver, or choose --device cpu"
        )
    return f"cuda:{int(number or 0)}", []
