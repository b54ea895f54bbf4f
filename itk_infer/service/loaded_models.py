"""The loaded models of one slot, each in its own worker process; the least recently used one is unloaded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from itk_infer.executors.gpus import Placement
from itk_infer.executors.loader import ModelInfo
from itk_infer.executors.workers import Workers
from itk_infer.service.settings import ServiceSettings


def _ignore(name: str, info: ModelInfo) -> None:
    """Default of `on_load`: does nothing."""


class LoadedModels:
    """Executors by model name.

    Args:
        settings: Settings of the service.
        placement: Device and threads of the models.
    """

    def __init__(self, settings: ServiceSettings, placement: Placement) -> None:
        self._settings = settings
        self._placement = placement
        self._workers: OrderedDict[str, Workers] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the loaded models, least recently used first."""
        return tuple(self._workers)

    def get(
        self, name: str, check: Callable[[], None], on_load: Callable[[str, ModelInfo], None] = _ignore
    ) -> Workers:
        """The executor of a model, which is loaded if necessary.

        Args:
            name: Name of the model.
            check: Called during loading; raises `InterruptedRunError` to stop.
            on_load: Called with name and description of the model if it was loaded.

        Raises:
            ModelError: the model cannot be loaded.
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
        """End the worker of a model, even while it runs a job; does nothing if the model is not loaded."""
        workers = self._workers.pop(name, None)
        if workers is not None:
            workers.__exit__(None, None, None)

    def close(self) -> None:
        """End all workers."""
        for name in self.names:
            self.drop(name)
