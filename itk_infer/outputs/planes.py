"""Checks that slabs arrive in order, for every sink."""

from __future__ import annotations

from itk_infer.outputs.sink import OutputHeader


class Planes:
    """Counts the planes of a case as its slabs arrive.

    A gap or a repeat is a fault of the program, never of a case: it raises RuntimeError.
    """

    def __init__(self, frame: OutputHeader) -> None:
        self._size = frame.slab_size
        self._next = 0

    def take(self, z0: int, shape: tuple[int, ...]) -> slice:
        """The planes of a slab of `shape` (dz, Y, X), which begins where the last one ended."""
        stop = z0 + shape[0]
        if z0 != self._next or stop > self._size[0] or shape[1:] != self._size[1:]:
            raise RuntimeError(
                f"a slab of {shape} voxels came for plane {z0}; "
                f"plane {self._next} of a case of {self._size} was expected"
            )
        self._next = stop
        return slice(z0, stop)

    def finish(self) -> None:
        """Check that every plane came."""
        if self._next != self._size[0]:
            raise RuntimeError(f"{self._next} of {self._size[0]} planes came before the commit")
