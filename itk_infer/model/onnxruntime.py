"""ONNX files run by onnxruntime, on a CPU or a CUDA device."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from itk_infer.errors import ModelError
from itk_infer.model.backend import Logits, Windows
from itk_infer.model.fitting import network_error

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm")
GPU_PROVIDERS = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeNetwork:
    """A session, called with windows.

    Args:
        session: An open session; its first input and output are used.
        dtype: What its input holds.
    """

    def __init__(self, session: Any, dtype: np.dtype[Any]) -> None:
        self._session = session
        self._input, self._output = session.get_inputs()[0].name, session.get_outputs()[0].name
        self._dtype = dtype

    def __call__(self, windows: Windows) -> Logits:
        """Run the network."""
        fed = np.ascontiguousarray(windows, self._dtype)
        try:
            answer: Logits = self._session.run([self._output], {self._input: fed})[0]
        except Exception as error:  # onnxruntime has one exception class a status, and no common base
            raise network_error(error, f"the network failed on {windows.shape}: {essence(error)}") from error
        return answer


def import_runtime() -> Any:
    """The onnxruntime module.

    Raises:
        ModelError: it is missing, or two distributions of it overwrote each other's files.
    """
    installed = [name for name in RUNTIMES if version_of(name)]
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


def version_of(distribution: str) -> str | None:
    """Installed version of a distribution; None if it is not there."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def open_session(
    runtime: Any, model: Path | bytes, providers: list[Any], threads: int, *, optimise: bool = True
) -> Any:
    """A session.

    Args:
        runtime: The onnxruntime module.
        model: The ONNX file, or its content.
        providers: As onnxruntime takes them.
        threads: Threads of the CPU provider.
        optimise: False for a session that is only asked about the file.

    Raises:
        ModelError: onnxruntime cannot load the file.
    """
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # failures come as exceptions; its own lines would only repeat them
    options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        source = str(model) if isinstance(model, Path) else model
        return runtime.InferenceSession(source, options, providers=providers)
    except Exception as error:  # onnxruntime has one exception class a status, and no common base
        name = model if isinstance(model, Path) else "the converted model"
        raise ModelError(f"{name}: onnxruntime cannot load it: {essence(error)}") from error


def open_on_gpu(runtime: Any, model: Path | bytes, kind: str, index: int, threads: int) -> Any:
    """A session on a GPU; None where there is none to be had.

    The providers that onnxruntime offers are no evidence of a GPU: it falls back to the CPU without a
    word. The session's own list is.

    Args:
        runtime: The onnxruntime module.
        model: The ONNX file, or its content.
        kind: ``cuda`` or ``tensorrt``.
        index: Which device.
        threads: Threads for what stays on the CPU.
    """
    provider = GPU_PROVIDERS[kind]
    if provider not in runtime.get_available_providers():
        return None
    # Fixed shapes are searched once by heuristics; exhaustive search would repeat for every new shape.
    cuda = {"device_id": str(index), "cudnn_conv_algo_search": "HEURISTIC"}
    providers: list[Any] = [("CUDAExecutionProvider", cuda)]
    if kind == "tensorrt":
        providers.insert(0, (provider, {"device_id": str(index), "trt_engine_cache_enable": "True"}))
    session = open_session(runtime, model, providers, threads)
    return session if provider in session.get_providers() else None


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
    except Exception as error:  # a converter over anybody's graph
        raise ModelError(f"{path}: cannot be converted to fp16 ({essence(error)}); leave --fp16 out") from error
    return converted


def essence(error: Exception) -> str:
    """The part of an onnxruntime message that a person can use, on one line."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).removeprefix("[ONNXRuntimeError] : ")
