"""Batch size ``auto``: the number of windows per call of one model, from the cache or from a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from itk_infer.errors import InferenceError
from itk_infer.model.batch_size.cache import BatchCache, BatchKey
from itk_infer.model.batch_size.hardware import device_name, provider_name
from itk_infer.model.batch_size.search import find_batch, largest_fitting
from itk_infer.model.window import PartialSize


class Batched(Protocol):
    """Attributes of a `Backend`, or of a model of pictures, that form the key of a batch size; see there."""

    @property
    def digest(self) -> str:
        """SHA-256 of the model's files."""
        ...

    @property
    def device(self) -> str:
        """Where it runs."""
        ...

    @property
    def provider(self) -> str:
        """Library that runs it."""
        ...

    @property
    def precision(self) -> str:
        """Number format."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        ...


class AutoBatch:
    """Looks up the batch size, or searches for it before the first case of each patch size.

    Args:
        threads: Threads of the network, on a CPU.
        mirrorings: Network inputs per window (1, or the number of mirrored copies).
        cache: Batch sizes kept between runs; None: none are read or kept.
    """

    def __init__(self, threads: int, mirrorings: int, cache: BatchCache | None) -> None:
        self._threads = threads
        self._mirrorings = mirrorings
        self._cache = cache
        self._known: dict[BatchKey, int | None] = {}  # None: not in the cache
        self._pending_notes: dict[BatchKey, str] = {}  # not returned by `find` yet

    def known(self, backend: Batched, patch: PartialSize) -> int | None:
        """The batch size for windows of this size, found in this run or an earlier one; None if not known."""
        z, y, x = patch
        return None if z is None or y is None or x is None else self._look_up(self._key(backend, (z, y, x)))

    def _look_up(self, key: BatchKey) -> int | None:
        if key not in self._known:
            self._known[key] = kept = self._cache.read(key) if self._cache is not None else None
            if kept is not None:
                self._pending_notes[key] = f"batch: {kept} window(s) per call, as an earlier run found"
        return self._known[key]

    def find(
        self,
        backend: Batched,
        patch: tuple[int, int, int],
        make_trial: Callable[[], Callable[[int], float]],
        fits: Callable[[int], bool],
    ) -> tuple[int, list[str]]:
        """The batch size for one case; searched for unless it is known.

        Args:
            backend: The network; its device, provider and precision are part of the cache key.
            patch: Window size, Z Y X.
            make_trial: Called before a search; returns the function that times a call, see `find_batch`.
            fits: Whether there is memory for this many windows per call.

        Returns:
            Windows per call, and notes for the user; each note is returned only once.
        """
        key, notes = self._key(backend, patch), backend.notes
        batch = self._look_up(key)
        if batch is None:
            try:
                result = find_batch(make_trial(), fits)
            except (InferenceError, MemoryError):
                return 1, []  # the case raises the same error again and reports it
            key = self._key(backend, patch)  # the backend may have changed its provider meanwhile
            batch = self._known[key] = result.batch
            faster = f", {result.gain:.2f} times as fast as one" if result.batch > 1 else "; more is hardly faster"
            self._pending_notes[key] = f"batch: {result.batch} window(s) per call{faster}"
            if self._cache is not None:
                self._cache.write(key, result.batch)
        new_notes = [note for note in backend.notes if note not in notes]
        if (note := self._pending_notes.pop(key, None)) is not None:
            new_notes.append(note)
        if self._cache is not None:
            new_notes.extend(self._cache.notes)
            self._cache.notes.clear()
        return largest_fitting(batch, fits), new_notes

    def _key(self, backend: Batched, patch: tuple[int, int, int]) -> BatchKey:
        return BatchKey(
            backend.digest,
            device_name(backend.device, self._threads),
            provider_name(backend.provider),
            backend.precision,
            patch,
            self._mirrorings,
        )
