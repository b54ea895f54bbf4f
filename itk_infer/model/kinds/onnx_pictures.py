"""ONNX networks that classify pictures: (N, C, Y, X) to (N, outputs)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import ConfigError, InferenceError, ModelError, SpecError
from itk_infer.model.backend import BackendOptions
from itk_infer.model.classifier import Pictures
from itk_infer.model.classify_sources import resolve_classify
from itk_infer.model.kinds.onnx_end import graph_end
from itk_infer.model.kinds.onnx_graph import OnnxGraph, read_graph
from itk_infer.model.kinds.onnx_metadata import embedded_documents
from itk_infer.model.kinds.onnx_weight_files import model_digest, weight_files
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.built_meanwhile import BuiltMeanwhile
from itk_infer.model.runtimes.onnxruntime import (
    FLOAT_TYPES,
    OnnxRuntimeNetwork,
    for_cpus_only,
    import_runtime,
    open_session,
)
from itk_infer.model.runtimes.onnxruntime_gpu import Gpu, half_model
from itk_infer.model.runtimes.precision import Precision, choose_precision
from itk_infer.model.spec_sources import SpecSources
from itk_infer.spec.classify_spec import ClassifySpec

Run = Callable[[Any], Any]


def load(
    paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions, threads: int, calls: int
) -> OnnxPictures:
    """Load an ONNX file, see `OnnxPictures`."""
    return OnnxPictures(paths[0], spec_sources, options, threads, calls)


class OnnxPictures:
    """A network in an ONNX file, as `PictureNetwork`: first input, first output.

    Args:
        path: The file.
        sources: Further sources of the spec.
        options: Device, provider and precision.
        threads: Threads of the CPU for all calls together.
        calls: Number of threads that call `forward` at the same time.

    Raises:
        ModelError: the file cannot be read, or the device is not available.
        SpecError: there is no spec, or the file contradicts it.
    """

    kind = "onnx"

    def __init__(
        self, path: Path, sources: SpecSources, options: BackendOptions, threads: int, calls: int
    ) -> None:
        if not path.is_file():
            raise ModelError(f"{path}: no such file; give an ONNX model")
        self.name = path.name
        graph = read_graph(path)
        self.digest = model_digest(path, weight_files(path, graph.external))
        self._path, self._threads, self._calls = path, threads, calls
        self._asked = options.provider == "openvino"
        self._meanwhile = calls > 1 and not self._asked  # whether OpenVINO builds it while pictures are read
        notes = list[str]()
        # Where another library is likely to run the network, onnxruntime is asked about unusual files only.
        other = options.provider != "cpu" and openvino.openvino_installed()
        session = None if other and _is_usual(graph) else self._session(optimise=not other)
        inputs, outputs, found = graph.inputs, graph.outputs, graph.metadata
        if session is not None:
            inputs, outputs = session.get_inputs(), session.get_outputs()
            found = session.get_modelmeta().custom_metadata_map
        documents, more, _ = embedded_documents(found, f"metadata of {path.name}")
        self.spec = resolve_classify(path, documents, sources)
        self._dtype, self._shape = _check_ends(path, inputs, outputs, self.spec)
        self.batch = self._shape[0]
        end = graph_end(graph, outputs[0].name)
        if end.probabilities and self.spec.output.activation != "none":
            raise SpecError(
                f"{path}: ends in {end.operation}, so its outputs are probabilities, but its spec says that "
                f"{self.spec.output.activation} makes them; set output.activation to none"
            )
        self._gpu = self._open_gpu(options, notes)
        self.device = "cpu" if self._gpu is None else f"cuda:{self._gpu.index}"
        fast = self._gpu is None and self._openvino(options, notes)
        self.provider = "openvino" if fast else "cpu" if self._gpu is None else "cuda"
        offered: tuple[Precision, ...] = ("fp16",) if self._gpu is not None else ()
        offered = openvino.reduced_precisions() if fast and not self._in_fp32_only(options) else offered
        if self._dtype == np.float16:
            self.precision: Precision = "fp16"
        else:
            self.precision, chosen = choose_precision(
                options.precision, offered, f"{self.device}, {self.provider}"
            )
            notes += chosen
        self._more = [*notes, *more]
        self._kept: tuple[Precision, Run] | None = None  # what `in_precision` may come to
        both = fast and self._meanwhile and self.precision != "fp32"  # are built at the same time
        self._read = openvino.onnx_reader(path, 2 if both else 1)
        if fast and self._meanwhile:
            self._run: Run = BuiltMeanwhile(lambda: self._build(None))
            if both:
                self._kept = "fp32", BuiltMeanwhile(self._in_fp32)
        else:
            self._run = self._build(None if other else session)

    def forward(self, pictures: Pictures) -> NDArray[np.floating[Any]]:
        """See `PictureNetwork.forward`."""
        answer: NDArray[np.floating[Any]] = self._run(pictures)
        if answer.ndim > 2 and all(side == 1 for side in answer.shape[2:]):
            answer = answer.reshape(answer.shape[:2])
        return answer

    @property
    def notes(self) -> tuple[str, ...]:
        """See `PictureNetwork`; of one that several threads call, some come with its first answer."""
        return tuple(self._more)

    @property
    def ready(self) -> bool:
        """See `PictureNetwork`."""
        return not isinstance(self._run, BuiltMeanwhile) or self._run.ready

    def wait(self) -> None:
        """See `PictureNetwork.wait`."""
        if isinstance(self._run, BuiltMeanwhile):
            self._run.wait()

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self._path

    def in_precision(self, precision: Precision) -> None:
        """See `PictureNetwork.in_precision`."""
        if self.precision == precision or self._dtype == np.float16:
            return
        kept, before = self._kept, (self.precision, self._run)
        self._kept = before if precision == "fp32" else None
        self.precision = precision
        self._run = kept[1] if kept is not None and kept[0] == precision else self._build(None)

    def _build(self, session: Any) -> Run:
        if self.provider == "openvino":
            try:
                return self._named(self._compiled(self.precision))
            except Exception as error:  # its frontends have error classes of their own, with no common base
                if self._asked:
                    raise ModelError(
                        f"`provider=openvino`: cannot run {self._path} ({openvino.reason(error)})"
                    ) from error
                self.provider, self.precision = "cpu", "fp32"
                self._more.append(
                    f"OpenVINO cannot run {self.name} ({openvino.reason(error)}); onnxruntime runs it"
                )
        if self._gpu is not None:
            model = (
                half_model(self._path) if self.precision == "fp16" and self._dtype != np.float16 else self._path
            )
            session = self._gpu.open(import_runtime(), model, self._threads)
        elif session is None:
            session = self._session()
        return self._named(OnnxRuntimeNetwork(session, self._dtype))

    def _session(self, *, optimise: bool = True) -> Any:
        threads = max(1, self._threads // self._calls)
        return open_session(import_runtime(), self._path, ["CPUExecutionProvider"], threads, optimise=optimise)

    def _compiled(self, precision: Precision) -> openvino.OpenVinoCalls:
        shape = (self.batch or -1, *self._shape[1:])
        size = self._path.stat().st_size
        return openvino.OpenVinoCalls(self._read, shape, precision, self._threads, self._calls, size)

    def _in_fp32(self) -> Run:
        """The network in fp32, with which reduced precision is compared."""
        try:
            return self._named(self._compiled("fp32"))
        except Exception:  # as in `_build`
            return self._named(OnnxRuntimeNetwork(self._session(), self._dtype))

    def _named(self, run: Run) -> Run:
        def named(pictures: Any) -> Any:
            try:
                return run(pictures)
            except InferenceError as error:
                raise type(error)(f"{self.name}: {error}") from error

        return named

    def _open_gpu(self, options: BackendOptions, notes: list[str]) -> Gpu | None:
        kind, _, number = options.device.partition(":")
        if options.provider == "tensorrt":
            raise ConfigError("`provider=tensorrt` is for segmentation; leave it out, or give `provider=cuda`")
        wanted = kind == "cuda" or options.provider == "cuda"
        if kind == "cpu" or options.provider in ("cpu", "openvino"):
            if wanted:
                raise ModelError(
                    f"`device={options.device}` and `provider={options.provider}` contradict each other"
                )
            return None
        if not wanted and for_cpus_only():
            return None
        gpu = Gpu("cuda", int(number or 0), options.max_vram)
        if gpu.open(import_runtime(), self._path, self._threads) is not None:  # pragma: no cover
            notes.append(f"device: cuda:{gpu.index}")
            return gpu
        if wanted:
            raise ModelError(
                f"`device={options.device}`: onnxruntime finds no usable CUDA device; install "
                "'itk_infer[onnx-gpu]' with a matching CUDA driver, or choose `device=cpu`"
            )
        return None

    @staticmethod
    def _in_fp32_only(options: BackendOptions) -> bool:
        return options.precision in ("auto", "fp32")

    def _openvino(self, options: BackendOptions, notes: list[str]) -> bool:
        """Whether OpenVINO runs the network on the CPU."""
        asked = options.provider == "openvino"
        if options.provider == "cpu" or (not asked and not openvino.openvino_installed()):
            return False
        if not openvino.openvino_installed():
            raise ModelError("`provider=openvino`: OpenVINO is not installed: pip install 'itk_infer[openvino]'")
        reason = None
        if not (self._meanwhile and self._in_fp32_only(options)):  # else it is imported while pictures are read
            reason = openvino.why_not(None if self._meanwhile else self._path)
        if self._dtype != np.float32:
            reason = f"it takes {self._dtype}, and only fp32 is run by OpenVINO"
        if reason is None:
            return True
        if asked:
            raise ModelError(
                f"`provider=openvino`: cannot run {self._path} ({reason}); leave `provider` out, and "
                "onnxruntime runs it"
            )
        notes.append(f"OpenVINO cannot run {self.name} ({reason}); onnxruntime runs it instead")
        return False


def _is_usual(graph: OnnxGraph) -> bool:
    """Whether the file declares by itself what `_check_ends` needs: pictures to a known number of answers."""
    if len(graph.inputs) != 1 or not graph.outputs:
        return False
    taken, given = graph.inputs[0], graph.outputs[0]
    floats = taken.type in FLOAT_TYPES and given.type in FLOAT_TYPES
    return floats and len(taken.shape) == 4 and len(given.shape) in (2, 4) and isinstance(given.shape[1], int)


def _check_ends(
    path: Path, inputs: Sequence[Any], outputs: Sequence[Any], spec: ClassifySpec
) -> tuple[np.dtype[Any], tuple[int | None, int, int, int]]:
    """Type and shape (N, C, Y, X) of the input; N is None and sides are -1 where they are free.

    Raises:
        ModelError: the input is not one batch of pictures, or the output is not one row per picture.
    """
    if len(inputs) != 1 or inputs[0].type not in FLOAT_TYPES or len(inputs[0].shape) != 4:
        found = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
        raise ModelError(
            f"{path}: takes {found}; one input of numbers (N, C, Y, X) is needed to classify pictures"
        )
    shape = [side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape]
    channels = len(spec.input.channels)
    if shape[1] not in (None, channels):
        raise SpecError(f"{path}: takes {shape[1]} channels, and its spec names {channels} in input.channels")
    size = spec.input.center_crop or spec.input.size or (None, None)
    for axis, side, wanted in zip(("rows", "columns"), shape[2:], size, strict=True):
        if side is not None and side != wanted:
            raise SpecError(
                f"{path}: takes {side} {axis}, and its spec gives it {wanted or 'any number'}; correct input.size"
            )
    if outputs[0].type not in FLOAT_TYPES or len(outputs[0].shape) not in (2, 4):
        raise ModelError(
            f"{path}: answers {outputs[0].type} {outputs[0].shape}; one row of numbers per picture is needed"
        )
    answers = outputs[0].shape[1]
    for label in spec.output.labels:
        if isinstance(answers, int) and label.channel >= answers:
            raise SpecError(
                f"{path}: the label {label.name} is read from output {label.channel}, and the network has "
                f"{answers}, counted from 0; correct output.labels"
            )
    rows, columns = (side if side is not None else -1 for side in size)
    return np.dtype(FLOAT_TYPES[inputs[0].type]), (shape[0], channels, rows, columns)
