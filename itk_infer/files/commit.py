"""Outputs appear under their final names complete, or not at all.

Everything is written to a partial, ``.partial-<id>.<name>`` in the folder of the final name, and
renamed when it is known to be good. The partial's name ends as the final one does, because
writers choose a format by it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from itk_infer.errors import OutputError
from itk_infer.files.intent import claim

_PARTIAL = re.compile(r"\.partial-[0-9a-f]{12}\.")
_LONGEST_NAME = 255  # bytes, on every file system in common use
_VERIFY: ContextVar[Callable[[], None]] = ContextVar("verify", default=lambda: None)


@contextlib.contextmanager
def verified_by(verify: Callable[[], None]) -> Iterator[None]:
    """Within the block, and this thread, call `verify` whenever a partial is about to get its final name.

    Args:
        verify: Raises to prevent that; nothing is left behind then.
    """
    token = _VERIFY.set(verify)
    try:
        yield
    finally:
        _VERIFY.reset(token)


def partial_path(final: Path) -> Path:
    """A new name beside `final`. A long one loses its beginning, never its extension."""
    prefix = f".partial-{uuid.uuid4().hex[:12]}."
    name = final.name
    while len(os.fsencode(prefix + name)) > _LONGEST_NAME:
        name = name[1:]
    return final.with_name(prefix + name)


@contextlib.contextmanager
def new_file(final: Path, *, track: bool = False) -> Iterator[Path]:
    """The partial to write: it becomes `final` when the block ends well and vanishes when it does not.

    Args:
        final: The name to appear.
        track: Leave a claim, for whoever keeps a ledger to release.

    Raises:
        OutputError: the file cannot be written.
    """
    partial = partial_path(final)
    try:
        with writing(final):
            final.parent.stat()  # SimpleITK would not say that the folder has vanished
            yield partial
            if track:
                claim(partial, final)
        commit_file(partial, final)
    except BaseException:
        remove(partial)
        raise


def write_bytes(data: bytes, final: Path, *, track: bool = False) -> None:
    """Write `final` in one piece and read it back.

    Raises:
        OutputError: it cannot be written, or does not read back as written.
    """
    with new_file(final, track=track) as partial:
        partial.write_bytes(data)
        if partial.read_bytes() != data:
            raise OutputError(f"{final}: does not read back as it was written; the disk may be failing")


def commit_file(partial: Path, final: Path) -> None:
    """Rename `partial` to `final` once it has reached the disk; a link of that name is replaced, not followed.

    Raises:
        OutputError: the file system refused.
    """
    with writing(final):
        _sync_file(partial)
        _VERIFY.get()()
        partial.replace(final)
    _sync_folder(final.parent)


def commit_folder(partial: Path, final: Path, *, track: bool = False) -> None:
    """As `commit_file`, for a folder: what bore the name is moved aside, and deleted at the end.

    Raises:
        OutputError: the file system refused; the former `final` is still there.
    """
    old = partial_path(final.with_name(f"old.{final.name}"))
    with writing(final):
        for folder, _, names in os.walk(partial):
            for name in names:
                _sync_file(Path(folder, name))
            _sync_folder(Path(folder))
        _VERIFY.get()()
        if track:
            claim(partial, final)
        replaces = os.path.lexists(final)
        if replaces:
            final.replace(old)
        try:
            partial.replace(final)
        except BaseException:
            if replaces:
                old.replace(final)
            raise
    _sync_folder(final.parent)
    remove(old)


def sweep_partials(
    folder: Path, recursive: bool = False, before: float | None = None, of: Sequence[Path] = ()
) -> list[Path]:
    """Delete what runs that were killed left behind; links go, what they point to stays.

    Args:
        folder: Output folder, which no other run uses now.
        recursive: Sweep the folders inside it, too.
        before: Only what was last written before this time, seconds since the epoch.
        of: Only partials of these final names; empty: of any.

    Returns:
        What was deleted.
    """
    swept = []
    tails = {_PARTIAL.sub("", partial_path(final).name) for final in of}
    for root, folders, files in os.walk(folder):
        for name in filter(_PARTIAL.match, (*folders, *files)):
            path = Path(root, name)
            if of and _PARTIAL.sub("", name) not in tails:
                continue
            if before is not None and path.lstat().st_mtime >= before:
                continue
            if tempfile.tempdir is not None and path.absolute() == Path(tempfile.tempdir):
                continue  # this run's own, see `temporary_folder`
            remove(path)
            if not os.path.lexists(path):
                swept.append(path)
        # No partial lies inside a zarr, which may hold thousands of files.
        folders[:] = [n for n in folders if recursive and not n.endswith(".zarr")]
    return swept


def remove(path: Path) -> None:
    """Delete a file, a link or a whole folder as far as possible; `sweep_partials` gets the rest."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def writing(final: Path) -> Iterator[None]:
    """Turn what the file system refuses into an `OutputError` that names `final` and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full; free some space and run again"
        elif not final.parent.is_dir():
            reason = f"the folder {final.parent} is not there, or not any more; run again"
        elif isinstance(error, PermissionError):
            reason = "permission denied; is the folder writable, and no other program holding the file open?"
        else:
            reason = error.strerror or str(error)
        raise OutputError(f"{final}: cannot be written: {reason}") from error


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where a folder can be synced: not on Windows, not on every network share."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
