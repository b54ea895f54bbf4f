"""Networks that are built for OpenVINO directly, and run on a CPU without torch.

Kinds of models whose networks are known build them, and pass them on as `GraphModel`; everything else is here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.errors import InferenceError, ModelError
from itk_infer.machine import usable_cores
from itk_infer.model.backend import Backend, BackendOptions, Logits, NetworkShape, Windows
from itk_infer.model.inferer.out_of_memory import network_error
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.fallback import WithFallback
from itk_infer.model.runtimes.precision import Precision
from itk_infer.model.runtimes.precision_check import MAX_RELATIVE_ERROR, relative_error
from itk_infer.model.runtimes.torch_choices import choose_torch_precision
from itk_infer.spec import ModelSpec
from itk_infer.system import return_freed_memory

if TYPE_CHECKING:
    from itk_infer.model.runtimes.torch import TorchBackend

NO_TORCH = "torch is not installed: pip install 'itk_infer[torch]'"


@dataclass(frozen=True, slots=True)
class GraphNetwork:
    """A network in two forms, which must give the same logits.

    Attributes:
        build: Makes an `openvino.Model` for an input shape, (N, C, Z, Y, X), or (N, C, Y, X) for a 2D network.
        reference: Computes logits of such windows with NumPy.
        release: Returns the memory of weights that have been used to the system.
    """

    build: Callable[[tuple[int, ...]], Any]
    reference: Callable[[Any], Any]
    release: Callable[[], None]


@dataclass(frozen=True, slots=True)
class GraphModel:
    """A network with what is known of it.

    Attributes:
        network: The network.
        folds: The networks whose logits it averages; empty if it is a single network.
        flat: Whether it takes single planes.
        channels: Input and output channels.
        spec: The complete model spec.
        digest: SHA-256 of the model's files.
        notes: Sentences for the user.
        by_torch: Loads the same model for torch to run it, with ImportError where torch is not installed.
        no_torch: What to say where `by_torch` cannot import a package.
    """

    network: GraphNetwork
    folds: tuple[GraphNetwork, ...]
    flat: bool
    channels: tuple[int, int]
    spec: ModelSpec
    digest: str
    notes: tuple[str, ...]
    by_torch: Callable[[], TorchBackend]
    no_torch: str = NO_TORCH


class GraphBackend:
    """Runs such a network with OpenVINO after a comparison with NumPy; where they differ, with torch.

    Args:
        model: The network.
        options: Where and how to run it: on a CPU, by OpenVINO or what is best.

    Raises:
        ConfigError: the precision is not available.
    """

    def __init__(self, model: GraphModel, options: BackendOptions) -> None:
        # Set by kinds of models with an earlier stage: the stage, or a folder of its label maps.
        self.previous: Backend | None = None
        self.given_masks: Path | None = None
        self.device, self.provider = "cpu", "openvino"
        self.tensor_device: str | None = None
        self.spec, self.digest = model.spec, model.digest
        self._model, self._network = model, model.network
        self._fold: int | None = None
        self._automatic = options.provider == "auto"
        self._threads = options.threads or usable_cores()
        self.precision, chosen = choose_torch_precision(options.precision, "cpu", "openvino")
        inputs, outputs = model.channels
        # No hint about windows per call: OpenVINO takes as long for them one by one, and less memory.
        self.shape = NetworkShape(inputs, outputs, (1 if model.flat else None, None, None))
        self.notes = (*chosen, *model.notes)
        self._run = self._compiled()

    def forward(self, windows: Windows) -> Logits:
        """See `Backend.forward`. Input and output are float32; a 2D network takes windows of one plane."""
        if self._model.flat and windows.shape[2] != 1:
            raise InferenceError(f"a 2D network runs on one plane at a time, not on {windows.shape[2]}")
        return self._run(windows)

    def in_full_precision(self) -> Backend:
        """See `Backend.in_full_precision`."""
        return self if self.precision == "fp32" else self._twin(self._network, self._fold, "fp32")

    @cached_property
    def folds(self) -> tuple[Backend, ...]:
        """A backend for each fold whose logits are averaged; empty if there is a single network."""
        return tuple(self._twin(fold, number, self.precision) for number, fold in enumerate(self._model.folds))

    def dropout_samples(self, count: int, seed: int = 0) -> tuple[Backend, ...]:
        """See `TorchBackend.dropout_samples`: graphs have no dropout."""
        try:
            return self._model.by_torch().dropout_samples(count, seed)
        except ImportError:
            sentence = f"`mc_dropout`: torch runs networks with dropout, and {self._model.no_torch}"
            raise ModelError(sentence) from None

    def _twin(self, network: GraphNetwork, fold: int | None, precision: Precision) -> GraphBackend:
        """Return a backend with the same settings for a fold, or in another precision."""
        twin = copy.copy(self)
        twin.__dict__.pop("folds", None)
        twin._network, twin._fold, twin.precision = network, fold, precision
        twin._run = twin._compiled()
        return twin

    def _compiled(self) -> Callable[[Windows], Logits]:
        remedy = "" if self._automatic else "; leave `provider=openvino` out, and torch may run it"
        network = self._network
        compiled = openvino.OpenVinoNetwork(network.build, self.precision, self._threads, remedy, network.release)
        tolerated = MAX_RELATIVE_ERROR[self.precision]
        proven = Proven(compiled, network.reference, tolerated, remedy, flat=self._model.flat)
        return WithFallback(proven, self._open_torch, self._fell_back) if self._automatic else proven

    def _open_torch(self) -> Callable[[Windows], Logits]:
        try:
            whole = self._model.by_torch()
        except ImportError:
            raise InferenceError(f"torch would run it instead, but {self._model.no_torch}") from None
        return whole.forward if self._fold is None else whole.folds[self._fold].forward

    def _fell_back(self, why: str, shape: tuple[int, ...], ran_before: bool) -> None:
        what = f"windows of shape {shape}" if ran_before else "this network"
        self.notes = (*self.notes, f"OpenVINO cannot run {what} ({why}); torch runs it in fp32 instead")
        if not ran_before:
            self.provider, self.precision = "torch", "fp32"


class Proven:
    """Runs a compiled network; windows of a shape for the first time only if its output equals the reference's.

    Args:
        compiled: The compiled network.
        reference: Computes the same logits.
        tolerated: Largest relative error.
        remedy: What to do if they differ, as the end of a sentence.
        flat: Whether the network takes single planes.
    """

    def __init__(
        self,
        compiled: Callable[[Windows], Logits],
        reference: Callable[[Any], Any],
        tolerated: float,
        remedy: str = "",
        *,
        flat: bool = False,
    ) -> None:
        self._compiled, self._reference = compiled, reference
        self._tolerated, self._remedy, self._flat = tolerated, remedy, flat
        self._shapes: set[tuple[int, ...]] = set()

    def __call__(self, windows: Windows) -> Logits:
        """(N, C, Z, Y, X) to logits of the same axes.

        Outputs are compared on the last window only, because the reference is slow; windows are independent.

        Raises:
            InferenceError: the network failed, its output has another size than the windows, or differs from the
                reference's.
        """
        if windows.shape in self._shapes:
            return self._answer(windows)
        exact = self._exact(windows[-1:])
        return_freed_memory()
        answer = self._answer(windows)
        if len(answer) != len(windows) or not relative_error(answer[-1:], exact) <= self._tolerated:
            raise InferenceError(f"OpenVINO's output differs from NumPy's{self._remedy}")
        del exact
        return_freed_memory()  # of the comparison, and of the first call
        self._shapes.add(windows.shape)
        return answer

    def _answer(self, windows: Windows) -> Logits:
        answer = self._compiled(windows[:, :, 0] if self._flat else windows)
        return answer[:, :, None] if self._flat else answer

    def _exact(self, window: Windows) -> Logits:
        try:
            logits = self._reference(np.asarray(window[:, :, 0] if self._flat else window, np.float32))
        except Exception as error:
            sentence = (
                f"the network failed on windows of shape {window.shape} (N, C, Z, Y, X): {error}; does the window "
                "fit its strides?"
            )
            raise network_error(error, sentence) from error
        logits = logits[:, :, None] if self._flat else logits
        if logits.shape[2:] != window.shape[2:]:
            raise InferenceError(
                f"the network's output has shape {logits.shape} for input {window.shape} (N, C, Z, Y, X); it must "
                "keep Z, Y and X (does the window fit its strides?)"
            )
        return logits
