"""``--batch auto``: the windows a call of one model, looked up or searched, and told once."""

from __future__ import annotations

from collections.abc import Callable

from itk_infer.errors import InferenceError
from itk_infer.model.backend import Backend
from itk_infer.model.batch_size.cache import BatchCache, BatchKey
from itk_infer.model.batch_size.hardware import device_name, provider_name
from itk_infer.model.batch_size.search import find_batch, largest_fitting
from itk_infer.model.window import PartialSize


class AutoBatch:
    """Knows the windows a call, or finds them before the first case of each patch size.

    Args:
        threads: Threads of the network, on a CPU.
        mirrorings: Times that the network sees each window.
        cache: Where findings are kept; None: nowhere.
    """

    def __init__(self, threads: int, mirrorings: int, cache: BatchCache | None) -> None:
        self._threads = threads
        self._mirrorings = mirrorings
        self._cache = cache
        self._known: dict[BatchKey, int | None] = {}  # None: the cache was asked in vain
        self._untold: dict[BatchKey, str] = {}

    def known(self, backend: Backend, patch: PartialSize) -> int | None:
        """What was found for windows of this size, now or by an earlier run; None if nothing was."""
        z, y, x = patch
        return None if z is None or y is None or x is None else self._look_up(self._key(backend, (z, y, x)))

    def _look_up(self, key: BatchKey) -> int | None:
        if key not in self._known:
            self._known[key] = kept = self._cache.read(key) if self._cache is not None else None
            if kept is not None:
                self._untold[key] = f"batch: {kept} window(s) a call, as an earlier run found"
        return self._known[key]

    def find(
        self,
        backend: Backend,
        patch: tuple[int, int, int],
        make_trial: Callable[[], Callable[[int], float]],
        fits: Callable[[int], bool],
    ) -> tuple[int, list[str]]:
        """Windows a call for one case; searches unless they are known.

        Args:
            backend: What runs the network; where it runs and how is part of the answer's key.
            patch: Window size.
            make_trial: Called for a search: makes what times a call with so many windows, see `find_batch`.
            fits: Whether there is memory for so many windows a call.

        Returns:
            The windows a call, and what to tell: each thing once.
        """
        key, notes = self._key(backend, patch), backend.notes
        batch = self._look_up(key)
        if batch is None:
            try:
                found = find_batch(make_trial(), fits)
            except (InferenceError, MemoryError):
                return 1, []  # the case will meet it again, and say so
            key = self._key(backend, patch)  # a backend may have had to change what runs the network
            batch = self._known[key] = found.batch
            faster = f", {found.gain:.2f} times as fast as one" if found.batch > 1 else "; more gain too little"
            self._untold[key] = f"batch: {found.batch} window(s) a call{faster}"
            if self._cache is not None:
                self._cache.write(key, found.batch)
        told = [note for note in backend.notes if note not in notes]
        if (note := self._untold.pop(key, None)) is not None:
            told.append(note)
        if self._cache is not None:
            told.extend(self._cache.notes)
            self._cache.notes.clear()
        return largest_fitting(batch, fits), told

    def _key(self, backend: Backend, patch: tuple[int, int, int]) -> BatchKey:
        return BatchKey(
            backend.digest,
            device_name(backend.device, self._threads),
            provider_name(backend.provider),
            backend.precision,
            patch,
            self._mirrorings,
        )
