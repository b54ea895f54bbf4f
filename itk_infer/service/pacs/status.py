"""The state of a node, read from its home only, whether or not the node is running."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from itk_infer._version import __version__
from itk_infer.errors import ConfigError
from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
from itk_infer.run.heartbeat import BEAT_S
from itk_infer.run.ledger_file import open_read_only
from itk_infer.run.lock import at_work
from itk_infer.service.job import STATES as JOB_STATES
from itk_infer.service.jobs import NAME as QUEUE
from itk_infer.service.pacs.outbox import NAME as OUTBOX
from itk_infer.service.pacs.outbox import STATES
from itk_infer.service.pacs.studies import NAME as STUDIES

MOST = 1000  # most entries that are named


def is_home(folder: Path) -> bool:
    """Whether a folder is the home of a node."""
    return (folder / STUDIES).is_file()


def node_status(home: Path, *, watch: bool = True) -> dict[str, Any]:
    """Counts of studies, jobs and results by state; JSON-ready, without patient data.

    Args:
        home: Home of the node.
        watch: Whether to name the running process; takes seconds if it is on another machine or in a container.

    Raises:
        ConfigError: the folder is not the home of a node, or cannot be read.
    """
    if not is_home(home):
        raise ConfigError(f"{home}: holds no {STUDIES}; give the home of a node")
    try:
        with temporary_folder(SHARED_MEMORY, home):
            studies = _rows(home / STUDIES, "SELECT count(*) FROM studies WHERE settled = 0")
            facts = dict(_rows(home / STUDIES, "SELECT name, value FROM facts"))
            jobs = dict(_rows(home / QUEUE, "SELECT state, count(*) FROM jobs GROUP BY state"))
            failed = _rows(
                home / QUEUE,
                "SELECT name, reason FROM jobs WHERE state = 'failed' AND NOT EXISTS (SELECT 1 FROM jobs AS later"
                " WHERE later.name = jobs.name AND later.number > jobs.number AND later.state = 'done')"
                " ORDER BY number DESC",
            )
            done = _done(
                _rows(home / QUEUE, "SELECT name, results FROM jobs WHERE state = 'done' ORDER BY number")
            )
            letters = _rows(
                home / OUTBOX, "SELECT target, state, count(*), sum(verified) FROM letters GROUP BY target, state"
            )
            stuck = _rows(
                home / OUTBOX,
                "SELECT target, path, state, tries, reason FROM letters"
                " WHERE state IN ('rejected', 'dead') OR (state = 'waiting' AND tries > 0) ORDER BY path LIMIT ?",
                MOST,
            )
    except sqlite3.Error as error:
        raise ConfigError(f"{home}: its databases cannot be read ({error})") from error
    results: dict[str, dict[str, int]] = {}
    for target, state, count, _ in letters:
        results.setdefault(target, dict.fromkeys(STATES, 0))[state] = count
    computed = Counter(name for name, skipped in done if not skipped)
    owners = at_work(home, 2 * BEAT_S) if watch else []
    looked = facts.get("looked", "")
    return {
        "home": str(home),
        "version": __version__,
        "at_work": [{"pid": owner.pid, "host": owner.host} for owner in owners],
        "source_problem": facts.get("source_problem", ""),
        "seconds_since_look": round(time.time() - float(looked), 1) if looked else None,
        "studies_growing": studies[0][0] if studies else 0,
        "jobs": {state: jobs.get(state, 0) for state in JOB_STATES} | {"done": len(done), "failed": len(failed)},
        "skipped": sum(skipped for _, skipped in done),
        "failed": dict(reversed(failed[:MOST])),
        "superseded": {name: count - 1 for name, count in computed.items() if count > 1},
        "results": results,
        "verified": sum(row[3] for row in letters),
        "stuck": [dict(zip(("target", "path", "state", "tries", "reason"), row, strict=True)) for row in stuck],
    }


def status_lines(status: dict[str, Any]) -> Iterator[str]:
    """The state as lines of text."""
    for owner in status["at_work"]:
        yield f"at work: process {owner['pid']} on {owner['host']}"
    if not status["at_work"]:
        yield "no node is at work here; the same command goes on where the last one ended"
    if status["source_problem"]:
        yield f"the source of studies: {status['source_problem']}"
    yield f"growing: {status['studies_growing']} studies that are not complete yet"
    yield "studies: " + ", ".join(f"{count} {state}" for state, count in status["jobs"].items())
    if status["skipped"]:
        yield f"  of these, {status['skipped']} hold no series that is meant"
    for study, reason in status["failed"].items():
        yield f"  failed: {study}: {reason}"
    for study, count in status["superseded"].items():
        yield f"  superseded: {count} earlier results of {study}, which grew afterwards"
    for target, counts in status["results"].items():
        yield f"results to {target}: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    for letter in status["stuck"]:
        yield f"  {letter['state']}: {letter['path']}, tried {letter['tries']} times: {letter['reason']}"


def metrics_text(status: dict[str, Any]) -> str:
    """The state in the text format of Prometheus."""
    return "".join(f"{line}\n" for line in _metrics(status))


def _metrics(status: dict[str, Any]) -> Iterator[str]:
    yield from _metric("itk_infer_node_info", "Version of the program.")
    yield f'itk_infer_node_info{{version="{status["version"]}"}} 1'
    yield from _metric("itk_infer_node_studies", "Studies by state.")
    yield f'itk_infer_node_studies{{state="growing"}} {status["studies_growing"]}'
    for state, count in status["jobs"].items():
        yield f'itk_infer_node_studies{{state="{state}"}} {count}'
    yield from _metric("itk_infer_node_results", "Result objects by destination and state.")
    for number, counts in enumerate(status["results"].values()):
        for state, count in counts.items():
            yield f'itk_infer_node_results{{destination="{number}",state="{state}"}} {count}'
    yield from _metric("itk_infer_node_source_up", "Whether the last look at the source of studies succeeded.")
    yield f"itk_infer_node_source_up {int(not status['source_problem'])}"
    if status["seconds_since_look"] is not None:
        yield from _metric("itk_infer_node_look_age_seconds", "Seconds since the last look that succeeded.")
        yield f"itk_infer_node_look_age_seconds {status['seconds_since_look']}"


def _metric(name: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} gauge"


def _done(rows: list[Any]) -> list[tuple[str, bool]]:
    """The study of each job that is done, and whether it was skipped; if it then grew, it is what it became."""
    last = {name: place for place, (name, _) in enumerate(rows)}
    jobs = [(name, "skipped" in json.loads(results)) for name, results in rows]
    return [(name, skipped) for place, (name, skipped) in enumerate(jobs) if not skipped or last[name] == place]


def _rows(path: Path, sql: str, *values: object) -> list[Any]:
    if not path.is_file() or not path.stat().st_size:  # a node that is starting has not filled it yet
        return []
    with closing(open_read_only(path)) as db:
        return db.execute(sql, values).fetchall()
