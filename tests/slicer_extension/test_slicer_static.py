from __future__ import annotations

import ast
import json
import re
import shutil
import struct
import subprocess

import pytest


def modules(extension):
    return sorted((extension / "ItkInfer").rglob("*.py"))


def test_every_file_is_listed_for_the_package(extension):
    module = extension / "ItkInfer"
    listed = re.findall(r"^  (\S+\.(?:py|ui|png))$", (module / "CMakeLists.txt").read_text(), re.MULTILINE)
    listed = {name.replace("${MODULE_NAME}", "ItkInfer") for name in listed}
    there = {
        path.relative_to(module).as_posix() for kind in ("py", "ui", "png") for path in module.rglob(f"*.{kind}")
    }
    assert listed == there


def test_python_3_9_reads_every_file(extension):
    for path in modules(extension):
        ast.parse(path.read_text(), feature_version=(3, 9))
    python = shutil.which("python3.9")
    if python is None or subprocess.run([python, "-V"], capture_output=True, check=False).returncode:
        return
    read = "import sys\nfor name in sys.argv[1:]: compile(open(name, encoding='utf-8').read(), name, 'exec')"
    subprocess.run([python, "-c", read, *modules(extension)], check=True)


def test_annotations_of_values_are_those_of_python_3_9(extension):
    # `X | None` outside of annotations, and match, would compile lazily or not at all.
    for path in modules(extension):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Match), path
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dataclass":
                assert not {"slots", "kw_only"} & {each.arg for each in node.keywords}, path


@pytest.mark.parametrize(
    ("name", "homes"),
    [("slicer", {"scene.py", "ItkInfer.py"}), ("qt", {"widget.py", "table.py", "wiring.py"})],
    ids=["slicer", "qt"],
)
def test_only_these_files_import_it(name, homes, extension):
    found = set()
    for path in modules(extension):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(each.split(".")[0] == name for each in names):
                found.add(path.name)
    assert found == homes


def test_the_catalogue_entry(extension):
    text = (extension / "ItkInfer.json").read_bytes()
    assert b"\r" not in text
    entry = json.loads(text)
    assert set(entry) == {
        "$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url", "tier",
    }  # fmt: skip
    cmake = (extension / "CMakeLists.txt").read_text()
    project = re.search(r"^project\((\w+)\)", cmake, re.MULTILINE)[1]
    assert project == "ItkInfer"  # the name of the entry
    assert not project.startswith("Slicer")
    assert re.fullmatch(r"https://github\.com/[\w.-]+/Slicer[\w-]+\.git", entry["scm_url"])
    assert entry["category"] == "Segmentation"
    assert f'EXTENSION_CATEGORY "{entry["category"]}"' in cmake
    assert entry["build_dependencies"] == []
    assert 'EXTENSION_DEPENDS "NA"' in cmake
    assert entry["tier"] in (1, 3, 5)
    assert (extension / "LICENSE.txt").is_file()
    repository = re.search(r'EXTENSION_REPOSITORY "(.+)"', cmake)[1]
    assert entry["scm_url"] == f"https://{repository}.git"


def test_addresses_in_cmake_are_files_that_are_there(extension):
    cmake = (extension / "CMakeLists.txt").read_text()
    pictures = re.findall(r"\$\{EXTENSION_RAW\}/([\w./]+)", cmake)
    assert len(pictures) >= 2
    assert [name for name in pictures if not (extension / name).is_file()] == []


def test_the_icon_is_128_pixels(extension):
    head = (extension / "ItkInfer" / "Resources" / "Icons" / "ItkInfer.png").read_bytes()[:26]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (128, 128)


def test_pictures_are_small(extension):
    pictures = list((extension / "Screenshots").glob("*.png"))
    pictures += (extension.parent / "docs" / "images").glob("slicer_*.png")
    assert len(pictures) > 8
    assert [path.name for path in pictures if path.stat().st_size > 150_000] == []
