"""One name of a large package: only what it needs is run, and the rest is there for whoever wants it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from itk_infer.lazy_packages import import_name

FILES = {
    "__init__.py": "from . import costly\nfrom .parts import Wheel\n",
    "costly.py": "raise RuntimeError('everything was imported')\n",
    "parts/__init__.py": "from bigpackage import costly\nfrom .wheel import Wheel as Round\nfrom .wheel import Wheel\n",
    "parts/wheel.py": "from bigpackage import __version__\nfrom bigpackage.parts import RIM\n\nclass Wheel:\n"
    "    rim, version = RIM, __version__\n",
    "parts/rim.py": "RIM = 'steel'\n",
}


@pytest.fixture
def big_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that imports all of itself, as MONAI does; its costly part fails."""
    root = tmp_path / "bigpackage"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    init = root / "parts/__init__.py"
    init.write_text(init.read_text() + "from .rim import RIM\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "7.5")
    return root


def test_only_what_a_name_needs_is_run(big_package: Path) -> None:
    wheel = import_name("bigpackage", "bigpackage.parts", "Wheel")
    assert (wheel.rim, wheel.version) == ("steel", "7.5")
    assert import_name("bigpackage", "bigpackage.parts", "Round").__name__ == "Wheel"


def test_nothing_is_left_behind(big_package: Path) -> None:
    finders = list(sys.meta_path)
    import_name("bigpackage", "bigpackage.parts", "Wheel")
    assert sys.meta_path == finders
    assert not [name for name in sys.modules if name.startswith("bigpackage")]
    with pytest.raises(RuntimeError, match="everything was imported"):
        importlib.import_module("bigpackage")


def test_a_package_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bigpackage", SimpleNamespace(Wheel="theirs"))
    assert import_name("bigpackage", "bigpackage", "Wheel") == "theirs"


def test_what_cannot_be_imported_so_is_imported_as_usual(big_package: Path) -> None:
    """A package whose ``__init__.py`` makes names, too."""
    (big_package / "costly.py").write_text("")
    (big_package / "parts/__init__.py").write_text("RIM = 'wood'\nfrom .wheel import Wheel\n")
    (big_package / "__init__.py").write_text("__version__ = '8'\nfrom .parts import Wheel\n")
    assert import_name("bigpackage", "bigpackage.parts", "Wheel").rim == "wood"
    for name in [name for name in sys.modules if name.startswith("bigpackage")]:
        del sys.modules[name]


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(ImportError, match="nosuchpackage"):
        import_name("nosuchpackage", "nosuchpackage.parts", "Wheel")


def test_networks_of_monai_need_little_of_it() -> None:
    """Each in one process: neither transforms nor the reader of bundles, nor what draws."""
    pytest.importorskip("monai")
    from itk_infer.model.kinds.monai_bundle.network_def import NETWORKS

    code = (
        "import sys\nfrom itk_infer.lazy_packages import import_name\nseen = set()\n"
        "class Watch:\n    def find_spec(self, name, path=None, target=None):\n        seen.add(name)\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"for name in {sorted(NETWORKS)}:\n"
        "    assert import_name('monai', 'monai.networks.nets', name).__name__ == name\n"
        "print(sorted(seen & {'monai.bundle', 'monai.transforms', 'monai.data', 'matplotlib', 'scipy'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=600
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr[-2000:]
