"""One run per output folder: a lock file, which can be taken over from crashed runs, but not from running ones."""

from __future__ import annotations

import contextlib
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from itk_infer.errors import ConfigError, LockLostError
from itk_infer.files.lock_owner import Fate, LockOwner, read_owner, this_process
from itk_infer.files.lock_ticket import RETRIES, RETRY_S, LockTicket
from itk_infer.run.heartbeat import STALE_S, Heartbeat, beating
from itk_infer.run.shard import Shard
from itk_infer.system import ownership, user_name

NAME = "itk_infer.lock"
MOST_TRIES = 100  # for locks that other runs release and take at the same time


class FolderLock:
    """Holds ``itk_infer.lock`` in a folder while a run writes there, and keeps its heartbeat.

    A shard has a lock of its own: shards of the same count may share a folder, but with no other run.
    A lock is stale, and taken over, when its process is gone (same machine and process namespace), or when
    its heartbeat did not change while this run watched it for `STALE_S` seconds.

    Args:
        folder: The folder.
        shard: The part of the cases that the run computes; None: all.
        tell: Called with a sentence when the lock has to wait for another.
        check: Called while waiting; raises `InterruptedRunError` to stop.

    Attributes:
        ticket: Lets workers verify that the lock is held.
        took_over: Whether a stale lock was found, because the last run was killed.
        since: When this lock was made, in seconds since the epoch.

    Raises:
        ConfigError: another run is writing there, or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        shard: Shard | None = None,
        *,
        tell: Callable[[str], None] = lambda sentence: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._owner = this_process()
        self._path = folder / (f"{shard.stem}.lock" if shard else NAME)
        self._friends = f"-of-{shard.count}.lock" if shard else None
        self._tell = tell
        self._check = check
        self.ticket = LockTicket(self._path, str(self._owner.token))
        self._heartbeat = Heartbeat(self._path, self.ticket.verify)
        self.took_over = False
        self.since = time.time()

    def __enter__(self) -> FolderLock:
        for _ in range(MOST_TRIES):
            if self._create():
                break
            self._clear([self._path])
        else:
            raise ConfigError(f"{self._path}: cannot be taken over; remove it if no run is at work there")
        self._heartbeat.start()
        try:
            self._clear(self._rivals())
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def verify(self) -> None:
        """Check that the lock is still held, before something is written.

        Raises:
            LockLostError: the lock is no longer held.
        """
        self.raise_if_lost()
        self.ticket.verify()

    def raise_if_lost(self) -> None:
        """As `verify`, from the result of the last heartbeat: fast enough to be called between windows."""
        if self._heartbeat.lost is not None:
            raise self._heartbeat.lost

    def others(self) -> list[Path]:
        """Locks of other runs that may be writing to the folder."""
        owners = {path: _owner_of(path) for path in locks_in(self._path.parent) if path != self._path}
        return [path for path, owner in owners.items() if owner is not None and owner.fate != Fate.GONE]

    def _rivals(self) -> list[Path]:
        """Locks of runs that must not share the folder with this one."""
        others = [path for path in locks_in(self._path.parent) if path != self._path]
        return [path for path in others if self._friends is None or not path.name.endswith(self._friends)]

    def _create(self) -> bool:
        try:
            file = self._path.open("xb")
        except FileExistsError:
            return False
        except OSError as error:
            remedy = ""
            if isinstance(error, PermissionError) and (owner := ownership(self._path.parent)):
                remedy = (
                    f": {user_name()} may not write into the folder, which belongs to {owner}; its owner can "
                    f"share it with the group (chmod g+rwxs {self._path.parent}), or choose another output folder"
                )
            raise ConfigError(f"{self._path}: cannot be created ({error.strerror}){remedy}") from None
        try:
            with file:
                file.write(self._owner.to_bytes())
        except OSError as error:
            self._path.unlink(missing_ok=True)  # without an owner, it would block other runs until it is stale
            raise ConfigError(f"{self._path}: cannot be created ({error.strerror})") from None
        return True

    def _clear(self, paths: list[Path]) -> None:
        """Remove those of these locks whose runs have ended, unless they were released meanwhile.

        Raises:
            ConfigError: one of the runs is running.
        """
        seen = {path: owner for path in paths if (owner := _owner_of(path)) is not None}
        alive = [path for path, owner in seen.items() if owner.fate == Fate.ALIVE]
        unknown = [path for path, owner in seen.items() if owner.fate == Fate.UNKNOWN]
        if unknown and not alive:
            self._tell(
                f"{unknown[0]} is held, or was left, by {seen[unknown[0]]}, in another container or on another "
                f"machine; watching for a sign of life, {STALE_S:.0f} s at most"
            )
            alive = beating(unknown, STALE_S, self._check)
        if alive:
            raise ConfigError(
                f"{alive[0].parent}: another run is writing there ({_owner_of(alive[0]) or seen[alive[0]]}); wait "
                "for it, or choose another output folder"
            )
        for path, owner in seen.items():
            self._set_aside(path, owner)

    def _set_aside(self, path: Path, stale: LockOwner) -> None:
        """Remove a stale lock, so that only one of several runs that find it stale removes it."""
        aside = path.with_name(f"{path.name}.{self._owner.token}")
        try:
            if read_owner(path) != stale:
                return  # another run was faster, and this is its lock
            path.replace(aside)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(
                f"{path}: was left by a run that is gone, and cannot be removed ({error.strerror}); remove it"
            ) from None
        if _owner_of(aside) != stale:  # another run was faster
            aside.replace(path)
            return
        self.took_over = True
        aside.unlink(missing_ok=True)

    def _release(self) -> None:
        self._heartbeat.stop()
        with contextlib.suppress(LockLostError):
            self.ticket.verify()
            for _ in range(RETRIES):
                try:
                    self._path.unlink(missing_ok=True)
                    return
                except PermissionError:  # Windows, while another run reads it
                    time.sleep(RETRY_S)


def locks_in(folder: Path) -> list[Path]:
    """All lock files in an output folder."""
    return sorted(folder.glob("itk_infer*.lock"))


def at_work(folder: Path, seconds: float) -> list[LockOwner]:
    """The runs that are writing to a folder; those of other machines and containers by their heartbeat.

    Args:
        folder: The folder.
        seconds: How long to watch for heartbeats.
    """
    seen = {path: owner for path in locks_in(folder) if (owner := _owner_of(path)) is not None}
    unknown = [path for path, owner in seen.items() if owner.fate == Fate.UNKNOWN]
    alive = beating(unknown, seconds, all_of_them=True)
    return [owner for path, owner in seen.items() if owner.fate == Fate.ALIVE or path in alive]


def _owner_of(path: Path) -> LockOwner | None:
    """Read the owner of a lock; None if it was released.

    Raises:
        ConfigError: it is not a lock file.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ConfigError(f"{path}: is not a lock file of a run; remove it")
        return read_owner(path)
    except FileNotFoundError:
        return None
    except OSError:  # a lock that cannot be read may be held
        return LockOwner()
