"""Sends the DICOM results in a folder: `itk_infer push`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError, NoInputError
from itk_infer.files.commit import write_bytes
from itk_infer.run.lock import FolderLock
from itk_infer.service.pacs.access import Access
from itk_infer.service.pacs.delivery import Destination
from itk_infer.service.pacs.destinations import destination
from itk_infer.service.pacs.objects import results_in
from itk_infer.service.pacs.outbox import NAME, PATIENCE_S, Letter, Outbox
from itk_infer.service.pacs.sender import next_due, send_due
from itk_infer.service.pacs.studies import NAME as STUDIES

NAP_S = 0.2


def push_folder(
    folder: Path,
    targets: Sequence[str],
    access: Access,
    *,
    wait: float,
    patience: float = PATIENCE_S,
    tell: Callable[[str], None] = lambda sentence: None,
    check: Callable[[], None] = lambda: None,
) -> list[Letter]:
    """Send the DICOM objects in an output folder, and those left in its outbox by an earlier push or by a node.

    Objects that were sent before are skipped; those that were given up before are tried again.

    Args:
        folder: Output folder of a run, or the home of a node.
        targets: Destinations, as in `DESTINATIONS`; empty: those recorded in the outbox.
        access: Accounts and certificates.
        wait: Seconds for which attempts to reach servers are repeated.
        patience: Seconds after which an object is given up.
        tell: Called with sentences for the user.
        check: Called often; raises to stop.

    Returns:
        The letters to the destinations.

    Raises:
        ConfigError: a destination is not valid, or another run is using the folder.
        NoInputError: there is nothing to send.
    """
    if not targets and not (folder / NAME).is_file():
        raise ConfigError(f"{folder}: nothing was sent from here before; say where to, `to`")
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give the output folder of a run")
    with FolderLock(folder, tell=tell, check=check), closing(Outbox(folder, patience)) as outbox:
        destinations = [destination(text, access) for text in targets or outbox.counts()]
        names = {there.name for there in destinations}
        if targets and not (folder / STUDIES).exists():  # a node adds its results to the outbox itself
            outbox.put(results_in(folder), names)
        outbox.retry(names)
        if not any(letter.target in names for letter in outbox.letters()):
            raise NoInputError(
                f"{folder}: holds no DICOM objects of finished cases; a run writes them with `dicom`"
            )
        _send(outbox, destinations, time.monotonic() + wait, tell, check)
        return [letter for letter in outbox.letters() if letter.target in names]


def read_summary(path: Path) -> dict[str, Any]:
    """Read the summary of a run, as written by its option `summary`.

    Raises:
        ConfigError: the file is not such a summary.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        if all(isinstance(case["outputs"], list) for case in document["cases"]):
            return document
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ConfigError(f"{path}: is not the summary of a run; `summary` of the run writes one")


def note_pushed(path: Path, letters: Sequence[Letter], folder: str = "") -> None:
    """Add to the summary of a run, per case, the number of objects by destination and state.

    Args:
        path: File of the summary.
        letters: Letters to all destinations.
        folder: Folder of the run relative to that of the letters, with a trailing slash.

    Raises:
        ConfigError: the file is not such a summary.
        OutputError: the file cannot be written.
    """
    document = read_summary(path)
    before = [case.get("pushed") for case in document["cases"]]
    for case in document["cases"]:
        pushed: dict[str, dict[str, int]] = {}
        for letter in letters:
            if letter.path.removeprefix(folder) in case["outputs"]:
                states = pushed.setdefault(letter.target, {})
                states[letter.state] = states.get(letter.state, 0) + 1
        case["pushed"] = pushed
    if before == [case["pushed"] for case in document["cases"]]:
        return
    write_bytes(json.dumps(document, indent=2).encode(), path)


def _send(
    outbox: Outbox,
    destinations: Sequence[Destination],
    deadline: float,
    tell: Callable[[str], None],
    check: Callable[[], None],
) -> None:
    told: set[tuple[str, str]] = set()
    while True:
        for there in destinations:
            for path, delivery in send_due(outbox, there, check).items():
                if delivery.state != "sent" and (path, delivery.reason) not in told:
                    told.add((path, delivery.reason))
                    tell(f"{path}: not sent to {there.name}: {delivery.reason}")
        names = {there.name for there in destinations}
        due = next_due([letter for letter in outbox.letters("waiting") if letter.target in names])
        if due is None or time.monotonic() >= deadline:
            return
        until = min(time.monotonic() + max(0.0, due - time.time()), deadline)
        while time.monotonic() < until:
            check()
            time.sleep(min(NAP_S, max(0.0, until - time.monotonic())))
