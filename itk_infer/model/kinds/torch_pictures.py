"""TorchScript files and torch.export archives that classify pictures.

They run in torch, or on a CPU compiled by OpenVINO where its results are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InferenceError, ModelError
from itk_infer.model.backend import BackendOptions
from itk_infer.model.classifier import Pictures
from itk_infer.model.classify_sources import resolve_classify
from itk_infer.model.inferer.out_of_memory import network_error
from itk_infer.model.kinds.torch_file import PROGRAM, embedded_spec, read_torchscript
from itk_infer.model.kinds.torch_location import is_exported, is_torchscript
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.precision import Precision
from itk_infer.model.runtimes.torch import first_line
from itk_infer.model.runtimes.torch_choices import choose_device, choose_provider, choose_torch_precision
from itk_infer.model.runtimes.torch_shapes import is_script, registered
from itk_infer.model.spec_sources import SpecSources

if TYPE_CHECKING:
    from torch import Tensor, nn

MAX_ERROR = 4e-4  # largest error of OpenVINO's fp32 logits, relative above 1: 1e-4 of a probability
COMPARED = 3  # pictures; not 1, with which a network is traced


def load(
    paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions, threads: int, calls: int
) -> TorchPictures:
    """Load a torch file, see `TorchPictures`."""
    return TorchPictures(paths[0], spec_sources, options, threads, calls)


class TorchPictures:
    """A TorchScript or torch.export program, as `PictureNetwork`.

    Args:
        path: The file.
        sources: Further sources of the spec.
        options: Device, provider and precision.
        threads: Threads of the CPU for all calls together.
        calls: Number of threads that call `forward` at the same time.

    Raises:
        ModelError: the file has no program, or the device or provider is not available.
        SpecError: there is no valid spec.
    """

    kind = "torch_file"
    batch = None

    def __init__(
        self, path: Path, sources: SpecSources, options: BackendOptions, threads: int, calls: int
    ) -> None:
        import torch

        self.name = path.name
        self.device, notes = choose_device(options.device)
        if is_torchscript(path):
            network, notes = read_torchscript(path), [*notes, PROGRAM]
        elif is_exported(path):
            from itk_infer.model.kinds.torch_export import read_exported

            network = read_exported(path)
        else:
            raise ModelError(
                f"{path}: holds weights or a pickled module, and no program to run them; save the network with "
                "torch.jit.save, or export it to ONNX"
            )
        documents, more = embedded_spec(path)
        self.spec = resolve_classify(path.absolute(), documents, sources)
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        torch.set_num_threads(max(1, threads // calls))
        self._network, self._threads, self._calls = network.to(self.device).eval(), threads, calls
        self.provider, chosen_for = choose_provider(options.provider, self.device)
        self.precision: Precision = "fp32"
        self._compiled: openvino.OpenVinoCalls | None = None
        if self.provider == "openvino":
            chosen_for += self._compile(asked=options.provider == "openvino")
        precision, chosen = choose_torch_precision(options.precision, self.device, self.provider)
        self.in_precision(precision)
        self.notes = (*notes, *more, *chosen_for, *chosen)

    @property
    def ready(self) -> bool:
        """See `PictureNetwork`; it is built when it is loaded."""
        return True

    def wait(self) -> None:
        """See `PictureNetwork.wait`: it is built when it is loaded."""

    def forward(self, pictures: Pictures) -> NDArray[np.floating[Any]]:
        """See `PictureNetwork.forward`."""
        values = self._eager(pictures) if self._compiled is None else self._compiled(pictures)
        return values.reshape(values.shape[:2]) if all(side == 1 for side in values.shape[2:]) else values

    def _eager(self, pictures: Pictures) -> NDArray[np.floating[Any]]:
        """The answer of the program as torch runs it."""
        import torch

        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
        try:
            with (
                torch.inference_mode(),
                torch.autocast(self.device.partition(":")[0], half, enabled=half is not None),
            ):
                answer = self._first_tensor(torch.from_numpy(pictures).to(self.device))
            values: NDArray[np.floating[Any]] = answer.float().cpu().numpy()
        except InferenceError:
            raise
        except Exception as error:  # a network may raise any error
            raise network_error(
                error, f"{self.name}: failed on pictures of shape {pictures.shape}: {first_line(error)}"
            ) from error
        return values

    def _first_tensor(self, pictures: Tensor) -> Tensor:
        import torch

        answer = self._network(pictures)
        if isinstance(answer, list | tuple) and answer:
            answer = answer[0]
        if not isinstance(answer, torch.Tensor):
            raise InferenceError(f"{self.name}: answered with a {type(answer).__name__}; a tensor is needed")
        return answer

    @property
    def module(self) -> nn.Module:
        """The network, on its device."""
        return self._network

    def in_precision(self, precision: Precision) -> None:
        """See `PictureNetwork.in_precision`."""
        if self.precision != precision:
            self.precision = precision
            if self._compiled is not None:
                self._compiled = self._with_openvino()

    def _with_openvino(self) -> openvino.OpenVinoCalls:
        size = self._size or (1, 1)
        # A program of TorchScript is read as it is: a trace has its branches for one number of pictures only.
        script = is_script(self._network)
        network = self._network if script else registered(self._network, self._first_tensor)
        read = openvino.torch_reader(network, size)
        shape = (-1, len(self.spec.input.channels), *size)
        held = sum(part.numel() * part.element_size() for part in self._network.parameters())
        return openvino.OpenVinoCalls(read, shape, self.precision, self._threads, self._calls, held)

    @property
    def _size(self) -> tuple[int, int] | None:
        """Rows and columns of what it sees; None: those of the picture."""
        return self.spec.input.center_crop or self.spec.input.size

    def _compile(self, *, asked: bool) -> list[str]:
        """Compile the program if its outputs for noise stay the same; otherwise torch runs it, with a note.

        Raises:
            ModelError: OpenVINO was asked for, and cannot run it.
        """
        reason = self._try_openvino()
        if not reason:
            return []
        if asked:
            raise ModelError(
                f"`provider=openvino`: cannot run {self.name} ({reason}); leave `provider` out, and torch runs it"
            )
        self._compiled, self.provider = None, "torch"
        return [f"OpenVINO cannot run {self.name} ({reason}); torch runs it instead"]

    def _try_openvino(self) -> str:
        """Why it cannot be used; empty: it can."""
        if self._size is None:
            return "its spec gives its pictures no size"
        shape = (COMPARED, len(self.spec.input.channels), *self._size)
        noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        exact = self._eager(noise)
        try:
            self._compiled = self._with_openvino()
            answer = self._compiled(noise)
        except Exception as error:  # its frontends have error classes of their own, with no common base
            return openvino.reason(error)
        if answer.shape != exact.shape:
            return f"it answers in the shape {answer.shape}, and torch in {exact.shape}"
        # Not a number where torch has none is the same answer.
        same = np.isclose(answer, exact, rtol=MAX_ERROR, atol=MAX_ERROR, equal_nan=True)
        return "" if same.all() else f"its answers differ by up to {np.nanmax(np.abs(answer - exact)):.2g}"
