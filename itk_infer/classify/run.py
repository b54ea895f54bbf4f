"""A run that classifies a folder: the model is loaded while the first files are read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from itk_infer.classify.ahead import Ahead
from itk_infer.classify.settings import ClassifySettings
from itk_infer.classify.summary import ClassifySummary
from itk_infer.errors import NoInputError
from itk_infer.run.stop import StopRequest

if TYPE_CHECKING:
    from itk_infer.classifier import Classifier
    from itk_infer.classify.computing import Computing
    from itk_infer.events import Events
    from itk_infer.executors.executor import Executor


def classify_folder(
    load: Callable[[], Classifier],
    settings: ClassifySettings,
    events: Events | None = None,
    *,
    executor: Executor | None = None,
) -> ClassifySummary:
    """Classify all pictures below a folder.

    One bad file never stops the others. After a signal the run stops; committed results stay, and the next run
    computes the rest.

    Args:
        load: Loads the model, for as many simultaneous calls as `settings` has threads.
        settings: Folders, and options of the run.
        events: Distributes the events of the run to listeners.
        executor: Loads the model and computes, instead of this process; its workers use `open_parts`.

    Raises:
        ModelError: the model cannot be loaded.
        ConfigError: the folders cannot be used, or another run is using the output folder.
        NoInputError: there is no file, or none that could hold a picture.
    """
    before = None if settings.overwrite else settings.database_path
    reading = Ahead(settings.input, before) if executor is None else nullcontext()
    with StopRequest() as stop, executor or nullcontext(), reading as ahead:
        if not settings.input.exists():
            raise NoInputError(f"{settings.input}: no such file or folder")
        # Imports take as long as decoding several pictures, and a network is often built meanwhile.
        classifier = None if ahead is None else load()
        from itk_infer.classify.folder_run import run_locked
        from itk_infer.events import Events, Warned

        listeners = events or Events()

        def tell(words: str) -> None:
            listeners.emit(Warned(words))

        computing: Computing
        if ahead is not None and classifier is not None:
            from itk_infer.classify.in_threads import InThreads

            computing = InThreads(classifier, settings, stop.check, ahead)
        elif executor is not None:
            from itk_infer.classify.in_workers import InWorkers

            computing = InWorkers(executor, settings, stop.check, tell)
        for note in computing.facts.notes:
            tell(note)
        return run_locked(computing, settings, listeners, stop)
