"""Messages to workers: a part of an archive, and the model to load for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.machine import usable_cores
from itk_infer.options import BatchChoice, Options

if TYPE_CHECKING:
    from itk_infer.classifier import Classifier
    from itk_infer.classify.units import Unit, WaitingFile


@dataclass(frozen=True, slots=True)
class ClassifierRequest:
    """A model by its files, and how to load and run it. Picklable and hashable.

    Attributes:
        paths: An ONNX, TorchScript or torch.export file, or an ensemble file; several: their outputs are averaged.
        kind: A name in `MODEL_KINDS`; None: recognised from the files.
        options: Options of the run.
        source: The input; precision and batch size are determined on its first pictures.
        batch: Pictures per call, see `ClassifySettings`.
    """

    paths: tuple[Path, ...]
    kind: str | None
    options: Options
    source: Path
    batch: BatchChoice | None = None

    def absolute(self) -> ClassifierRequest:
        """The same request with absolute paths, for processes with another current folder."""
        return replace(
            self,
            paths=tuple(path.absolute() for path in self.paths),
            options=self.options.absolute(),
            source=self.source.absolute(),
        )

    def load(self, *, device: str | None = None, threads: int | None = None) -> Classifier:
        """Load the model, for as many simultaneous calls as there are threads.

        Args:
            device: Overrides the option `device`; None: the option holds.
            threads: CPU threads; None: all usable cores.

        Raises:
            ItkInferError: it cannot be loaded, or the options do not fit it.
        """
        from itk_infer.classifier import Classifier

        count = threads or usable_cores()
        options = replace(self.options, threads=count, device=device or self.options.device)
        return Classifier.load(self.paths, options, kind=self.kind, calls=count)


@dataclass(frozen=True, slots=True)
class Part:
    """Units for one worker to classify; a task of an executor, see `AnyTask`.

    Attributes:
        name: Name of the part, unique in the run.
        root: Folder that the paths of files are relative to.
        units: At least one.
        model: Digests of the model and its spec, as recorded by the run.
        precisions: Precision of each network.
        batch: Pictures per call.
        safer: Whether a worker died while it computed this part, or a larger one that contained it.
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
        """The files of all units."""
        return tuple(file for unit in self.units for file in unit.files)

    def absolute(self) -> Part:
        """The same part with absolute paths, for a process with another current folder."""
        return replace(self, root=self.root.absolute())
