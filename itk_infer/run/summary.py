"""The result of a run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Summary:
    """The result of a run.

    Attributes:
        done: Names of finished cases, in order.
        failed: Reasons by case name.
        skipped: Reasons by case name.
        passed_over: Skipped inputs that are not cases: not read, or results of earlier runs.
        seconds: Wall time in seconds.
        exit_code: Exit code of the command.
        problem: Why the run ended early; empty if it did not.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)
    seconds: float = 0.0
    exit_code: int = 0
    problem: str = ""
