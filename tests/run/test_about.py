from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from itk_infer.run import about


@pytest.fixture(autouse=True)
def anew() -> None:
    about._versions.cache_clear()


def installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def test_versions_are_those_of_the_installed_packages() -> None:
    found = about._versions()
    assert {package: found.get(package) for package in about.PACKAGES} == {p: installed(p) for p in about.PACKAGES}
    assert "numpy" in found


def test_the_first_of_two_places_counts_however_the_name_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(
        ("onnxruntime_gpu-1.5+cu12.dist-info", "Zarr-2.0-py3.11.egg-info", "zarr-9.dist-info")
    ):
        (tmp_path / str(number) / name).mkdir(parents=True)
    monkeypatch.setattr("sys.path", [str(tmp_path / place) for place in ("absent", "0", "1", "2")])
    found = about._versions()
    assert (found["onnxruntime-gpu"], found["zarr"]) == ("1.5+cu12", "2.0")
    assert "numpy" not in found
    about._versions.cache_clear()
