"""A temporary folder on machines without a writable one, such as read-only containers."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
MISSING = "there is no temporary folder that can be written; set TMPDIR to one"


@contextmanager
def temporary_folder(*parents: Path) -> Iterator[None]:
    """Within the block, `tempfile` works in this process, in its libraries and in processes that it starts.

    Where it does not work without help, a hidden folder is created, and deleted at the end. It has the name of
    a partial, so the next run deletes it if this one is killed.

    Args:
        *parents: Folders to create it in; the first writable one is used. For a folder that does not exist
            yet, its nearest existing parent.
    """
    folder = None if _works() else _make(parents)
    if folder is None:  # code that needs a temporary folder then fails with `MISSING`
        yield
        return
    former, environment = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = former
        if environment is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = environment
        shutil.rmtree(folder, ignore_errors=True)


def _works() -> bool:
    """Whether there is a temporary folder other than the current one, which may hold the user's scans."""
    try:
        return Path(tempfile.gettempdir()) != Path.cwd()
    except OSError:
        return False


def _make(parents: tuple[Path, ...]) -> Path | None:
    for parent in parents:
        existing = next((path for path in (parent.absolute(), *parent.absolute().parents) if path.is_dir()), None)
        if existing is None:
            continue
        try:
            return Path(tempfile.mkdtemp(prefix=f".partial-{uuid.uuid4().hex[:12]}.tmp-", dir=existing))
        except OSError:
            continue
    return None
