"""Proof that a run holds the lock of its output folder, verified before each file there gets its final name."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import LockLostError
from itk_infer.files.lock_owner import read_owner

RETRIES, RETRY_S = 10, 0.1  # the file can be missing for a moment: another run checks it, or a file server is slow


@dataclass(frozen=True, slots=True)
class LockTicket:
    """The token of a lock that is held. Sent to workers, which verify it before each file gets its final name.

    Attributes:
        path: The lock file.
        token: See `LockOwner`.
    """

    path: Path
    token: str

    def verify(self) -> None:
        """Check that the lock file still holds the token. A file that cannot be read counts as unchanged.

        Raises:
            LockLostError: the file holds another run's token, or has been missing for a second.
        """
        owner = None
        for attempt in range(RETRIES):
            if attempt:
                time.sleep(RETRY_S)
            try:
                owner = read_owner(self.path)
            except FileNotFoundError:
                owner = None  # another run may have moved it aside for a check, and be about to put it back
                continue
            except OSError:
                return
            if owner.token == self.token:
                return
            if owner.token is not None:
                break
        folder = self.path.parent
        if owner is not None:
            reason = (
                f"{owner} has taken over {self.path.name}, because this run showed no sign of life for a while"
            )
        elif folder.is_dir():
            reason = f"{self.path.name} was removed while this run was at work"
        else:
            raise LockLostError(
                f"{folder}: the output folder was removed or renamed while this run was at work; nothing more is "
                "written; run the same command again"
            )
        raise LockLostError(
            f"{folder}: {reason}; nothing more is written there; when no other run is at work, the same command "
            "does the rest"
        )
