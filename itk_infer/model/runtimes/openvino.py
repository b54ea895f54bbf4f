"""Networks compiled by OpenVINO: the fastest library on a CPU of those measured (docs/performance.md)."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.model.backend import Logits, Windows
from itk_infer.model.inferer.out_of_memory import network_error
from itk_infer.model.runtimes.openvino_composed import compose
from itk_infer.model.runtimes.openvino_last import multiply_last
from itk_infer.model.runtimes.openvino_norms import normalise_exactly
from itk_infer.model.runtimes.openvino_streams import InStreams, Together
from itk_infer.model.runtimes.openvino_wide import fill_vectors
from itk_infer.model.runtimes.precision import Precision
from itk_infer.system import return_freed_memory

if TYPE_CHECKING:
    import torch

HINTS = {"fp32": "f32", "bf16": "bf16"}
VECTORS_OF_16 = "WINOGRAD"  # the ability that OpenVINO has where there is AVX-512
PART = 4  # pictures that are run as one, where that is faster than one by one
RESTS = 8  # incomplete parts that are filled up, in less time than compiling the network for one picture takes
QUEUED = 2  # parts of a call that are started; with one, the CPU waits for Python between them
SMALL = 32 << 20  # bytes of a network whose weights stay in the caches
# The first call of `Type.to_dtype` makes a table; two threads in it then wait for each other for ever (2026.4).
FIRST_CALL = threading.Lock()
IMPORT = threading.Lock()  # networks are built in several threads
TELEMETRY, CONVERTER = "openvino_telemetry", "openvino.tools.ovc"


def openvino_installed() -> bool:
    """Whether the package is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """Import openvino without its telemetry package, so that no usage is reported.

    Its converter of other formats, more than half of the time of the import, is loaded when it is called.
    """
    with IMPORT:
        if "openvino" not in sys.modules:
            with _hidden(TELEMETRY, CONVERTER):
                importlib.import_module("openvino")
            if not hasattr(sys.modules["openvino"], "convert_model"):
                sys.modules["openvino"].convert_model = _convert_model  # type: ignore[attr-defined]
    return sys.modules["openvino"]


def _convert_model(*words: Any, **keywords: Any) -> Any:
    """Replacement of `openvino.convert_model`, for other code in this process."""
    with _hidden(TELEMETRY):
        convert = importlib.import_module(CONVERTER).convert_model
    return convert(*words, **keywords)


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Modules that openvino does without, meanwhile not to be found."""
    there = {name: sys.modules.get(name) for name in names}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name, module in there.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def reduced_precisions() -> tuple[Precision, ...]:
    """Precisions that this CPU computes faster than fp32: bf16, if it has instructions for it."""
    abilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16",) if "BF16" in abilities else ()


class OpenVinoNetwork:
    """A network that is compiled for the shape of a window, and again when that shape changes.

    Several windows per call are run one by one, at the same time on parts of the threads, unless the network takes
    a certain number of windows.

    Args:
        read: Makes the network for an input shape: an `openvino.Model`.
        precision: fp32 or bf16.
        threads: Threads to use.
        remedy: What to do if it fails, as the end of a sentence.
        release: Called when the network was compiled, which then has its own copy of the weights.
    """

    def __init__(
        self,
        read: Callable[[tuple[int, ...]], Any],
        precision: Precision,
        threads: int,
        remedy: str = "",
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._read, self._release = read, release
        self._remedy = remedy
        self._exact = precision == "fp32"  # in bf16, means of their own would be rounded to three digits
        self._settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            # With pinning, threads of several workers would share the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._threads = threads
        self._shape: tuple[int, ...] | None = None  # number of windows at the same time, and shape of one
        self._count = 0  # windows of each call, where it is a certain number
        self._run: Callable[[Windows], Logits] | None = None

    def __call__(self, windows: Windows) -> Logits:
        """Run the network; the memory of the output is reused by the next call."""
        try:
            streams = min(self._threads, len(windows))
            same = self._shape == (streams, *windows.shape[1:]) and self._count in (0, len(windows))
            if self._run is None or not same:
                self._run = self._compile(windows.shape, streams)
            return self._run(windows)
        except Exception as error:  # OpenVINO's frontends have error classes without a common base
            sentence = f"OpenVINO failed on {windows.shape}: {reason(error)}{self._remedy}"
            raise network_error(error, sentence) from error

    def _compile(self, shape: tuple[int, ...], streams: int) -> Callable[[Windows], Logits]:
        self._run = None  # frees the former network's memory; None if this fails
        return_freed_memory()  # from the original network, which may just have run for comparison
        self._shape, self._count = (streams, *shape[1:]), 0
        try:
            compiled = self._compiled((1, *shape[1:]), streams)
            with FIRST_CALL:
                dtype = compiled.output(0).get_element_type().to_dtype()
            return InStreams(compiled, import_openvino().Tensor, dtype, streams)
        except Exception:  # error classes without a common base
            if shape[0] == 1:
                raise
        self._count = shape[0]
        return Together(self._compiled(shape, 1))

    def _compiled(self, shape: tuple[int, ...], streams: int) -> Any:
        model, core = self._read(shape), import_openvino().Core()
        if self._exact:
            normalise_exactly(model)
            if VECTORS_OF_16 in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                compose(model)
                fill_vectors(model)
                multiply_last(model)
        parallel = {"PERFORMANCE_HINT": "LATENCY"} if streams == 1 else {"NUM_STREAMS": streams}
        compiled = core.compile_model(model, "CPU", {**self._settings, **parallel})
        del model
        self._release()
        return_freed_memory()  # from reading and compiling; activations are allocated by the first call
        return compiled


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


def onnx_reader(path: Path, networks: int = 1) -> Callable[[tuple[int, ...]], Any]:
    """Return a function that reads an ONNX file for an input shape; it may be called from several threads.

    Args:
        path: The file.
        networks: Number of its first calls for which the file is read once.
    """
    lock, kept = threading.Lock(), None

    def read(shape: tuple[int, ...]) -> Any:
        nonlocal kept, networks
        with lock:
            model = import_openvino().Core().read_model(path) if kept is None else kept
            networks -= 1
            kept = model.clone() if networks > 0 else None
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

    Where the size of pictures is known, it is compiled for that and for a number of pictures: up to a fifth
    faster than one that takes any number, and than one that takes many, whose layers fit in no cache.

    Args:
        read: Builds the network, an `openvino.Model`, for an input shape.
        shape: Shape of its input; -1: free.
        precision: fp32 or bf16.
        threads: Threads of the CPU for all calls together.
        calls: Number of calls that run at the same time.
        size: Bytes of its weights.
    """

    def __init__(
        self,
        read: Callable[[tuple[int, ...]], Any],
        shape: tuple[int, ...],
        precision: Precision,
        threads: int,
        calls: int,
        size: int,
    ) -> None:
        self._read, self._shape = read, shape
        self._settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": max(threads, calls),
            "NUM_STREAMS": calls,
            "ENABLE_CPU_PINNING": False,
        }
        # Layers of one picture in fp32 fill the cache of a core, unless weights do that anyway.
        one = calls == 1 or (precision == "fp32" and size <= SMALL)
        free = shape[0] == -1 and -1 not in shape[1:]
        self._part = (1 if one else PART) if free else shape[0]
        self._compiled: dict[int, Any] = {}
        self._rests = 0  # calls with a rest that was filled up
        self._lock = threading.Lock()
        self._requests = threading.local()
        self._compile(self._part)
        with FIRST_CALL:
            import_openvino().Type.f32.to_dtype()

    def __call__(self, windows: Windows) -> Logits:
        """Run the network; the memory of the output is not reused."""
        try:
            windows = np.require(windows, np.float32, ["C", "W"])  # as shared memory has to be
            rest = 0 if self._part == -1 else len(windows) % self._part
            whole, last = windows[: len(windows) - rest], windows[len(windows) - rest :]
            return np.concatenate([*self._infer(self._part, whole), *self._of_rest(last)])
        except Exception as error:  # OpenVINO's frontends have error classes without a common base
            raise network_error(error, f"OpenVINO failed on {windows.shape}: {reason(error)}") from error

    def _of_rest(self, windows: Windows) -> list[Any]:
        """Outputs of fewer pictures than are run as one, which are filled up while that happens rarely."""
        if not len(windows):
            return []
        if self._rests < RESTS:
            self._rests += 1
            more = np.repeat(windows[-1:], self._part - len(windows), axis=0)
            (found,) = self._infer(self._part, np.concatenate([windows, more]))
            return [found[: len(windows)]]
        return self._infer(1, windows)

    def _infer(self, part: int, windows: Windows) -> list[Any]:
        """Outputs of `part` pictures at a time, -1: of all of them; the next ones are queued meanwhile."""
        requests = self._requests_of(part)
        tensor, size = import_openvino().Tensor, len(windows) if part == -1 else part
        starts, found = range(0, len(windows), size), list[Any]()
        try:
            for number, at in enumerate(starts):
                request = requests[number % QUEUED]
                if number >= QUEUED:
                    found.append(_answer(request))
                request.set_input_tensor(0, tensor(windows[at : at + size], shared_memory=True))
                request.start_async()
            found += [_answer(requests[number % QUEUED]) for number in range(len(found), len(starts))]
        finally:
            for request in requests:  # they read `windows`
                with suppress(Exception):  # raised already
                    request.wait()
        return found

    def _requests_of(self, part: int) -> list[Any]:
        """This thread's requests for `part` pictures."""
        if not hasattr(self._requests, "own"):
            self._requests.own = {}
        own: dict[int, list[Any]] = self._requests.own
        if part not in own:
            compiled = self._compile(part)
            own[part] = [compiled.create_infer_request() for _ in range(QUEUED)]
        return own[part]

    def _compile(self, part: int) -> Any:
        """The network for `count` pictures per call, compiled once; -1: any number."""
        with self._lock:
            if part not in self._compiled:
                model = self._read((part, *self._shape[1:]))
                self._compiled[part] = import_openvino().Core().compile_model(model, "CPU", self._settings)
            return self._compiled[part]


def _answer(request: Any) -> Any:
    """A copy of a request's output, once it is there."""
    request.wait()
    return request.get_output_tensor(0).data.copy()
