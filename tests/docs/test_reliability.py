"""Every test that docs/reliability.md names exists."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "reliability.md"


def test_every_test_of_the_table_exists() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ") and ".py" in line]
    assert len(rows) > 30
    for row in rows:
        source = ""
        for word in re.findall(r"`([^`]+)`", row.rsplit("|", 2)[1]):
            file, _, test = (
                word.rpartition("::") if "::" in word else (word, "", "") if ".py" in word else ("", "", word)
            )
            if file:
                path = file.partition("::")[0]  # below tests/, or a conformance test that ships
                folder = REPOSITORY if path.startswith("itk_infer/") else REPOSITORY / "tests"
                source = (folder / path).read_text("utf-8")
            if test:
                assert re.search(rf"def {test}\b", source), word
