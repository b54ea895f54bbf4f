"""onnxruntime: sessions, and networks that take arrays."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from itk_infer.errors import ModelError
from itk_infer.model.backend import Logits, Windows
from itk_infer.model.inferer.out_of_memory import network_error

FLOAT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
ANSWER_TYPES = {  # types that NumPy has and that can be compared
    **FLOAT_TYPES,
    "tensor(bool)": np.bool_,
    **{f"tensor({kind.__name__})": kind for kind in (np.int8, np.int16, np.int32, np.int64)},
    **{f"tensor({kind.__name__})": kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64)},
}
RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm")


class OnnxRuntimeNetwork:
    """A session that is called with windows.

    Args:
        session: An open session; its first input and output are used.
        dtype: Type of its input.
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
        except Exception as error:  # onnxruntime has one exception class per status, and no common base
            raise network_error(error, f"the network failed on {windows.shape}: {first_line(error)}") from error
        return answer


def import_runtime() -> Any:
    """Import onnxruntime.

    Raises:
        ModelError: it is missing, or two distributions of it overwrote each other's files.
    """
    # Since 1.29, onnxruntime reports names of models, and more, to its makers; this switches it off.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"the ONNX backend needs onnxruntime ({error}): pip install 'itk_infer[onnx]' for a CPU, or "
            "'itk_infer[onnx-gpu]' for an NVIDIA GPU"
        ) from None
    installed = _distributions()
    if len(installed) > 1 or not hasattr(onnxruntime, "InferenceSession"):
        names = " and ".join(installed) or "a broken onnxruntime"
        keep = "onnxruntime-gpu" if "onnxruntime-gpu" in installed else "onnxruntime"
        raise ModelError(
            f"{names} are installed together and overwrite each other's files; repair with: "
            f"pip uninstall -y {' '.join(installed) or 'onnxruntime'} && pip install {keep}"
        )
    return onnxruntime


def _distributions() -> list[str]:
    """The distributions that put their files in the folder of onnxruntime; importlib.metadata would be slower."""
    spec = importlib.util.find_spec("onnxruntime")
    places = [Path(place).parent for place in (spec and spec.submodule_search_locations) or ()]
    beside = {file.name.partition("-")[0] for place in places for file in place.glob("onnxruntime*.dist-info")}
    return [name for name in RUNTIMES if name.replace("-", "_") in beside]


def for_cpus_only() -> bool:
    """Whether the installed onnxruntime has no GPU provider, as far as its files show; it is not imported.

    False where they do not: conda has packages for GPUs under the same name, with libraries in another folder.
    """
    if _distributions() != ["onnxruntime"] or Path(sys.prefix, "conda-meta").is_dir():
        return False
    spec = importlib.util.find_spec("onnxruntime")
    folders = [Path(place) / "capi" for place in (spec and spec.submodule_search_locations) or ()]
    return not any(file for folder in folders for file in folder.glob("*providers_cuda*"))


def version_of(distribution: str) -> str | None:
    """Installed version of a distribution; None if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def open_session(
    runtime: Any,
    model: Path | bytes,
    providers: list[Any],
    threads: int,
    *,
    optimise: bool = True,
    folder: Path | None = None,
) -> Any:
    """Open a session.

    Args:
        runtime: The onnxruntime module.
        model: The ONNX file, or its content.
        providers: As onnxruntime takes them.
        threads: Threads of the CPU provider.
        optimise: False for a session that is only used to read inputs, outputs and metadata.
        folder: Folder of external weights, if `model` is the content of a file.

    Raises:
        ModelError: onnxruntime cannot load the file.
    """
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # its log would only repeat what exceptions contain
    options.intra_op_num_threads = threads
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    if not optimise:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        source = str(model) if isinstance(model, Path) else model
        return runtime.InferenceSession(source, options, providers=providers)
    except Exception as error:  # onnxruntime has one exception class per status, and no common base
        name = model if isinstance(model, Path) else "the converted model"
        why = first_line(error)
        too_new = re.search(r"IR version|[Oo]pset", why)
        remedy = "; update onnxruntime, or export the network with an older opset" if too_new else ""
        raise ModelError(f"{name}: onnxruntime cannot load it: {why}{remedy}") from error


def first_line(error: Exception) -> str:
    """The useful part of an onnxruntime message, on one line."""
    text = str(error).strip().splitlines()
    line = (text[0] if text else type(error).__name__).removeprefix("[ONNXRuntimeError] : ")
    return re.sub(r"/\S+\.(cc|h):\d+ .*?\) (?=[A-Z])", " ", line)  # place in onnxruntime's source code
