"""The live table of the cases of a folder."""

from __future__ import annotations

from typing import Any, List

import qt

from .story import Story

COLORS = {"done": "#2e9e5b", "failed": "#d1433f", "running": "#2f7fd1", "skipped": "#8a94a6"}

WIDTHS = (130, 64, 78)  # pixels; the note takes the rest


class CasesTable:
    """Shows a story in a QTableWidget with the columns case, state, confidence, note."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.cases: List[str] = []
        for column, width in enumerate(WIDTHS):
            table.setColumnWidth(column, width)

    def clear(self) -> None:
        """Begin again."""
        self.cases = []
        self._table.setRowCount(0)

    def show(self, story: Story) -> None:
        """Show what changed since the last call."""
        changed, story.changed = list(dict.fromkeys(story.changed)), []
        for name in changed:
            case = story.cases[name]
            if name not in self.cases:
                self.cases.append(name)
                self._table.setRowCount(len(self.cases))
            sure = "" if case.confidence is None else "%.3f" % case.confidence
            # A reason begins with the file it is about, which stands in the first column.
            note = case.note[len(name) + 2 :] if case.note.startswith(name + ": ") else case.note
            for column, text in enumerate((case.name, case.state, sure, note)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                if column == 1:
                    item.setForeground(qt.QBrush(qt.QColor(COLORS[case.state])))
                self._table.setItem(self.cases.index(name), column, item)
        if changed:
            self._table.scrollToItem(self._table.item(self.cases.index(changed[-1]), 0))
