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


WRONG = {
    "test_a_window_is_answered_by_itself": ("axis=(2, 3, 4)", "axis=(0, 2, 3, 4)"),
    "test_windows_are_left_as_they_are": ("above = windows -", "above = windows; above -="),
    "test_any_number_of_windows_is_answered": ("channels_out=2", "channels_out=3"),
    "test_it_says_what_it_is": ('digest = "above-mean-1"', 'digest = ""'),
}


def run(folder: Path, **sources: str) -> str:
    """What pytest says of files with these names and contents."""
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=600).stdout


def test_the_backend_of_the_page_passes(tmp_path: Path) -> None:
    said = run(tmp_path, test_above_mean=BACKEND)
    assert re.search(r"^11 passed", said, re.MULTILINE), said


@pytest.fixture(scope="module")
def said_of_wrong_ones(tmp_path_factory: pytest.TempPathFactory) -> str:
    backend = BACKEND.partition("predictor = ")[0]
    sources = {f"test_wrong_{number}": backend.replace(*words) for number, words in enumerate(WRONG.values())}
    return run(tmp_path_factory.mktemp("wrong"), **sources)


@pytest.mark.parametrize("failing", WRONG)
def test_a_wrong_backend_fails_and_shows_where(said_of_wrong_ones: str, failing: str) -> None:
    name = f"test_wrong_{list(WRONG).index(failing)}"
    assert re.search(rf"^FAILED {name}\.py::.*{failing}", said_of_wrong_ones, re.MULTILINE), said_of_wrong_ones


def test_the_page_names_every_class() -> None:
    classes = {name for name in testing.__all__ if name.endswith("Tests")}
    assert set(re.findall(r"`(\w+Tests)`", TEXT)) == classes
