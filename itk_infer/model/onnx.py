"""ONNX networks through onnxruntime, on a CPU or a CUDA device."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from itk_infer.errors import InferenceError, ModelError, SpecError
from itk_infer.model.backend import Logits, NetworkShape, Windows
from itk_infer.model.sources import Document, Sources, older_window, resolve

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm")
FLOAT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
INFERENCE_KEYS = ("patch_size", "patch_stride", "forward_batch_windows")


class OnnxBackend:
    """A network in an ONNX file: first input, first output, NCZYX or NCYX.

    Args:
        path: The ``.onnx`` file.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. A device that is not there is an error;
            only ``auto`` may settle for the CPU, and says so in `notes`.
        sources: What else speaks about the model.
        threads: CPU threads; None: one for each usable core.

    Raises:
        ModelError: the file, the runtime or the device cannot be used.
        SpecError: the model's metadata or spec is invalid.
    """

    def __init__(
        self, path: Path, *, device: str = "auto", sources: Sources | None = None, threads: int | None = None
    ) -> None:
        sources = sources or Sources()
        if not path.is_file():
            raise ModelError(f"{path}: no such file; --onnx needs an ONNX model")
        runtime = _import_runtime()
        self._session, self.device, notes = _open(runtime, path, device, threads or _usable_cores())
        self.digest = _digest(path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1:
            names = ", ".join(item.name for item in inputs)
            raise ModelError(f"{path}: the network has {len(inputs)} inputs ({names}); one image input is needed")
        self._input, self._output = inputs[0].name, outputs[0].name
        if inputs[0].type not in FLOAT_TYPES:
            raise ModelError(f"{path}: the network takes {inputs[0].type}; a floating-point input is needed")
        self._dtype = np.dtype(FLOAT_TYPES[inputs[0].type])
        self.half = self._dtype == np.float16
        found = self._session.get_modelmeta().custom_metadata_map
        documents, more, hint = _embedded(found, f"metadata of {path.name}")
        self.shape = _shape(path, inputs[0].shape, outputs[0].shape, hint)
        self._flat = len(inputs[0].shape) == 4
        self.spec, changes = resolve([*documents, *sources.beside(path)], sources.overrides)
        self.notes = (*notes, *more, *changes)

    def forward(self, windows: Windows) -> Logits:
        """See `Backend.forward`. A network with a fixed batch gets a padded last batch."""
        count = len(windows)
        fixed = self.shape.batch
        if fixed is not None and count != fixed:
            parts = [self._fixed(windows[first : first + fixed], fixed) for first in range(0, count, fixed)]
            return np.concatenate(parts)
        return self._run(windows)

    def _fixed(self, windows: Windows, batch: int) -> Logits:
        missing = batch - len(windows)
        full = np.pad(windows, ((0, missing), *[(0, 0)] * 4)) if missing else windows
        return self._run(full)[: len(windows)]

    def _run(self, windows: Windows) -> Logits:
        fed = windows[:, :, 0] if self._flat else windows
        try:
            answer = self._session.run([self._output], {self._input: np.ascontiguousarray(fed, self._dtype)})[0]
        except Exception as error:  # onnxruntime has one exception class for each status, and no common base
            raise InferenceError(f"the network failed on {fed.shape}: {_essential(error)}") from error
        logits: Logits = answer
        return logits[:, :, None] if self._flat and logits.ndim == 4 else logits


def _import_runtime() -> Any:
    installed = [name for name in RUNTIMES if _version(name)]
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"the ONNX backend needs onnxruntime ({error}): pip install 'itk_infer[onnx]' for a CPU, or "
            "'itk_infer[onnx-gpu]' for an NVIDIA GPU"
        ) from None
    if len(installed) > 1 or not hasattr(onnxruntime, "InferenceSession"):
        names = " and ".join(installed) or "a broken onnxruntime"
        keep = "onnxruntime-gpu" if "onnxruntime-gpu" in installed else "onnxruntime"
        raise ModelError(
            f"{names} are installed together and overwrite each other's files; repair with: "
            f"pip uninstall -y {' '.join(installed) or 'onnxruntime'} && pip install {keep}"
        )
    return onnxruntime


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _open(runtime: Any, path: Path, device: str, threads: int) -> tuple[Any, str, list[str]]:
    """A session on the requested device, the device it really is on, and what to tell the user."""
    kind, _, number = device.partition(":")
    offered = runtime.get_available_providers()
    if kind in ("auto", "cuda"):
        reason = "this onnxruntime is a CPU build"
        if "CUDAExecutionProvider" in offered:
            index = int(number or 0)
            session = _session(runtime, path, [("CUDAExecutionProvider", {"device_id": str(index)})], threads)
            # The list of providers offered is no evidence of a GPU; the session's own list is.
            if "CUDAExecutionProvider" in session.get_providers():
                return session, f"cuda:{index}", [f"device: cuda:{index}"]
            reason = "onnxruntime found no usable CUDA device"
        if kind == "cuda":
            raise ModelError(
                f"--device {device}: {reason}; install 'itk_infer[onnx-gpu]' with a matching CUDA driver, "
                "or choose --device cpu"
            )
        return _session(runtime, path, ["CPUExecutionProvider"], threads), "cpu", [f"device: cpu ({reason})"]
    return _session(runtime, path, ["CPUExecutionProvider"], threads), "cpu", []


def _session(runtime: Any, path: Path, providers: list[Any], threads: int) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # failures come as exceptions; its own lines would only repeat them
    options.intra_op_num_threads = threads
    try:
        return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime has one exception class for each status, and no common base
        raise ModelError(f"{path}: onnxruntime cannot load it: {_essential(error)}") from error


def _usable_cores() -> int:
    """Cores this process may use; onnxruntime alone would count the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    block = {key: older[key] for key in ("patch_size", "patch_stride") if older.get(key) is not None}
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


def _json(text: str, source: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SpecError(f"{source}: is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise SpecError(f"{source}: must be a JSON object")
    return value


def _digest(path: Path) -> str:
    """SHA-256 of the file and of the weights beside it, where a model keeps them apart."""
    digest = hashlib.sha256()
    apart = [path.with_name(path.name + suffix) for suffix in (".data", "_data")]
    for part in (path, *(file for file in apart if file.is_file())):
        with part.open("rb") as stream:
            while chunk := stream.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()


def _essential(error: Exception) -> str:
    """The part of an onnxruntime message that a person can use, on one line."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).removeprefix("[ONNXRuntimeError] : ")
