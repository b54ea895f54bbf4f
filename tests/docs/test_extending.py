"""The backend of docs/extending.md passes the shipped tests, run as its author would run them; a wrong one does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from itk_infer import testing

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
TEXT = PAGE.read_text("utf-8")
BACKEND = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[0]


def run(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_above_mean.py").write_text(source)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_above_mean.py"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=250)


def test_the_backend_of_the_page_passes(tmp_path: Path) -> None:
    done = run(tmp_path, BACKEND)
    assert re.search(r"^11 passed", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "failing"),
    [
        ("axis=(2, 3, 4)", "axis=(0, 2, 3, 4)", "test_a_window_is_answered_by_itself"),
        ("above = windows -", "above = windows; above -=", "test_windows_are_left_as_they_are"),
        ("channels_out=2", "channels_out=3", "test_any_number_of_windows_is_answered"),
        ('digest = "above-mean-1"', 'digest = ""', "test_it_says_what_it_is"),
    ],
)
def test_a_wrong_backend_fails_and_shows_where(tmp_path: Path, right: str, wrong: str, failing: str) -> None:
    done = run(tmp_path, BACKEND.partition("predictor = ")[0].replace(right, wrong))
    assert re.search(rf"^FAILED .*::{failing}", done.stdout, re.MULTILINE), done.stdout


def test_the_page_names_every_class() -> None:
    classes = {name for name in testing.__all__ if name.endswith("Tests")}
    assert set(re.findall(r"`(\w+Tests)`", TEXT)) == classes
