"""A temporary folder on machines that have none which can be written, such as read-only containers."""

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
def temporary_folder(*places: Path) -> Iterator[None]:
    """While entered, `tempfile` works, here, in other libraries, and in processes that are started.

    Does nothing where it works anyway. Else a hidden folder is made for it, and removed at the end. It has the
    name of a partial: where it is left behind by a kill, the next run sweeps it.

    Args:
        *places: Where to make it: the first that can be written. Of one that does not exist yet, the nearest
            parent that does.
    """
    folder = None if _works() else _make(places)
    if folder is None:  # then what needs one fails with `MISSING`
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
    """Whether there is a temporary folder, other than the current one, which may be the folder of scans."""
    try:
        return Path(tempfile.gettempdir()) != Path.cwd()
    except OSError:
        return False


def _make(places: tuple[Path, ...]) -> Path | None:
    for place in places:
        existing = next((path for path in (place.absolute(), *place.absolute().parents) if path.is_dir()), None)
        if existing is None:
            continue
        try:
            return Path(tempfile.mkdtemp(prefix=f".partial-{uuid.uuid4().hex[:12]}.tmp-", dir=existing))
        except OSError:
            continue
    return None
