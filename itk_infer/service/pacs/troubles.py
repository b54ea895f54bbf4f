"""Problems of a node that may last."""

from __future__ import annotations

from collections.abc import Callable


class Troubles:
    """Reports each problem once, until it ends or changes. True while there is any.

    Args:
        tell: Called with sentences for the administrator.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._known: dict[str, str] = {}  # by subject

    def __bool__(self) -> bool:
        return bool(self._known)

    def ill(self, what: str, how: str) -> None:
        """Report a problem of a subject."""
        if self._known.get(what) != how:
            self._known[what] = how
            self._tell(f"{what}: {how}; tried again")

    def well(self, what: str) -> None:
        """Report that the problem of a subject has ended, if there was one."""
        if self._known.pop(what, None) is not None:
            self._tell(f"{what}: works again")
