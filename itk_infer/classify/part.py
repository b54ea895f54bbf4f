"""What workers are given: a part of an archive, and the model that they load for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from itk_infer.classifier import Classifier
from itk_infer.classify.units import Unit, WaitingFile
from itk_infer.machine import usable_cores
from itk_infer.options import BatchChoice, Options


@dataclass(frozen=True, slots=True)
class ClassifierRequest:
    """A model by its files, and how to load and run it. Picklable and hashable.

    Attributes:
        paths: An ONNX, TorchScript or torch.export file, or an ensemble file; several: their mean.
        kind: A name in `MODEL_KINDS`; None: recognised.
        options: Everything else.
        source: The input, on whose first pictures precision and batch size are settled.
        batch: Pictures per call, see `ClassifySettings`.
    """

    paths: tuple[Path, ...]
    kind: str | None
    options: Options
    source: Path
    batch: BatchChoice | None = None

    def absolute(self) -> ClassifierRequest:
        """The same with absolute paths, for processes with another current folder."""
        return replace(
            self,
            paths=tuple(path.absolute() for path in self.paths),
            options=self.options.absolute(),
            source=self.source.absolute(),
        )

    def load(self, *, device: str | None = None, threads: int | None = None) -> Classifier:
        """Load the model, for as many calls at a time as there are threads.

        Args:
            device: Overrides the option `device`; None: the option holds.
            threads: Of the CPU; None: all cores that may be used.

        Raises:
            ItkInferError: it cannot be loaded, or the options do not fit it.
        """
        count = threads or usable_cores()
        options = replace(self.options, threads=count, device=device or self.options.device)
        return Classifier.load(self.paths, options, kind=self.kind, calls=count)


@dataclass(frozen=True, slots=True)
class Part:
    """Units that one worker classifies; a task of an executor, see `AnyTask`.

    Attributes:
        name: Of its own in the run.
        root: What paths of files are relative to.
        units: At least one.
        model: Digests of the model and of its spec that the run records.
        precisions: Of each network.
        batch: Pictures per call.
        safer: Whether a worker died of it, or of a larger part with it.
    """

    name: str
    root: Path
    units: tuple[Unit, ...]
    model: tuple[str, str]
    precisions: tuple[str, ...]
    batch: int
    safer: bool = False

    @property
    def files(self) -> tuple[WaitingFile, ...]:
        """Of all units."""
        return tuple(file for unit in self.units for file in unit.files)

    def absolute(self) -> Part:
        """The same for a process with another current folder."""
        return replace(self, root=self.root.absolute())
