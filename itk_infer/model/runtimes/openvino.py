"""Networks compiled by OpenVINO: the fastest library on a CPU of those measured (docs/performance.md)."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.model.backend import Logits, Windows
from itk_infer.model.inferer.out_of_memory import network_error
from itk_infer.model.runtimes.precision import Precision
from itk_infer.system import return_freed_memory

if TYPE_CHECKING:
    import torch

HINTS = {"fp32": "f32", "bf16": "bf16"}


def openvino_installed() -> bool:
    """Whether the package is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """Import openvino without its telemetry package, so that no usage is reported."""
    if "openvino" not in sys.modules:
        there = sys.modules.get("openvino_telemetry")
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # openvino works without it
        try:
            importlib.import_module("openvino")
        finally:
            del sys.modules["openvino_telemetry"]
            if there is not None:
                sys.modules["openvino_telemetry"] = there
    return sys.modules["openvino"]


def reduced_precisions() -> tuple[Precision, ...]:
    """Precisions that this CPU computes faster than fp32: bf16, if it has instructions for it."""
    abilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16",) if "BF16" in abilities else ()


class OpenVinoNetwork:
    """A network that is compiled for the shape of its windows, and again when that shape changes.

    Args:
        read: Makes the network for an input shape: an `openvino.Model`.
        precision: fp32 or bf16.
        threads: Threads to use.
        remedy: What to do if it fails, as the end of a sentence.
    """

    def __init__(
        self, read: Callable[[tuple[int, ...]], Any], precision: Precision, threads: int, remedy: str = ""
    ) -> None:
        self._read = read
        self._remedy = remedy
        self._settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # With pinning, threads of several workers would share the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._shape: tuple[int, ...] | None = None
        self._request: Any = None

    def __call__(self, windows: Windows) -> Logits:
        """Run the network; the memory of the output is reused by the next call."""
        try:
            if windows.shape != self._shape:
                self._compile(windows.shape)
            answer: Logits = self._request.infer({0: windows}, share_inputs=True, share_outputs=True)[0]
        except Exception as error:  # OpenVINO's frontends have error classes without a common base
            sentence = f"OpenVINO failed on {windows.shape}: {reason(error)}{self._remedy}"
            raise network_error(error, sentence) from error
        return answer

    def _compile(self, shape: tuple[int, ...]) -> None:
        self._request = self._shape = None  # frees the former network's memory; None if this fails
        return_freed_memory()  # of the original network, which may just have run for comparison
        compiled = import_openvino().Core().compile_model(self._read(shape), "CPU", self._settings)
        return_freed_memory()  # of reading and compiling: activations take theirs with the first call
        self._request = compiled.create_infer_request()
        self._shape = shape


def reason(error: Exception) -> str:
    """The useful part of an OpenVINO message: its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].lstrip("- ") if lines else type(error).__name__


def why_not(model: Path | None = None) -> str | None:
    """Why OpenVINO cannot be used here, or cannot read an ONNX file; None if it can."""
    try:
        core = import_openvino().Core()
        core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if model is not None:
            core.read_model(model)
    except Exception as error:  # a broken installation, or an error of a frontend
        return reason(error)
    return None


def onnx_reader(path: Path) -> Callable[[tuple[int, ...]], Any]:
    """Return a function that reads an ONNX file for an input shape."""

    def read(shape: tuple[int, ...]) -> Any:
        model = import_openvino().Core().read_model(path)
        model.reshape(list(shape))
        return model

    return read


def torch_reader(
    network: torch.nn.Module, trace_size: tuple[int, ...] | None = None, *, recorded: bool = False
) -> Callable[[tuple[int, ...]], Any]:
    """Return a function that traces a torch network for an input shape, (N, C, Z, Y, X) or (N, C, Y, X).

    Args:
        network: The network.
        trace_size: Size Z Y X, or Y X, of the traced window or picture, for networks whose trace does not depend
            on it.
        recorded: Trace the operations that the network runs; the trace of a TorchScript program itself would hold
            its loops and branches.
    """

    def read(shape: tuple[int, ...]) -> Any:
        import warnings

        import torch

        import_openvino()
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        traced = shape if trace_size is None else (1, shape[1], *trace_size)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tracing; wrong traces are found by comparing outputs
            wanted: Any = network
            if recorded:
                from torch.fx.experimental.proxy_tensor import make_fx

                wanted = make_fx(network, pre_dispatch=True)(torch.zeros(traced))
            decoder = TorchScriptPythonDecoder(
                wanted,
                example_input=(torch.zeros(traced),),
                trace_kwargs={"check_trace": False},  # three more passes; outputs are compared anyway
            )
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
        model.reshape(list(shape))
        return model

    return read


class OpenVinoCalls:
    """A network that several threads call at the same time, each on one thread of the CPU.

    Args:
        read: Builds the network, an `openvino.Model`, for an input shape.
        shape: Shape of its input; -1: free.
        precision: fp32 or bf16.
        threads: Threads of the CPU for all calls together.
        calls: Number of calls that run at the same time.
    """

    def __init__(
        self,
        read: Callable[[tuple[int, ...]], Any],
        shape: tuple[int, ...],
        precision: Precision,
        threads: int,
        calls: int,
    ) -> None:
        model = read(shape)
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": max(threads, calls),
            "NUM_STREAMS": calls,
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = import_openvino().Core().compile_model(model, "CPU", settings)
        # Its first call builds a table, in which two threads at a time would deadlock (OpenVINO 2026.4).
        import_openvino().Type.f32.to_dtype()
        self._requests = threading.local()

    def __call__(self, windows: Windows) -> Logits:
        """Run the network; the memory of the output is not reused."""
        try:
            if not hasattr(self._requests, "own"):
                self._requests.own = self._compiled.create_infer_request()
            answer: Logits = self._requests.own.infer({0: windows}, share_inputs=True, share_outputs=False)[0]
        except Exception as error:  # OpenVINO's frontends have error classes without a common base
            raise network_error(error, f"OpenVINO failed on {windows.shape}: {reason(error)}") from error
        return answer
