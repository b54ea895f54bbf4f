"""The file of a ledger: created for the group, opened without a change, and refused in words."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.files.temporary import MISSING
from itk_infer.system import ownership, user_name


def ledger_fault(path: Path, error: sqlite3.Error) -> ConfigError:
    """What SQLite said of a ledger that is open, as a sentence with the remedy."""
    if "readonly" in str(error) or "unable to open" in str(error):
        return _not_writable(path)
    return ConfigError(
        f"{path.parent}: the ledger cannot be written ({error}); free some space, or check the file system, and "
        "run the same command again"
    )


def _not_writable(path: Path) -> ConfigError:
    owners = f"it belongs to {ownership(path)}; its folder to {ownership(path.parent)}"
    reason = f" ({owners})" if ownership(path) else ""
    return ConfigError(
        f"{path}: {user_name()} may not write it{reason}; its owner can share it with the group (chmod g+w "
        f"{path}; chmod g+rwxs {path.parent}), or choose another output folder"
    )


def make_writable(path: Path) -> None:
    """Create a missing ledger with the modes that the umask allows, which its journal will have, too.

    SQLite itself would create it without write permission for the group, whatever the umask says.

    Raises:
        ConfigError: it cannot be created, or is there and may not be written.
    """
    try:
        path.open("xb").close()
    except FileExistsError:
        pass
    except PermissionError:
        raise _not_writable(path) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be created ({error.strerror}); is the disk full?") from None
    if not os.access(path, os.W_OK):
        raise _not_writable(path)


def open_read_only(path: Path) -> sqlite3.Connection:
    """The ledger without a change to it, even where a killed run has left a change half made."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        db.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError:
        db.close()
        journal = path.with_name(f"{path.name}-journal")
        if not journal.exists():
            raise
    else:
        return db
    # SQLite would undo that change before it reads, which read-only it may not; so it does in a copy.
    try:
        private = tempfile.TemporaryDirectory(prefix="itk_infer-")
    except OSError:
        raise ConfigError(
            f"{path}: a killed run has left a change half made, which is undone in a copy, and {MISSING}"
        ) from None
    with private as folder:
        for file in (path, journal):
            shutil.copyfile(file, Path(folder, file.name))
        db = sqlite3.connect(":memory:")
        with contextlib.closing(sqlite3.connect(Path(folder, path.name))) as repaired:
            repaired.backup(db)
    return db
