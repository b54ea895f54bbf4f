"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Summary:
    """How a run ended.

    Attributes:
        done: Case names, in the order they were finished.
        failed: Reasons by case name.
        skipped: Reasons by case name.
        passed_over: Those of them that were never cases: not read, or results of earlier runs.
        seconds: Wall time.
        exit_code: For the shell.
        problem: Why the whole run ended early; empty if it did not.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)
    seconds: float = 0.0
    exit_code: int = 0
    problem: str = ""
