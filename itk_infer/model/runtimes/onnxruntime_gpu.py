"""Run ONNX networks on a GPU; windows and logits stay in its memory if torch can use it."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.errors import ModelError, OutOfMemoryError
from itk_infer.model.backend import Logits, Windows
from itk_infer.model.inferer.out_of_memory import network_error
from itk_infer.model.runtimes.onnxruntime import ANSWER_TYPES, OnnxRuntimeNetwork, first_line, open_session

if TYPE_CHECKING:
    import torch

PROVIDERS = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider"}
ASYNCHRONOUS = "disable_synchronize_execution_providers"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, and the onnxruntime provider that runs networks on it.

    Attributes:
        kind: ``cuda`` or ``tensorrt``.
        index: Number of the device.
        max_bytes: Bytes of its memory that may be used, half of them by onnxruntime; None: all.
        stream: torch's stream that the network runs in; None if torch cannot use the device.
        cache: Folder for the engines that TensorRT builds, for minutes; None: they are built in every run.
    """

    kind: str
    index: int
    max_bytes: int | None = None
    stream: Any = None
    cache: Path | None = None

    @property
    def provider(self) -> str:
        """The provider's name in onnxruntime."""
        return PROVIDERS[self.kind]

    def open(self, runtime: Any, model: Path | bytes, threads: int, *, half: bool = False) -> Any:
        """Open a session; None if there is no such GPU.

        The session's list of providers decides whether there is one: onnxruntime offers its GPU providers on
        machines without a GPU, too, and falls back to the CPU silently.

        Args:
            runtime: The onnxruntime module.
            model: The ONNX file, or its content.
            threads: Threads for operations on the CPU.
            half: Whether TensorRT may compute in fp16.
        """
        if self.provider not in runtime.get_available_providers():
            return None
        if self.stream is None and hasattr(runtime, "preload_dlls"):
            with contextlib.redirect_stdout(io.StringIO()):  # it prints the libraries that it does not find
                runtime.preload_dlls()  # from NVIDIA's packages, unless torch has loaded its own
        session = open_session(runtime, model, self._settings(half), threads)
        if self.provider not in session.get_providers():
            return None
        session.disable_fallback()  # else a failed call is repeated on another provider, without these settings
        return session

    def _settings(self, half: bool) -> list[Any]:
        shared = {"device_id": str(self.index)}
        if self.stream is not None:  # not the default stream: onnxruntime takes its handle, 0, for none
            shared["user_compute_stream"] = str(self.stream.cuda_stream)
        cuda = {
            **shared,
            # An exhaustive search would be repeated for every new shape.
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",  # the default takes up to twice the memory
            "use_tf32": "0",  # TF32 is less exact than fp32; `precision=half` is faster and is checked
        }
        if self.max_bytes is not None:
            cuda["gpu_mem_limit"] = str(self.max_bytes // 2)  # the other half is for torch
        found: list[Any] = [(PROVIDERS["cuda"], cuda)]
        if self.kind == "tensorrt":
            tensorrt = {**shared, "trt_fp16_enable": str(half)}
            if self.cache is not None:
                self.cache.mkdir(parents=True, exist_ok=True)
                tensorrt |= {"trt_engine_cache_enable": "True", "trt_timing_cache_enable": "True"}
                tensorrt |= {f"trt_{what}_cache_path": str(self.cache) for what in ("engine", "timing")}
            found.insert(0, (self.provider, tensorrt))
        return found


def torch_stream(index: int) -> torch.cuda.Stream | None:
    """Make a stream on a GPU; None if torch is missing, or has no CUDA."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    return torch.cuda.Stream(index)  # type: ignore[no-untyped-call]


class OnnxTensorNetwork:
    """A session that takes and returns arrays, as `OnnxRuntimeNetwork`, or tensors on its device.

    Args:
        runtime: The onnxruntime module.
        session: An open session; its first input and output are used.
        dtype: What its input holds.
        stream: The stream that the session runs in; None: calls are synchronous, as on a CPU.
    """

    def __init__(self, runtime: Any, session: Any, dtype: np.dtype[Any], stream: torch.cuda.Stream | None) -> None:
        self._arrays = OnnxRuntimeNetwork(session, dtype)
        self._session = session
        self._dtype = dtype
        self._stream = stream
        self._input, self._output = session.get_inputs()[0], session.get_outputs()[0]
        self._answer_dtype = np.dtype(ANSWER_TYPES[self._output.type])
        self._options = runtime.RunOptions()
        if stream is not None:  # calls are asynchronous: later work waits for them on the device
            self._options.add_run_config_entry(ASYNCHRONOUS, "1")
        self._shapes: dict[tuple[int, ...], tuple[int, ...]] = {}  # shapes of outputs, by the shape of the window

    def __call__(self, windows: Windows) -> Logits:
        """Run the network."""
        if isinstance(windows, np.ndarray):
            return self._arrays(windows)
        import torch

        fed = windows.to(getattr(torch, self._dtype.name)).contiguous()
        shape = (len(fed), *self._answer_shape(fed))
        answer = torch.empty(shape, dtype=getattr(torch, self._answer_dtype.name), device=fed.device)
        binding = self._session.io_binding()
        where = fed.device.type, fed.device.index or 0
        binding.bind_input(self._input.name, *where, self._dtype, list(fed.shape), fed.data_ptr())
        binding.bind_output(self._output.name, *where, self._answer_dtype, list(shape), answer.data_ptr())
        try:
            if self._stream is None:
                self._session.run_with_iobinding(binding, self._options)
                return answer
            current = torch.cuda.current_stream(fed.device)
            self._stream.wait_stream(current)
            # Their memory must not be reused while the other stream still works with it.
            fed.record_stream(self._stream)
            answer.record_stream(self._stream)
            try:
                self._session.run_with_iobinding(binding, self._options)
            finally:
                current.wait_stream(self._stream)
        except Exception as error:  # onnxruntime has one exception class a status, and no common base
            found = network_error(error, f"the network failed on {tuple(fed.shape)}: {first_line(error)}")
            if isinstance(found, OutOfMemoryError):
                torch.cuda.empty_cache()  # onnxruntime cannot use memory that torch caches
            raise found from error
        return answer

    def _answer_shape(self, fed: torch.Tensor) -> tuple[int, ...]:
        """The shape of the output for one window: the declared one, or else that of a first call."""
        window = tuple(fed.shape[1:])
        if window not in self._shapes:
            known_rank = len(self._output.shape) == fed.ndim
            declared: list[Any] = list(self._output.shape[1:]) if known_rank else [None]
            known = [isinstance(size, int) and size > 0 for size in declared]
            if all(known):
                self._shapes[window] = tuple(declared)
            elif known[0] and not any(known[1:]):  # channels first, sizes free
                self._shapes[window] = (declared[0], *window[1:])
            else:
                self._shapes[window] = self._arrays(fed.cpu().numpy()).shape[1:]
        return self._shapes[window]


def half_model(path: Path) -> bytes:
    """Convert weights and arithmetic of a model to fp16; types of inputs and outputs are kept.

    Raises:
        ModelError: the converter is missing, or cannot convert this network.
    """
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        converted: bytes = convert_float_to_float16(onnx.load(path), keep_io_types=True).SerializeToString()
    except ImportError as error:
        raise ModelError(f"half precision on a GPU needs the onnx package ({error}): pip install onnx") from None
    except Exception as error:  # a converter may raise any error
        raise ModelError(
            f"{path}: cannot be converted to fp16 ({first_line(error)}); leave `precision=half` out"
        ) from error
    return converted
