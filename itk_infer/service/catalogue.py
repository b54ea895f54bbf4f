"""The models of a service, each with its description once it has been loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from itk_infer.executors.loader import ModelInfo


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model, as described to clients.

    Attributes:
        name: Name by which clients request it.
        state: ``loading`` until it has been loaded once; ``failed`` if it cannot be loaded.
        info: Its description; None until it has been loaded once.
        problem: Reason why it cannot be loaded.
    """

    name: str
    state: Literal["loading", "ready", "failed"] = "loading"
    info: ModelInfo | None = None
    problem: str = ""


class Catalogue:
    """All models of a service, by name; thread-safe."""

    def __init__(self, names: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._entries = {name: CatalogueEntry(name) for name in names}

    def get(self, name: str) -> CatalogueEntry | None:
        """The model with a name; None if there is none."""
        with self._lock:
            return self._entries.get(name)

    def all(self) -> list[CatalogueEntry]:
        """All models, in the order of the settings."""
        with self._lock:
            return list(self._entries.values())

    def loaded(self, name: str, info: ModelInfo) -> None:
        """Store the description of a loaded model."""
        with self._lock:
            self._entries[name] = replace(self._entries[name], state="ready", info=info, problem="")

    def failed(self, name: str, problem: str) -> None:
        """Store the reason why a model cannot be loaded."""
        with self._lock:
            self._entries[name] = replace(self._entries[name], state="failed", problem=problem)
