"""The table of a folder's cases, updated during the run."""

from __future__ import annotations

from typing import Any, List

import qt

from .run_state import RunState

COLORS = {"done": "#2e9e5b", "failed": "#d1433f", "running": "#2f7fd1", "skipped": "#8a94a6"}

WIDTHS = (130, 64, 78)  # pixels; the note takes the rest


class CasesTable:
    """Shows the state of a run in a QTableWidget with the columns case, state, confidence, note."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.cases: List[str] = []
        for column, width in enumerate(WIDTHS):
            table.setColumnWidth(column, width)

    def clear(self) -> None:
        """Remove all rows."""
        self.cases = []
        self._table.setRowCount(0)

    def show(self, run_state: RunState) -> None:
        """Update the rows that changed since the last call."""
        changed, run_state.changed = list(dict.fromkeys(run_state.changed)), []
        for name in changed:
            case = run_state.cases[name]
            if name not in self.cases:
                self.cases.append(name)
                self._table.setRowCount(len(self.cases))
            sure = "" if case.confidence is None else "%.3f" % case.confidence
            # A reason begins with the name of the file, which is shown in the first column.
            note = case.note[len(name) + 2 :] if case.note.startswith(name + ": ") else case.note
            for column, text in enumerate((case.name, case.state, sure, note)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                if column == 1:
                    item.setForeground(qt.QBrush(qt.QColor(COLORS[case.state])))
                self._table.setItem(self.cases.index(name), column, item)
        if changed:
            self._table.scrollToItem(self._table.item(self.cases.index(changed[-1]), 0))
