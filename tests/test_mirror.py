"""tests/ has the rooms of the package: what is tested where can be told from its path."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "itk_infer"

# Folders of tests that are no room of the package.
APART = {
    "benchmarks": "the folder of that name in the repository",
    "deploy": "the folder of that name in the repository",
    "docs": "the folder of that name in the repository, and the pages at its top",
    "faults": "the whole program, while something goes wrong",
    "slicer_extension": "the folder of that name in the repository",
    "support": "what tests of several rooms share",
}
# Tests at the top that are of no one module.
WHOLE = {
    "test_device": "a predictor whose backend takes tensors",
    "test_gpu": "a predictor on a GPU",
    "test_memory": "what a case was predicted to need, and needs",
    "test_mirror": "this file",
    "test_timeouts": "the time limits of the tests themselves",
    "test_against_monai": "steps that are named after MONAI's, against MONAI's own",
    "test_bundles_against_monai": "chains of such steps in bundles, against MONAI's own",
    "test_export_networks": "exports of networks of every family, run without torch",
    "test_messages": "the messages of all modules",
    "test_real": "the whole program, with real networks and scans",
    "test_real_images2d": "the same, with pictures and 2D networks",
    "test_real_monai": "the same, with bundles of MONAI",
    "test_real_nnunet": "the same, with model folders of nnU-Net",
}


def test_every_folder_of_tests_is_a_room_of_the_package() -> None:
    files = [path.relative_to(TESTS) for path in TESTS.rglob("*.py")]
    rooms = {path.parent for path in files if path.parts[0] not in APART} - {Path()}
    assert len(rooms) > 10
    assert [room for room in sorted(rooms) if not (PACKAGE / room / "__init__.py").is_file()] == []
    assert [name for name in APART if not (TESTS / name).is_dir()] == []


def test_every_test_at_the_top_is_of_a_module_at_the_top() -> None:
    names = {path.stem for path in TESTS.glob("test_*.py")} - {"test_init"}
    assert [name for name in names - WHOLE.keys() if not (PACKAGE / f"{name[5:]}.py").is_file()] == []
    assert WHOLE.keys() <= names


def test_there_is_one_search_path_which_pytest_sets() -> None:
    """`pythonpath` in setup.cfg; what a test starts gets `child_environment` of tests/support."""
    changed = re.compile(r"sys\.path(\.(insert|append)|\[.*\] *=)")
    texts = {path: path.read_text("utf-8") for path in TESTS.rglob("*.py")}
    # Configs of users may do so, and a test sees what comes of it.
    apart = {Path(__file__), TESTS / "model" / "kinds" / "test_project_code.py"}
    assert [str(path) for path, text in texts.items() if path not in apart and changed.search(text)] == []
