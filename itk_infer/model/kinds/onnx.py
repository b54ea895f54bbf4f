"""ONNX models: what their files declare, and the fastest library on this machine to run them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itk_infer.arrays import namespace
from itk_infer.errors import ConfigError, InferenceError, ModelError, OutOfMemoryError
from itk_infer.files.user_cache import kept_folder
from itk_infer.machine import usable_cores
from itk_infer.model.backend import Backend, BackendOptions, Logits, Windows
from itk_infer.model.kinds.onnx_end import check_end, graph_end, starts_with_channels_last, with_end
from itk_infer.model.kinds.onnx_graph import read_graph
from itk_infer.model.kinds.onnx_layout import find_layout
from itk_infer.model.kinds.onnx_metadata import embedded_documents
from itk_infer.model.kinds.onnx_weight_files import model_digest, weight_files
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.fallback import WithFallback
from itk_infer.model.runtimes.onnxruntime import (
    ANSWER_TYPES,
    FLOAT_TYPES,
    OnnxRuntimeNetwork,
    import_runtime,
    open_session,
)
from itk_infer.model.runtimes.onnxruntime_gpu import PROVIDERS, Gpu, OnnxTensorNetwork, half_model, torch_stream
from itk_infer.model.runtimes.precision import Precision, choose_precision
from itk_infer.model.spec_sources import SpecSources, resolve
from itk_infer.options_of_models import PrecisionChoice, Provider

Network = Callable[[Windows], Logits]


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> OnnxBackend:
    """Load an ONNX file, see `OnnxBackend`."""
    return OnnxBackend(
        paths[0],
        device=options.device,
        provider=options.provider,
        precision=options.precision,
        threads=options.threads,
        max_vram=options.max_vram,
        sources=spec_sources,
    )


class OnnxBackend:
    """A network in an ONNX file: first input, first output; NCZYX or NCYX, or the same with channels last.

    Args:
        path: The ``.onnx`` file.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. A device that does not exist is an error;
            only ``auto`` may fall back to the CPU, with a sentence in `notes`.
        provider: What runs the network: ``cpu`` is onnxruntime's CPU provider, ``auto`` is OpenVINO on a CPU if
            it is installed and can run the network, and CUDA on a GPU.
        precision: See `choose_precision`.
        threads: Threads on the CPU; None: one per usable core.
        max_vram: Bytes of GPU memory that may be used, half of them by onnxruntime; None: all.
        sources: Further sources of the spec.

    Raises:
        ModelError: the file cannot be read, or runtime or device are not available.
        SpecError: the model's metadata or spec is invalid.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str = "auto",
        provider: Provider = "auto",
        precision: PrecisionChoice = "auto",
        threads: int | None = None,
        max_vram: int | None = None,
        sources: SpecSources | None = None,
    ) -> None:
        sources = sources or SpecSources()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "no such file"
            raise ModelError(f"{path}: {what}; give an ONNX model")
        self._path = path
        self._threads = threads or usable_cores()
        self._runtime = import_runtime()
        self._max_vram = max_vram
        self._gpu: Gpu | None = None
        graph = read_graph(path)
        self.digest = model_digest(path, weight_files(path, graph.external))
        session, self.device, self.provider, notes = self._open(device, provider)
        # Whether another library may be used if this one fails.
        self._automatic = provider == "auto"
        self.tensor_device = self._tensor_device()
        inputs, outputs = session.get_inputs(), session.get_outputs()
        _check_ends(path, inputs, outputs)
        self._dtype = np.dtype(FLOAT_TYPES[inputs[0].type])
        if self.provider == "openvino" and self._dtype != np.float32:
            # OpenVINO is used for float32 networks only.
            if not self._automatic:
                raise ModelError(
                    f"`provider=openvino`: {path} takes {inputs[0].type}, and only networks of tensor(float) "
                    "are run by OpenVINO; leave `provider` out, and onnxruntime runs it"
                )
            self.provider, session = "cpu", self._session_on_cpu()
            notes.append(f"the network takes {inputs[0].type}; onnxruntime runs it instead of OpenVINO")
        found = session.get_modelmeta().custom_metadata_map
        documents, more, hint = embedded_documents(found, f"metadata of {path.name}")
        documents += sources.beside(path)
        spec, changes = resolve(documents, sources.overrides)
        moved = starts_with_channels_last(graph, inputs[0].name)
        taken, given = inputs[0].shape, outputs[0].shape
        self._layout = find_layout(path, taken, given, len(spec.input.channels), moved)
        self.shape = self._layout.network_shape(taken, given, hint)
        end = graph_end(graph, outputs[0].name)
        check_end(path, end, outputs[0].type, self.shape.channels_out)
        self.spec, meant = with_end(spec, documents, end, self.shape.channels_out)
        more += meant
        self.precision, chosen = self._choose(precision)
        self._network = self._build(session)
        if self._layout.last_in:
            more.append(f"the network takes {self._layout.axes}; windows and outputs are transposed")
        if len(outputs) > 1:
            more.append(f"the network has {len(outputs)} outputs; the first, {outputs[0].name}, is used")
        self.notes = (*notes, *chosen, *more, *changes)

    def forward(self, windows: Windows) -> Logits:
        """See `Backend.forward`. If the network fixes the batch size, the last batch is padded."""
        count = len(windows)
        fixed = self.shape.batch
        if fixed is not None and count != fixed:
            parts = [self._padded(windows[first : first + fixed], fixed) for first in range(0, count, fixed)]
            return namespace(windows).concat(parts)
        return self._run(windows)

    def in_full_precision(self) -> Backend:
        """See `Backend.in_full_precision`; a network stored in half precision returns itself."""
        if self.precision == "fp32" or self._dtype == np.float16:
            return self
        twin = copy.copy(self)
        twin.precision = "fp32"
        twin._network = twin._build(None)
        return twin

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self._path

    def _tensor_device(self) -> str | None:
        return None if self._gpu is None or self._gpu.stream is None else self.device

    def _padded(self, windows: Windows, batch: int) -> Logits:
        xp, missing = namespace(windows), batch - len(windows)
        full = xp.concat([windows, *[windows[-1:]] * missing]) if missing else windows
        return xp.asarray(self._run(full)[: len(windows)], copy=True)

    def _run(self, windows: Windows) -> Logits:
        try:
            return self._layout.answered(self._network(self._layout.given(windows)), windows)
        except OutOfMemoryError:
            raise
        except InferenceError as error:
            if None not in self.shape.size:
                raise
            raise InferenceError(
                f"{error}; if the network was made for one size, give that as patch size"
            ) from error

    def _open(self, device: str, provider: Provider) -> tuple[Any, str, str, list[str]]:
        """Open a session of the file; returns it with the device, the provider, and notes for the user."""
        kind, _, number = device.partition(":")
        if provider in ("cuda", "tensorrt") and kind == "cpu":
            raise ModelError(f"`provider={provider}` runs on a GPU; leave `device=cpu` out")
        if provider in ("cpu", "openvino") and kind == "cuda":
            raise ModelError(f"`provider={provider}` runs on the CPU; leave `device={device}` out")
        gpu = provider if provider in ("cuda", "tensorrt") else "cuda"
        reason = f"as `provider={provider}` requires"
        if kind == "cuda" or (provider in ("auto", "cuda", "tensorrt") and kind != "cpu"):
            index = int(number or 0)
            # torch is imported only if onnxruntime could use a GPU.
            offered = PROVIDERS[gpu] in self._runtime.get_available_providers()
            stream = torch_stream(index) if offered else None
            cache = kept_folder(f"tensorrt/{self.digest[:16]}") if gpu == "tensorrt" else None
            self._gpu = Gpu(gpu, index, self._max_vram, stream, cache)
            session = self._gpu.open(self._runtime, self._path, self._threads)
            if session is not None:
                found = [f"device: cuda:{index}"]
                if gpu == "tensorrt" and cache is None:
                    found.append(
                        "TensorRT builds its engines again, for minutes: the user's cache cannot be written"
                    )
                if self._gpu.stream is None:
                    found.append("windows go through host memory; torch with CUDA would keep them on the GPU")
                return session, f"cuda:{index}", gpu, found
            self._gpu = None
            reason = "this onnxruntime is a CPU build"
            if "CUDAExecutionProvider" in self._runtime.get_available_providers():
                reason = "onnxruntime found no usable CUDA device"
            if kind == "cuda" or provider in ("cuda", "tensorrt"):
                asked = f"`device={device}`" if kind == "cuda" else f"`provider={provider}`"
                raise ModelError(
                    f"{asked}: {reason}; install 'itk_infer[onnx-gpu]' with a matching CUDA driver, or "
                    "choose `device=cpu`"
                )
        if provider == "openvino" and not openvino.openvino_installed():
            raise ModelError("`provider=openvino`: OpenVINO is not installed: pip install 'itk_infer[openvino]'")
        fast = provider != "cpu" and openvino.openvino_installed()
        # With OpenVINO this session only reads inputs, outputs and metadata, and refuses damaged files.
        session = self._session_on_cpu(optimise=not fast)
        unread = openvino.why_not(self._path) if fast else None
        if unread is not None and provider == "openvino":
            raise ModelError(
                f"`provider=openvino`: OpenVINO cannot read {self._path} ({unread}); leave `provider` out, and "
                "onnxruntime runs it"
            )
        fast = fast and unread is None
        with_openvino = " with OpenVINO" if fast else ""
        notes = [] if kind == "cpu" else [f"device: cpu{with_openvino} ({reason})"]
        if unread is not None:
            notes.append(f"OpenVINO cannot read this network ({unread}); onnxruntime runs it instead")
            session = self._session_on_cpu()
        return session, "cpu", "openvino" if fast else "cpu", notes

    def _session_on_cpu(self, *, optimise: bool = True) -> Any:
        return open_session(self._runtime, self._path, ["CPUExecutionProvider"], self._threads, optimise=optimise)

    def _choose(self, wish: PrecisionChoice) -> tuple[Precision, list[str]]:
        if self._dtype == np.float16:
            if wish in ("auto", "half", "fp16"):
                return "fp16", []
            raise ConfigError(f"`precision={wish}`: {self._path.name} is stored in fp16 and runs in that only")
        offered: tuple[Precision, ...] = ()
        if self.provider == "openvino":
            offered = openvino.reduced_precisions()
        elif self.provider in ("cuda", "tensorrt"):
            offered = ("fp16",)
        where = f"{self.device} with {self.provider if self.provider != 'cpu' else 'onnxruntime'}"
        return choose_precision(wish, offered, where)

    def _build(self, session: Any) -> Network:
        """Make a function that runs the network in `precision`; `session`, if given, runs it as stored."""
        if self.provider == "openvino":
            read = openvino.onnx_reader(self._path)
            remedy = "" if self._automatic else "; leave `provider=openvino` out, and onnxruntime may run it"
            network = openvino.OpenVinoNetwork(read, self.precision, self._threads, remedy)
            return WithFallback(network, self._plain_network, self._fell_back) if self._automatic else network
        if self._gpu is None:
            return OnnxRuntimeNetwork(session, self._dtype)
        half = self.precision == "fp16" and self._dtype == np.float32
        if half or session is None:
            # TensorRT chooses which layers it computes in fp16; for CUDA the network is converted.
            model = half_model(self._path) if half and self._gpu.kind == "cuda" else self._path
            session = self._gpu.open(self._runtime, model, self._threads, half=half)
        return OnnxTensorNetwork(self._runtime, session, self._dtype, self._gpu.stream)

    def _plain_network(self) -> Network:
        return OnnxRuntimeNetwork(self._session_on_cpu(), self._dtype)

    def _fell_back(self, why: str, shape: tuple[int, ...], ran_before: bool) -> None:
        what = f"windows of shape {shape}" if ran_before else "this network"
        self.notes = (*self.notes, f"OpenVINO cannot run {what} ({why}); onnxruntime runs it in fp32 instead")
        if not ran_before:
            self.provider, self.precision = "cpu", "fp32"


def _check_ends(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    if len(inputs) != 1:
        names = ", ".join(item.name for item in inputs)
        raise ModelError(f"{path}: the network has {len(inputs)} inputs ({names}); one image input is needed")
    if inputs[0].type not in FLOAT_TYPES:
        raise ModelError(f"{path}: the network takes {inputs[0].type}; a floating-point input is needed")
    if outputs[0].type not in ANSWER_TYPES:
        raise ModelError(
            f"{path}: the network's first output is {outputs[0].type}; export it with logits, one channel per "
            "class, as its first output"
        )
