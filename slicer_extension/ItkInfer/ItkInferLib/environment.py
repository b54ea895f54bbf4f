"""The Python environment of itk_infer: located, tested or created. It is never Slicer's own Python."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from .command import InvalidChoice

# Scripts for the Python of the environment, in a folder of their own, because Python searches that folder first.
OUTSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "outside")
PROBE = os.path.join(OUTSIDE, "probe.py")
MAPS = os.path.join(OUTSIDE, "maps.py")
OLDEST = (3, 11)
OLD_ENOUGH = (
    "import sys; sys.exit(0 if sys.version_info >= (3, 11) else "
    "'Error: Python %d.%d is too old; 3.11 or newer is needed' % sys.version_info[:2])"
)
# Variables set by programs that embed Python, such as Slicer, which would change how another Python works.
STRAY = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONNOUSERSITE",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
)


@dataclass(frozen=True)
class Program:
    """How to run itk_infer.

    Attributes:
        command: The first arguments of the command line, before the options.
        python: The Python of its environment; empty if it was not found.
    """

    command: Tuple[str, ...]
    python: str = ""

    def test_argv(self) -> List[str]:
        """The command whose output `verdict` reads."""
        return [self.python, PROBE] if self.python else list(self.command) + ["--version"]


def find_program(path: str) -> Program:
    """The program at a path: an itk_infer executable, a Python, or the folder of an environment.

    Args:
        path: The path; empty: search for itk_infer on the system's path.

    Raises:
        InvalidChoice: there is no such program.
    """
    if not path.strip():
        path = shutil.which("itk_infer") or ""
        if not path:
            raise InvalidChoice("No environment was chosen, and the system knows no itk_infer.")
    path = os.path.abspath(os.path.expanduser(path.strip()))
    if os.path.isdir(path):
        for below in ("bin", "Scripts", ""):
            program = _in_folder(os.path.join(path, below))
            if program:
                return program
        raise InvalidChoice("The folder %s holds no environment with itk_infer or Python." % path)
    if not os.path.isfile(path):
        raise InvalidChoice("%s is not there." % path)
    if not os.access(path, os.X_OK):
        raise InvalidChoice("%s is not a program." % path)
    if os.path.basename(path).lower().startswith("python"):
        return Program((path, "-m", "itk_infer"), path)
    return Program((path,), _python_beside(path))


def _in_folder(folder: str) -> Optional[Program]:
    for name in ("itk_infer", "itk_infer.exe", "python", "python3", "python.exe"):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return find_program(path)
    return None


def _python_beside(path: str) -> str:
    """The Python that runs a script: the one in its first line, else one in the same folder.

    Empty for a program that is not a script; on Windows, scripts are .exe files.
    """
    try:
        with open(path, "rb") as script:
            first = script.readline(1024)
    except OSError:
        first = b""
    if not first.startswith(b"#!") and not path.lower().endswith(".exe"):
        return ""
    interpreter = os.fsdecode(first[2:].strip())
    folder = os.path.dirname(path)
    beside = [os.path.join(folder, name) for name in ("python", "python3", "python.exe")]
    for python in [interpreter] + beside:
        if os.path.isfile(python) and os.path.basename(python).lower().startswith("python"):
            return python
    return ""


def clean_environment(variables: Mapping[str, str]) -> Dict[str, str]:
    """Environment variables for another Python, without those of Slicer's Python.

    Args:
        variables: The variables Slicer was started with (`slicer.util.startupEnvironment`).
    """
    kept = {name: value for name, value in variables.items() if name not in STRAY}
    kept.update(
        PYTHONUTF8="1", PYTHONIOENCODING="utf-8:replace", PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1"
    )
    return kept


def verdict(code: int, lines: Sequence[str]) -> Tuple[bool, str]:
    """The result of a test of the environment, for the user.

    Args:
        code: Exit code of `Program.test_argv`.
        lines: Its stdout.

    Returns:
        Whether itk_infer can run there, and a description in a few sentences.
    """
    for line in lines:
        try:
            answer = json.loads(line)
            versions, problems = dict(answer["versions"]), [str(item) for item in answer["problems"]]
            devices = ", ".join(str(item) for item in answer["devices"])
            python = str(answer["python"])
        except (ValueError, KeyError, TypeError):
            continue
        has = ["%s %s" % (name, versions[name]) for name in versions if name != "itk_infer"]
        about = "itk_infer %s" % versions["itk_infer"] if "itk_infer" in versions else "No itk_infer"
        text = "%s on Python %s, with %s." % (about, python, ", ".join(has) or "no runtime")
        return not problems, " ".join([text, "Devices: %s." % devices] + problems)
    if code == 0 and lines:
        return True, "%s. Its Python was not found, so its devices are not known." % lines[-1].strip()
    return False, "This is no working itk_infer (exit code %d). The log below says what it printed." % code


def check_new(python: str, folder: str, slicer_home: str = "") -> None:
    """Check that an environment can be created in a folder.

    Args:
        python: The Python to create it with.
        folder: The new folder.
        slicer_home: Slicer's own folder, which must not be changed.

    Raises:
        InvalidChoice: it cannot.
    """
    if not python or not os.path.isfile(python):
        raise InvalidChoice(
            "Name a Python 3.11 or newer (from python.org, conda or the system), or use an environment."
        )
    if not folder:
        raise InvalidChoice("Choose a folder for the new environment.")
    if slicer_home and _inside(folder, slicer_home):
        raise InvalidChoice("The folder lies inside Slicer, which must stay as it is; choose another.")
    if os.path.isfile(folder) or (os.path.isdir(folder) and os.listdir(folder)):
        raise InvalidChoice("%s is not empty; name a new folder." % folder)


def _inside(path: str, folder: str) -> bool:
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def making_steps(python: str, folder: str, package: str) -> List[Tuple[str, List[str]]]:
    """The commands, each with a title, that create an environment and install itk_infer into it."""
    inside = python_of(folder)
    install = [
        inside,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
    ]
    return [
        ("Looking at Python", [python, "-c", OLD_ENOUGH]),
        ("Making the folder", [python, "-m", "venv", folder]),
        ("Installing %s" % package, install + [package]),
    ]


def python_of(folder: str) -> str:
    """The Python inside an environment's folder."""
    return os.path.join(folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def find_python(own: str, own_version: Tuple[int, int]) -> str:
    """A Python that is new enough to create an environment: Slicer's own, else the system's, else empty.

    Args:
        own: The Python that runs Slicer's modules.
        own_version: Its version.
    """
    if own_version >= OLDEST and os.path.isfile(own):
        return own
    for minor in range(14, OLDEST[1] - 1, -1):
        python = shutil.which("python3.%d" % minor)
        if python:
            return python
    return ""
