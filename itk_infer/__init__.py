"""itk_infer: run trained segmentation networks over folders of 3D medical images.

Every public name is here, and loaded when it is first asked for: ``import itk_infer`` imports neither NumPy nor
SimpleITK. The rest of the package may change between minor versions. `itk_infer.testing` has the tests that
implementations of the seams must pass.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from itk_infer._version import __version__ as __version__

if TYPE_CHECKING:
    from itk_infer.case.result import LabelMeasurement as LabelMeasurement
    from itk_infer.case.result import Measurements as Measurements
    from itk_infer.case.result import Result as Result
    from itk_infer.classifier import Classifier as Classifier
    from itk_infer.classifier import PictureScores as PictureScores
    from itk_infer.classify.run import classify_folder as classify_folder
    from itk_infer.classify.settings import ClassifySettings as ClassifySettings
    from itk_infer.classify.summary import ClassifySummary as ClassifySummary
    from itk_infer.client.client import Client as Client
    from itk_infer.engine.workspace import Workspace as Workspace
    from itk_infer.errors import CaseError as CaseError
    from itk_infer.errors import ConfigError as ConfigError
    from itk_infer.errors import InferenceError as InferenceError
    from itk_infer.errors import InputError as InputError
    from itk_infer.errors import InterruptedRunError as InterruptedRunError
    from itk_infer.errors import ItkInferError as ItkInferError
    from itk_infer.errors import LockLostError as LockLostError
    from itk_infer.errors import ModelError as ModelError
    from itk_infer.errors import NoInputError as NoInputError
    from itk_infer.errors import OutOfMemoryError as OutOfMemoryError
    from itk_infer.errors import OutputError as OutputError
    from itk_infer.errors import SpecError as SpecError
    from itk_infer.errors import TaskError as TaskError
    from itk_infer.events import CaseDone as CaseDone
    from itk_infer.events import CaseFailed as CaseFailed
    from itk_infer.events import CaseSkipped as CaseSkipped
    from itk_infer.events import CaseStarted as CaseStarted
    from itk_infer.events import Event as Event
    from itk_infer.events import Events as Events
    from itk_infer.events import Listener as Listener
    from itk_infer.events import Progress as Progress
    from itk_infer.events import RunDone as RunDone
    from itk_infer.events import RunStarted as RunStarted
    from itk_infer.events import Warned as Warned
    from itk_infer.executors.executor import Executor as Executor
    from itk_infer.executors.loader import ModelLoader as ModelLoader
    from itk_infer.model.backend import Backend as Backend
    from itk_infer.model.backend import NetworkShape as NetworkShape
    from itk_infer.model.kinds.fake import FakeBackend as FakeBackend
    from itk_infer.options import Options as Options
    from itk_infer.outputs.logits import read_logits as read_logits
    from itk_infer.outputs.sink import CaseOutput as CaseOutput
    from itk_infer.outputs.sink import OutputHeader as OutputHeader
    from itk_infer.outputs.sink import Sink as Sink
    from itk_infer.predictor import Predictor as Predictor
    from itk_infer.run.folder import run_cases as run_cases
    from itk_infer.run.folder import run_folder as run_folder
    from itk_infer.run.settings import RunSettings as RunSettings
    from itk_infer.run.summary import Summary as Summary
    from itk_infer.spec import Label as Label
    from itk_infer.spec import ModelSpec as ModelSpec
    from itk_infer.spec import parse_spec as parse_spec
    from itk_infer.volume.formats import Format as Format
    from itk_infer.volume.formats.layout import Layout as Layout
    from itk_infer.volume.grid import Grid as Grid
    from itk_infer.volume.read import ReadImage as ReadImage
    from itk_infer.volume.read import read_image as read_image
    from itk_infer.volume.slab import DecidedSlab as DecidedSlab
    from itk_infer.volume.volume import Volume as Volume
    from itk_infer.volume.volume import volume_of as volume_of

# The same names by their modules; a test compares the two lists, and both with docs/python-api.md.
_MODULES = {
    "case.result": "LabelMeasurement Measurements Result",
    "client.client": "Client",
    "classifier": "Classifier PictureScores",
    "classify.run": "classify_folder",
    "classify.settings": "ClassifySettings",
    "classify.summary": "ClassifySummary",
    "engine.workspace": "Workspace",
    "errors": "CaseError ConfigError InferenceError InputError InterruptedRunError ItkInferError LockLostError"
    " ModelError NoInputError OutOfMemoryError OutputError SpecError TaskError",
    "events": "CaseDone CaseFailed CaseSkipped CaseStarted Event Events Listener Progress RunDone RunStarted"
    " Warned",
    "executors.executor": "Executor",
    "executors.loader": "ModelLoader",
    "model.backend": "Backend NetworkShape",
    "model.kinds.fake": "FakeBackend",
    "options": "Options",
    "outputs.logits": "read_logits",
    "outputs.sink": "CaseOutput OutputHeader Sink",
    "predictor": "Predictor",
    "run.folder": "run_cases run_folder",
    "run.settings": "RunSettings",
    "run.summary": "Summary",
    "spec": "Label ModelSpec parse_spec",
    "volume.formats": "Format",
    "volume.formats.layout": "Layout",
    "volume.grid": "Grid",
    "volume.read": "ReadImage read_image",
    "volume.slab": "DecidedSlab",
    "volume.volume": "Volume volume_of",
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names.split()}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
