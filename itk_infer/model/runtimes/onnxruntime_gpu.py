"""ONNX networks on a GPU: windows and logits stay there, where torch can hold them."""

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
    """A GPU, and what runs networks on it.

    Attributes:
        kind: ``cuda`` or ``tensorrt``.
        index: Which device.
        max_bytes: Bytes that may be used there, half of them by onnxruntime; None: all.
        stream: torch's stream that the network runs in; None where torch cannot use the device.
        cache: Folder for what TensorRT builds in minutes; None: built anew every time.
    """

    kind: str
    index: int
    max_bytes: int | None = None
    stream: Any = None
    cache: Path | None = None

    @property
    def provider(self) -> str:
        """What onnxruntime calls it."""
        return PROVIDERS[self.kind]

    def open(self, runtime: Any, model: Path | bytes, threads: int, *, half: bool = False) -> Any:
        """A session; None where there is no such GPU.

        The providers that onnxruntime offers are no evidence of a GPU: it falls back to the CPU without a
        word. The session's own list is.

        Args:
            runtime: The onnxruntime module.
            model: The ONNX file, or its content.
            threads: Threads for what stays on the CPU.
            half: Whether TensorRT may compute in fp16.
        """
        if self.provider not in runtime.get_available_providers():
            return None
        if self.stream is None and hasattr(runtime, "preload_dlls"):
            with contextlib.redirect_stdout(io.StringIO()):  # it would print what it did not find
                runtime.preload_dlls()  # from NVIDIA's packages, where torch has not loaded its own
        session = open_session(runtime, model, self._settings(half), threads)
        if self.provider not in session.get_providers():
            return None
        session.disable_fallback()  # or a failing call would go on elsewhere, without our settings
        return session

    def _settings(self, half: bool) -> list[Any]:
        shared = {"device_id": str(self.index)}
        if self.stream is not None:  # onnxruntime takes no default stream: its handle, 0, counts as none
            shared["user_compute_stream"] = str(self.stream.cuda_stream)
        cuda = {
            **shared,
            # Fixed shapes are searched once by heuristics; exhaustive search would repeat for every new shape.
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",  # the other one takes up to twice what is needed
            "use_tf32": "0",  # fp32 means fp32; `precision=half` is faster, and its results are checked
        }
        if self.max_bytes is not None:
            cuda["gpu_mem_limit"] = str(self.max_bytes // 2)  # the other half is torch's
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
    """A stream of its own on a GPU; None where torch is missing, or has no CUDA."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    return torch.cuda.Stream(index)  # type: ignore[no-untyped-call]


class OnnxTensorNetwork:
    """A session that also takes tensors of its device, and answers with such; arrays as `OnnxRuntimeNetwork`.

    Args:
        runtime: The onnxruntime module.
        session: An open session; its first input and output are used.
        dtype: What its input holds.
        stream: The stream that the session runs in; None: it is done when it returns, as on a CPU.
    """

    def __init__(self, runtime: Any, session: Any, dtype: np.dtype[Any], stream: torch.cuda.Stream | None) -> None:
        self._arrays = OnnxRuntimeNetwork(session, dtype)
        self._session = session
        self._dtype = dtype
        self._stream = stream
        self._input, self._output = session.get_inputs()[0], session.get_outputs()[0]
        self._answer_dtype = np.dtype(ANSWER_TYPES[self._output.type])
        self._options = runtime.RunOptions()
        if stream is not None:  # nothing waits: what comes after it waits for it on the device
            self._options.add_run_config_entry(ASYNCHRONOUS, "1")
        self._shapes: dict[tuple[int, ...], tuple[int, ...]] = {}  # of answers, by that of the window

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
            # Their memory must not be given away while the other stream still works with it.
            fed.record_stream(self._stream)
            answer.record_stream(self._stream)
            try:
                self._session.run_with_iobinding(binding, self._options)
            finally:
                current.wait_stream(self._stream)
        except Exception as error:  # onnxruntime has one exception class a status, and no common base
            found = network_error(error, f"the network failed on {tuple(fed.shape)}: {first_line(error)}")
            if isinstance(found, OutOfMemoryError):
                torch.cuda.empty_cache()  # what torch keeps for later is nothing to onnxruntime
            raise found from error
        return answer

    def _answer_shape(self, fed: torch.Tensor) -> tuple[int, ...]:
        """The shape of the answer to one window: as the file declares it, or else from one answer."""
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
    """The model with its weights and arithmetic in fp16, its inputs and outputs as they were.

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
