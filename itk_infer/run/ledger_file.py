"""The file of a ledger: created with the umask's modes, opened read-only, and errors as sentences."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.files.temporary import MISSING
from itk_infer.system import ownership, user_name


def ledger_fault(path: Path, error: sqlite3.Error) -> ConfigError:
    """Convert an SQLite error on an open ledger to a sentence with a remedy."""
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
    """Create a missing ledger with the modes that the umask allows, which SQLite also gives to its journal.

    SQLite itself would create it without write permission for the group, regardless of the umask.

    Raises:
        ConfigError: it cannot be created, or exists and may not be written.
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


@contextlib.contextmanager
def closed_on_error(db: sqlite3.Connection) -> Iterator[None]:
    """Close a database if the block, which prepares it, raises."""
    try:
        yield
    except BaseException:
        db.close()
        raise


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a ledger without changing it, even if a killed run has left an unfinished transaction.

    A missing file is read as an empty one; and one that another run has just made, and not yet filled, is empty.
    """
    if not path.exists() or not path.stat().st_size:
        return sqlite3.connect(":memory:")
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        with closed_on_error(db):
            db.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError:
        journal = path.with_name(f"{path.name}-journal")
        if not journal.exists():
            raise
    else:
        return db
    # SQLite must roll the transaction back before it reads, which it cannot in a read-only file: a copy is used.
    try:
        private = tempfile.TemporaryDirectory(prefix="itk_infer-")
    except OSError:
        raise ConfigError(
            f"{path}: a killed run has left an unfinished transaction, which is undone in a copy, and {MISSING}"
        ) from None
    with private as folder:
        for file in (path, journal):
            shutil.copyfile(file, Path(folder, file.name))
        db = sqlite3.connect(":memory:")
        with closed_on_error(db), contextlib.closing(sqlite3.connect(Path(folder, path.name))) as repaired:
            repaired.backup(db)
    return db
