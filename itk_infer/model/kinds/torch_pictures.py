"""TorchScript files and torch.export archives that classify pictures."""

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
from itk_infer.model.kinds.torch_export_scan import is_exported
from itk_infer.model.kinds.torch_file import PROGRAM, embedded_spec, read_torchscript
from itk_infer.model.kinds.torchscript_scan import is_torchscript
from itk_infer.model.runtimes.precision import Precision
from itk_infer.model.runtimes.torch import first_line
from itk_infer.model.runtimes.torch_choices import choose_device, choose_torch_precision
from itk_infer.model.spec_sources import SpecSources

if TYPE_CHECKING:
    from torch import nn


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
        options: Device and precision.
        threads: Threads of the CPU for all calls together.
        calls: Number of threads that call `forward` at the same time.

    Raises:
        ModelError: the file has no program, or the device is not available.
        SpecError: there is no valid spec.
    """

    kind = "torch_file"
    batch = None
    provider = "torch"

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
        self.precision, chosen = choose_torch_precision(options.precision, self.device, "torch")
        torch.set_num_threads(max(1, threads // calls))
        self._network = network.to(self.device).eval()
        self.notes = (*notes, *more, *chosen)

    def forward(self, pictures: Pictures) -> NDArray[np.floating[Any]]:
        """See `PictureNetwork.forward`."""
        import torch

        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
        try:
            with (
                torch.inference_mode(),
                torch.autocast(self.device.partition(":")[0], half, enabled=half is not None),
            ):
                answer = self._network(torch.from_numpy(pictures).to(self.device))
            if isinstance(answer, list | tuple) and answer:
                answer = answer[0]
            if not isinstance(answer, torch.Tensor):
                raise InferenceError(f"{self.name}: its output is a {type(answer).__name__}; a tensor is needed")
            values: NDArray[np.floating[Any]] = answer.float().cpu().numpy()
        except InferenceError:
            raise
        except Exception as error:  # a network may raise any error
            raise network_error(
                error, f"{self.name}: failed on pictures of shape {pictures.shape}: {first_line(error)}"
            ) from error
        return values.reshape(values.shape[:2]) if all(side == 1 for side in values.shape[2:]) else values

    @property
    def module(self) -> nn.Module:
        """The network, on its device."""
        return self._network

    def in_precision(self, precision: Precision) -> None:
        """See `PictureNetwork.in_precision`."""
        self.precision = precision
