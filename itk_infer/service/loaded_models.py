"""Loaded models of one place, each in its own worker process; the least recently used one is unloaded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from itk_infer.executors.gpus import Placement
from itk_infer.executors.loader import ModelInfo
from itk_infer.executors.workers import Workers
from itk_infer.service.settings import ServiceSettings


def _ignore(name: str, info: ModelInfo) -> None:
    """Nothing is kept."""


class LoadedModels:
    """Executors by the name of their model.

    Args:
        settings: Of the service.
        placement: Where the models run.
    """

    def __init__(self, settings: ServiceSettings, placement: Placement) -> None:
        self._settings = settings
        self._placement = placement
        self._workers: OrderedDict[str, Workers] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the loaded models, the least recently used one first."""
        return tuple(self._workers)

    def get(
        self, name: str, check: Callable[[], None], on_load: Callable[[str, ModelInfo], None] = _ignore
    ) -> Workers:
        """The executor of a model, loaded if it is not yet.

        Args:
            name: The model.
            check: Called while it loads; raises `InterruptedRunError` to stop.
            on_load: Called with what the model says of itself, if it was loaded.

        Raises:
            ModelError: it cannot be loaded.
        """
        workers = self._workers.get(name)
        if workers is None:
            while len(self._workers) >= self._settings.max_loaded:
                self.drop(next(iter(self._workers)))
            workers = Workers(self._settings.models[name], (self._placement,), self._settings.case_timeout)
            workers.__enter__()
            try:
                info = workers.open(check)
            except BaseException as error:
                workers.__exit__(type(error), error, None)
                raise
            self._workers[name] = workers
            on_load(name, info)
        self._workers.move_to_end(name)
        return workers

    def drop(self, name: str) -> None:
        """End the worker of a model, at work or not; nothing happens if it is not loaded."""
        workers = self._workers.pop(name, None)
        if workers is not None:
            workers.__exit__(None, None, None)

    def close(self) -> None:
        """End all workers."""
        for name in self.names:
            self.drop(name)
