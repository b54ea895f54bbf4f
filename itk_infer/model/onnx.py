"""ONNX models: what their files say, and whatever runs them best on this machine."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itk_infer.arrays import namespace
from itk_infer.errors import ConfigError, ModelError, SpecError
from itk_infer.machine import usable_cores
from itk_infer.model import openvino
from itk_infer.model.backend import Backend, Logits, NetworkShape, Provider, Windows
from itk_infer.model.onnx_gpu import PROVIDERS, Gpu, OnnxTensorNetwork, half_model, torch_stream
from itk_infer.model.onnxruntime import FLOAT_TYPES, OnnxRuntimeNetwork, import_runtime, open_session
from itk_infer.model.precision import Precision, Wish, choose_precision
from itk_infer.model.sources import Document, Sources, older_window, resolve
from itk_infer.model.user_cache import kept_folder

Network = Callable[[Windows], Logits]

INFERENCE_KEYS = ("patch_size", "patch_stride", "forward_batch_windows")


class OnnxBackend:
    """A network in an ONNX file: first input, first output, NCZYX or NCYX.

    Args:
        path: The ``.onnx`` file.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. A device that is not there is an error;
            only ``auto`` may settle for the CPU, and says so in `notes`.
        provider: What runs it: ``cpu`` is onnxruntime's own, ``auto`` takes OpenVINO on a CPU where
            it is installed, and CUDA on a GPU.
        precision: See `choose_precision`.
        threads: Threads on the CPU; None: as many as cores may be used.
        max_vram: Bytes of a GPU that may be used, half of them by onnxruntime; None: all.
        sources: What else speaks about the model.

    Raises:
        ModelError: the file, the runtime, the device or the precision cannot be had.
        SpecError: the model's metadata or spec is invalid.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str = "auto",
        provider: Provider = "auto",
        precision: Wish = "auto",
        threads: int | None = None,
        max_vram: int | None = None,
        sources: Sources | None = None,
    ) -> None:
        sources = sources or Sources()
        if not path.is_file():
            raise ModelError(f"{path}: no such file; --onnx needs an ONNX model")
        self._path = path
        self._threads = threads or usable_cores()
        self._runtime = import_runtime()
        self._max_vram = max_vram
        self._gpu: Gpu | None = None
        session, self.device, self.provider, notes = self._open(device, provider)
        self.tensor_device = self._tensor_device()
        self.digest = _digest(path)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1:
            names = ", ".join(item.name for item in inputs)
            raise ModelError(f"{path}: the network has {len(inputs)} inputs ({names}); one image input is needed")
        if inputs[0].type not in FLOAT_TYPES:
            raise ModelError(f"{path}: the network takes {inputs[0].type}; a floating-point input is needed")
        self._dtype = np.dtype(FLOAT_TYPES[inputs[0].type])
        if self.provider == "openvino" and self._dtype != np.float32:
            # Networks stored in another format run as they are.
            self.provider, session = "cpu", self._session_on_cpu()
        found = session.get_modelmeta().custom_metadata_map
        documents, more, hint = _embedded(found, f"metadata of {path.name}")
        self.shape = _shape(path, inputs[0].shape, outputs[0].shape, hint)
        self._flat = len(inputs[0].shape) == 4
        self.precision, chosen = self._choose(precision)
        self._network = self._build(session)
        self.spec, changes = resolve([*documents, *sources.beside(path)], sources.overrides)
        if len(outputs) > 1:
            more.append(f"the network has {len(outputs)} outputs; the first, {outputs[0].name}, is used")
        self.notes = (*notes, *chosen, *more, *changes)

    def forward(self, windows: Windows) -> Logits:
        """See `Backend.forward`. A network with a fixed batch gets a padded last batch."""
        count = len(windows)
        fixed = self.shape.batch
        if fixed is not None and count != fixed:
            parts = [self._padded(windows[first : first + fixed], fixed) for first in range(0, count, fixed)]
            return namespace(windows).concat(parts)
        return self._run(windows)

    def in_full_precision(self) -> Backend:
        """See `Backend.in_full_precision`; a network stored in half precision is itself."""
        if self.precision == "fp32" or self._dtype == np.float16:
            return self
        twin = copy.copy(self)
        twin.precision = "fp32"
        twin._network = twin._build(None)
        return twin

    def _tensor_device(self) -> str | None:
        return None if self._gpu is None or self._gpu.stream is None else self.device

    def _padded(self, windows: Windows, batch: int) -> Logits:
        xp, missing = namespace(windows), batch - len(windows)
        full = xp.concat([windows, *[windows[-1:]] * missing]) if missing else windows
        return xp.asarray(self._run(full)[: len(windows)], copy=True)

    def _run(self, windows: Windows) -> Logits:
        logits = self._network(windows[:, :, 0] if self._flat else windows)
        return logits[:, :, None] if self._flat and logits.ndim == 4 else logits

    def _open(self, device: str, provider: Provider) -> tuple[Any, str, str, list[str]]:
        """A session that knows the file, the device and provider to run it, and what to tell the user."""
        kind, _, number = device.partition(":")
        if provider in ("cuda", "tensorrt") and kind == "cpu":
            raise ModelError(f"--provider {provider} runs on a GPU; leave --device cpu out")
        if provider in ("cpu", "openvino") and kind == "cuda":
            raise ModelError(f"--provider {provider} runs on the CPU; leave --device {device} out")
        gpu = provider if provider in ("cuda", "tensorrt") else "cuda"
        reason = "as --provider says"
        if kind == "cuda" or (provider in ("auto", "cuda", "tensorrt") and kind != "cpu"):
            index = int(number or 0)
            # torch is imported only where onnxruntime could use a GPU.
            offered = PROVIDERS[gpu] in self._runtime.get_available_providers()
            stream = torch_stream(index) if offered else None
            cache = kept_folder("tensorrt") if gpu == "tensorrt" else None
            self._gpu = Gpu(gpu, index, self._max_vram, stream, cache)
            session = self._gpu.open(self._runtime, self._path, self._threads)
            if session is not None:
                found = [f"device: cuda:{index}"]
                if gpu == "tensorrt" and cache is None:
                    found.append(
                        "TensorRT builds its engines anew, for minutes: the user's cache cannot be written"
                    )
                if self._gpu.stream is None:
                    found.append("windows go through host memory; torch with CUDA would keep them on the GPU")
                return session, f"cuda:{index}", gpu, found
            self._gpu = None
            reason = "this onnxruntime is a CPU build"
            if "CUDAExecutionProvider" in self._runtime.get_available_providers():
                reason = "onnxruntime found no usable CUDA device"
            if kind == "cuda" or provider in ("cuda", "tensorrt"):
                asked = f"--device {device}" if kind == "cuda" else f"--provider {provider}"
                raise ModelError(
                    f"{asked}: {reason}; install 'itk_infer[onnx-gpu]' with a matching CUDA driver, or "
                    "choose --device cpu"
                )
        if provider == "openvino" and not openvino.openvino_installed():
            raise ModelError("--provider openvino: OpenVINO is not installed: pip install 'itk_infer[openvino]'")
        fast = provider != "cpu" and openvino.openvino_installed()
        with_openvino = " with OpenVINO" if fast else ""
        notes = [] if kind == "cpu" else [f"device: cpu{with_openvino} ({reason})"]
        # With OpenVINO this session is only asked what the file says; it also refuses weights from elsewhere.
        return self._session_on_cpu(optimise=not fast), "cpu", "openvino" if fast else "cpu", notes

    def _session_on_cpu(self, *, optimise: bool = True) -> Any:
        return open_session(self._runtime, self._path, ["CPUExecutionProvider"], self._threads, optimise=optimise)

    def _choose(self, wish: Wish) -> tuple[Precision, list[str]]:
        if self._dtype == np.float16:
            if wish in ("auto", "half", "fp16"):
                return "fp16", []
            raise ConfigError(f"--precision {wish}: {self._path.name} is stored in fp16 and runs in that only")
        offered: tuple[Precision, ...] = ()
        if self.provider == "openvino":
            offered = openvino.reduced_precisions()
        elif self.provider in ("cuda", "tensorrt"):
            offered = ("fp16",)
        where = f"{self.device} with {self.provider if self.provider != 'cpu' else 'onnxruntime'}"
        return choose_precision(wish, offered, where)

    def _build(self, session: Any) -> Network:
        """What runs the network at `precision`; `session` runs it as it is stored, if it is given."""
        if self.provider == "openvino":
            read = openvino.onnx_reader(self._path)
            return openvino.OpenVinoNetwork(read, self.precision, self._threads)
        if self._gpu is None:
            return OnnxRuntimeNetwork(session, self._dtype)
        half = self.precision == "fp16" and self._dtype == np.float32
        if half or session is None:
            # TensorRT chooses itself what it computes in fp16; CUDA needs a network in it.
            model = half_model(self._path) if half and self._gpu.kind == "cuda" else self._path
            session = self._gpu.open(self._runtime, model, self._threads, half=half)
        return OnnxTensorNetwork(self._runtime, session, self._dtype, self._gpu.stream)


def _shape(path: Path, taken: list[Any], given: list[Any], hint: int | None) -> NetworkShape:
    def fixed(dimension: Any) -> int | None:
        return dimension if isinstance(dimension, int) and dimension > 0 else None

    if len(taken) not in (4, 5):
        raise ModelError(f"{path}: the network's input has shape {taken}; NCZYX (3D) or NCYX (2D) is needed")
    batch, channels, *spatial = (fixed(dimension) for dimension in taken)
    z, y, x = spatial if len(spatial) == 3 else (1, *spatial)
    channels_out = fixed(given[1]) if len(given) == len(taken) else None
    return NetworkShape(channels, channels_out, (z, y, x), batch, hint)


def _embedded(found: Mapping[str, str], source: str) -> tuple[list[Document], list[str], int | None]:
    """Documents from the metadata of an ONNX file, lowest precedence first; notes; windows a call."""
    documents: list[Document] = []
    notes: list[str] = []
    window = older_window(found.get("window_level"), found.get("window_width"), source)
    if window:
        documents.append(window)
    older = _json(found.get("inference_config", "{}"), f"{source}, inference_config")
    block = {key: _whole(older[key]) for key in ("patch_size", "patch_stride") if older.get(key) is not None}
    if block:
        documents.append(Document(f"{source}, inference_config", {"window": block}, older=True))
    ignored = sorted(set(older) - set(INFERENCE_KEYS))
    if ignored:
        notes.append(f"{source}, inference_config: ignored {', '.join(ignored)}")
    hint = older.get("forward_batch_windows")
    if hint is not None and (isinstance(hint, bool) or not isinstance(hint, int) or hint < 1):
        raise SpecError(f"{source}, inference_config: forward_batch_windows must be 1 or more, not {hint!r}")
    if "itk_infer" in found:
        name = f"{source}, itk_infer"
        documents.append(Document(name, _json(found["itk_infer"], name)))
    return documents, notes, hint


def _whole(values: Any) -> Any:
    """Sizes that went through a program that knows only floats, as whole numbers again."""
    if not isinstance(values, list):
        return values
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]


def _json(text: str, source: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source}: is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise SpecError(f"{source}: must be a JSON object")
    return value


def _digest(path: Path) -> str:
    """SHA-256 of the file, and of the files in its folder that it takes weights from."""
    content = path.read_bytes()
    digest = hashlib.sha256(content)
    # A tensor's external data names its file in an entry of this form: key "location", then the name.
    found = re.finditer(rb"\n\x08location\x12([\x01-\x7f])", content)
    names = {content[m.end() : m.end() + m[1][0]].decode("utf-8", "replace") for m in found}
    for part in sorted(names):
        if (file := path.with_name(Path(part).name)).is_file():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
