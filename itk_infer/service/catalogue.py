"""The models of a service, and the description of each after its first load."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from itk_infer.executors.loader import ModelInfo


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model as clients see it.

    Attributes:
        name: Name by which they ask for it.
        state: ``loading`` until it was loaded once; ``failed`` where it cannot be.
        info: Its description; None until it was loaded once.
        problem: Why it cannot be loaded.
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
        """A model; None if there is none of this name."""
        with self._lock:
            return self._entries.get(name)

    def all(self) -> list[CatalogueEntry]:
        """All models, in the order in which they were named."""
        with self._lock:
            return list(self._entries.values())

    def loaded(self, name: str, info: ModelInfo) -> None:
        """Keep the description of a model that was loaded."""
        with self._lock:
            self._entries[name] = replace(self._entries[name], state="ready", info=info, problem="")

    def failed(self, name: str, problem: str) -> None:
        """Keep why a model cannot be loaded."""
        with self._lock:
            self._entries[name] = replace(self._entries[name], state="failed", problem=problem)
