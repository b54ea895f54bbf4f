"""Atomic output files: they appear under their final names complete, or not at all.

Every output is written to a partial file, ``.partial-<id>.<name>`` in the folder of the final name, and
renamed once it is verified. The name of the partial ends as the final one does, because writers choose
the format by it.
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
from itk_infer.files.intent import write_intent

_PARTIAL = re.compile(r"\.partial-[0-9a-f]{12}\.")
_LONGEST_NAME = 255  # bytes, on every file system in common use
_VERIFY: ContextVar[Callable[[], None]] = ContextVar("verify", default=lambda: None)


@contextlib.contextmanager
def verified_by(verify: Callable[[], None]) -> Iterator[None]:
    """Within the block, and in this thread, call `verify` before each partial is renamed to its final name.

    Args:
        verify: An error that it raises prevents the renaming; the partial is then deleted.
    """
    token = _VERIFY.set(verify)
    try:
        yield
    finally:
        _VERIFY.reset(token)


def partial_path(final: Path) -> Path:
    """A new partial name in the folder of `final`. Names that are too long lose their beginning."""
    prefix = f".partial-{uuid.uuid4().hex[:12]}."
    name = final.name
    while len(os.fsencode(prefix + name)) > _LONGEST_NAME:
        name = name[1:]
    return final.with_name(prefix + name)


@contextlib.contextmanager
def new_file(final: Path, *, track: bool = False) -> Iterator[Path]:
    """A partial path to write to; renamed to `final` at the end of the block, deleted if the block raises.

    Args:
        final: The final path.
        track: Write an intent, which the ledger's writer removes.

    Raises:
        OutputError: the file cannot be written.
    """
    partial = partial_path(final)
    try:
        with writing(final):
            final.parent.stat()  # SimpleITK would not report that the folder is missing
            yield partial
            if track:
                write_intent(partial, final)
        commit_file(partial, final)
    except BaseException:
        remove(partial)
        raise


def write_bytes(data: bytes, final: Path, *, track: bool = False) -> None:
    """Write `data` to `final` and read it back.

    Raises:
        OutputError: it cannot be written, or does not read back as written.
    """
    with new_file(final, track=track) as partial:
        partial.write_bytes(data)
        if partial.read_bytes() != data:
            raise OutputError(f"{final}: does not read back as it was written; the disk may be failing")


def commit_file(partial: Path, final: Path) -> None:
    """Sync `partial` to disk and rename it to `final`; a link of that name is replaced, not followed.

    Raises:
        OutputError: the file system refused it.
    """
    with writing(final):
        _sync_file(partial)
        _VERIFY.get()()
        partial.replace(final)
    _sync_folder(final.parent)


def commit_folder(partial: Path, final: Path, *, track: bool = False) -> None:
    """As `commit_file`, for a folder: an existing `final` is moved aside first and deleted at the end.

    Raises:
        OutputError: the file system refused it; the former `final` is still there.
    """
    old = partial_path(final.with_name(f"old.{final.name}"))
    with writing(final):
        for folder, _, names in os.walk(partial):
            for name in names:
                _sync_file(Path(folder, name))
            _sync_folder(Path(folder))
        _VERIFY.get()()
        if track:
            write_intent(partial, final)
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
    """Delete partials left behind by runs that were killed; links are deleted, their targets are not.

    Args:
        folder: Output folder; no other run may be using it.
        recursive: Include sub-folders.
        before: Only partials last modified before this time, in seconds since the epoch.
        of: Only partials of these final names; empty: of any.

    Returns:
        The deleted paths.
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
                continue  # this run's own temporary folder, see `temporary_folder`
            remove(path)
            if not os.path.lexists(path):
                swept.append(path)
        # Zarr stores hold no partials, and may hold thousands of files.
        folders[:] = [n for n in folders if recursive and not n.endswith(".zarr")]
    return swept


def remove(path: Path) -> None:
    """Delete a file, a link or a whole folder; errors are ignored, and `sweep_partials` deletes the rest later."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def writing(final: Path) -> Iterator[None]:
    """Turn errors of the file system into an `OutputError` that names `final` and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full; free some space and run again"
        elif error.errno == errno.EFBIG:
            reason = "it is larger than this file system or `ulimit -f` allows"
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
    """Make a rename durable where folders can be synced: not on Windows, not on every network share."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
