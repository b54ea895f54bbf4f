"""Torch networks: run by torch, or compiled by OpenVINO on a CPU if the outputs are the same.

Kinds of models that are torch networks build them and pass them on as `TorchModel`; everything else is here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.errors import ConfigError, InferenceError, OutOfMemoryError
from itk_infer.machine import usable_cores
from itk_infer.model.backend import Backend, BackendOptions, Logits, NetworkShape, Windows
from itk_infer.model.inferer.out_of_memory import network_error
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.precision_check import MAX_RELATIVE_ERROR, relative_error
from itk_infer.model.runtimes.torch_choices import choose_device, choose_provider, choose_torch_precision
from itk_infer.model.runtimes.torch_dropout import DropoutSample, dropout_layers
from itk_infer.model.runtimes.torch_shapes import (
    channels_in,
    channels_out,
    is_2d,
    is_script,
    registered,
    traceable,
)
from itk_infer.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

Call = Callable[["Tensor"], Any]


@dataclass(frozen=True, slots=True)
class TorchModel:
    """A torch network with its weights, on the CPU.

    Attributes:
        network: The network. If its first convolution is 2D, it takes single planes.
        call: Runs the network: (N, C, Z, Y, X), or (N, C, Y, X) for a 2D network, to logits of the same axes, or
            to a list of such outputs, the finest first (deep supervision). Calls `network` itself, not a copy.
        spec: The complete model spec.
        digest: SHA-256 of the model's files.
        batch_hint: Windows per call recommended by the model's author.
        notes: Sentences for the user.
        channels_out: Output channels; None: found by a pass with fake tensors, whose imports take seconds.
        trace_size: Size Z Y X of a small window whose trace is valid for all sizes; None: there is none.
        folds: The networks whose logits `network` averages; empty if it is a single network.
    """

    network: nn.Module
    call: Call
    spec: ModelSpec
    digest: str
    batch_hint: int | None = None
    notes: tuple[str, ...] = ()
    channels_out: int | None = None
    trace_size: tuple[int, int, int] | None = None
    folds: tuple[nn.Module, ...] = ()


class TorchBackend:
    """Runs a torch network without gradients, in float32 unless another precision was chosen.

    Args:
        build: Builds the network and loads its weights. Called after the device was found to exist.
        options: Where and how to run it.

    Raises:
        ImportError: torch is not installed.
        ModelError: the device or the provider is not available.
        ConfigError: the precision is not available.
    """

    def __init__(self, build: Callable[[], TorchModel], options: BackendOptions) -> None:
        self.device, notes = choose_device(options.device)
        self._threads = options.threads or usable_cores()
        if options.threads is not None:  # one of several workers on this machine
            import torch

            torch.set_num_threads(options.threads)
        model = build()
        # Set by kinds of models with an earlier stage: the stage, or a folder of its label maps.
        self.previous: Backend | None = None
        self.given_masks: Path | None = None
        self.spec, self.digest = model.spec, model.digest
        network = model.network.to(self.device).eval()
        for weight in network.parameters():  # TorchScript modules have no requires_grad_
            weight.requires_grad_(False)
        self._flat = is_2d(network)
        self._network, self._call = network, model.call
        self.provider, chosen_for = choose_provider(options.provider, self.device)
        self._automatic = options.provider == "auto"
        self.tensor_device = None if self.device == "cpu" else self.device
        self.precision, chosen = choose_torch_precision(options.precision, self.device, self.provider)
        self._trace_size = model.trace_size
        self._folds = model.folds
        self._dropout: DropoutSample | None = None
        self._compiled = self._compile()
        self._proven: set[tuple[int, ...]] = set()
        self.shape = NetworkShape(
            channels_in=channels_in(network),
            channels_out=model.channels_out or channels_out(network, self._infer, self.spec, flat=self._flat),
            size=(1 if self._flat else None, None, None),
            batch_hint=model.batch_hint,
        )
        self.notes = (*notes, *chosen_for, *chosen, *model.notes)

    def forward(self, windows: Windows) -> Logits:
        """See `Backend.forward`. Input and output are float32; a 2D network takes windows of one plane."""
        if self._flat and windows.shape[2] != 1:
            raise InferenceError(f"a 2D network runs on one plane at a time, not on {windows.shape[2]}")
        if self._dropout is not None:
            with self._dropout.next(len(windows)):
                return self._eager(windows)
        if self._compiled is None:
            return self._eager(windows)
        if windows.shape in self._proven:
            return self._compiled(windows)
        return self._prove(windows)

    def as_module(self) -> nn.Module:
        """The network as a module for exporters: one input, of the network's own axes, and its first output."""
        return registered(self._network, lambda inputs: _first_tensor(self._call(inputs)))

    def in_full_precision(self) -> Backend:
        """See `Backend.in_full_precision`."""
        if self.precision == "fp32":
            return self
        twin = copy.copy(self)
        twin.__dict__.pop("folds", None)
        twin.precision = "fp32"
        twin._compiled, twin._proven = twin._compile(), set()
        return twin

    @cached_property
    def folds(self) -> tuple[Backend, ...]:
        """A backend for each fold whose logits are averaged; empty if there is a single network."""
        return tuple(self._twin(fold) for fold in self._folds)

    def dropout_samples(self, count: int, seed: int = 0) -> tuple[Backend, ...]:
        """Return `count` samples of the network with dropout switched on; `seed` decides what they drop.

        Raises:
            ConfigError: the network has no dropout layers.
        """
        layers = dropout_layers(self._network)
        if not layers:
            raise ConfigError(
                "`mc_dropout`: this network has no dropout layers that drop anything; take `stability` instead"
            )
        samples = []
        for number in range(count):
            sample = copy.copy(self)
            sample._compiled, sample._dropout = None, DropoutSample(layers, seed, number, self.device)
            if sample.provider == "openvino":  # compiled networks have no dropout
                sample.provider, sample.precision = "torch", "fp32"
            samples.append(sample)
        return tuple(samples)

    def _twin(self, network: nn.Module) -> TorchBackend:
        """Return a backend with the same settings for a part of the network."""
        twin = copy.copy(self)
        twin.__dict__.pop("folds", None)
        twin._network, twin._call, twin._folds = network, network, ()
        twin._compiled, twin._proven = twin._compile(), set()
        return twin

    def _compile(self) -> openvino.OpenVinoNetwork | None:
        if self.provider != "openvino":
            return None
        script = is_script(self._network)
        read = openvino.torch_reader(traceable(self._infer), self._trace_size, recorded=script)
        return openvino.OpenVinoNetwork(read, self.precision, self._threads)

    def _prove(self, windows: Windows) -> Logits:
        """Run windows of a shape for the first time: in the compiled network, if its output equals the original's.

        Outputs are compared on the last window only, because the original is slow; windows are independent.
        """
        exact = self._eager(windows[-1:])
        network = self._compiled
        try:
            answer = network(windows) if network is not None else self._eager(windows)
            agree = len(answer) == len(windows) and answer.shape[1:] == exact.shape[1:]
            if agree and relative_error(answer[-1:], exact) <= MAX_RELATIVE_ERROR[self.precision]:
                self._proven.add(windows.shape)
                return answer
            reason = "its output differs from the original's"
        except OutOfMemoryError:
            raise
        except InferenceError as error:
            reason = str(error)
        if self._proven:  # it can run windows of other shapes
            raise InferenceError(f"OpenVINO cannot run windows of shape {windows.shape} ({reason})")
        if not self._automatic:
            raise InferenceError(
                f"OpenVINO cannot run this network ({reason}); leave `provider=openvino` out, and torch runs it"
            )
        self._compiled, self.provider, self.precision = None, "torch", "fp32"
        self.notes = (*self.notes, f"OpenVINO cannot run this network ({reason}); torch runs it in fp32 instead")
        return self._eager(windows)

    def _infer(self, inputs: Tensor) -> Tensor:
        """(N, C, Z, Y, X) to logits of the same axes, also for 2D networks."""
        logits = _first_tensor(self._call(inputs.squeeze(2) if self._flat else inputs))
        return logits.unsqueeze(2) if self._flat else logits

    def _eager(self, windows: Windows) -> Logits:
        """Run the original network in torch; the result is of the same kind (array or tensor) as `windows`."""
        import torch

        on_host = isinstance(windows, np.ndarray)
        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
        kind = self.device.partition(":")[0]
        try:
            with (
                torch.inference_mode(),
                torch.autocast(kind, half, enabled=half is not None and kind == "cuda"),
                # Windows have one shape, so kernels are searched once. TF32 is less exact than fp32.
                torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
            ):
                # torch warns about read-only arrays.
                source = torch.from_numpy(np.require(windows, np.float32, ["C", "W"])) if on_host else windows
                inputs = source.to(self.device)
                logits = self._infer(inputs)
                if logits.ndim != 5 or logits.shape[0] != inputs.shape[0] or logits.shape[2:] != inputs.shape[2:]:
                    raise InferenceError(
                        f"the network's output has shape {tuple(logits.shape)} for input {tuple(inputs.shape)} "
                        "(N, C, Z, Y, X); it must keep N, Z, Y and X (does the window fit its strides?)"
                    )
                return logits.float().cpu().numpy() if on_host else logits
        except InferenceError:
            raise
        except Exception as error:  # a network may raise any error
            sentence = (
                f"the network failed on windows of shape {windows.shape} (N, C, Z, Y, X): {first_line(error)}"
            )
            raise network_error(error, sentence) from error


def _first_tensor(answer: Any) -> Tensor:
    """The first output; networks with deep supervision return several, the finest first."""
    import torch

    first = answer[0] if isinstance(answer, list | tuple) and answer else answer
    if not isinstance(first, torch.Tensor):
        raise InferenceError(f"the network's output is a {type(first).__name__}; logits were expected")
    return first


def first_line(error: BaseException) -> str:
    """The first line of an error, after its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
