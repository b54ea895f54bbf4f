"""Check that slabs arrive in order, for every sink."""

from __future__ import annotations

from itk_infer.outputs.sink import OutputHeader


class Planes:
    """Counts the planes of a case as its slabs arrive.

    A gap or a repetition is a program error: it raises RuntimeError.
    """

    def __init__(self, header: OutputHeader) -> None:
        self._size = header.slab_size
        self._next = 0

    def take(self, z0: int, shape: tuple[int, ...]) -> slice:
        """Return the planes of a slab of `shape` (dz, Y, X), which must begin where the last one ended."""
        stop = z0 + shape[0]
        if z0 != self._next or stop > self._size[0] or shape[1:] != self._size[1:]:
            raise RuntimeError(
                f"a slab of {shape} voxels came for plane {z0}; "
                f"plane {self._next} of a case of {self._size} was expected"
            )
        self._next = stop
        return slice(z0, stop)

    def finish(self) -> None:
        """Check that all planes have arrived."""
        if self._next != self._size[0]:
            raise RuntimeError(f"{self._next} of {self._size[0]} planes came before the commit")
