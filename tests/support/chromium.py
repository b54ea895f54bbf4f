"""Headless Chromium for tests of pages, through its own debugging pipe: no other package is needed."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 120


def chromium() -> str:
    """The program; skips the test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium")
    return found


class Page:
    """One page in a browser of its own.

    Attributes:
        requests: Addresses that the page asked for.
        errors: Exceptions and refused contents that the page reported.
    """

    def __init__(self, width: int = 1200, height: int = 800, script: bool = True) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        (read_theirs, self._write), (self._read, write_theirs) = os.pipe(), os.pipe()

        def give_pipes() -> None:
            """Chromium reads from descriptor 3 and writes to 4."""
            ends = os.dup(read_theirs), os.dup(write_theirs)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        flags = ["--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader", "--remote-debugging-pipe"]
        flags += ["--disable-dev-shm-usage", "--no-first-run", f"--window-size={width},{height}"]
        self._process = subprocess.Popen(
            [chromium(), *flags, f"--user-data-dir={self._profile.name}", "about:blank"],
            preexec_fn=give_pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_theirs)
        os.close(write_theirs)
        self._ids, self._rest, self._session = itertools.count(1), b"", None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        if not script:
            self._call("Emulation.setScriptExecutionDisabled", value=True)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def open(self, address: str) -> float:
        """Open an address and wait until it is loaded; returns the seconds that took."""
        started = time.perf_counter()
        self._loaded = False
        self._call("Page.navigate", url=address)
        while not self._loaded:
            self._receive()
        return time.perf_counter() - started

    def run(self, code: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        result = self._call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(json.dumps(result["exceptionDetails"])[:2000])
        return result["result"].get("value")

    def wait(self, code: str) -> Any:
        """Wait until an expression is true, and return its value."""
        end = time.monotonic() + PATIENCE_S
        while not (value := self.run(code)):
            assert time.monotonic() < end, f"{code} is still {value!r}; {self.errors}"
            time.sleep(0.05)
        return value

    def choose(self, selector: str, path: Path) -> None:
        """Choose a file, as a person does in the dialog of an ``<input type="file">``."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key; `modifiers`: 2 is Ctrl."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" and len(key) == 1 and not modifiers else {}
            self._call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers, **text)

    def scroll(self, x: int, y: int, distance: int) -> None:
        """Turn the mouse wheel at a place."""
        self._call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=distance)

    def emulate(self, **features: str) -> None:
        """Media features, such as ``prefers_color_scheme="dark"``."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._call("Emulation.setEmulatedMedia", features=named)

    def screenshot(self, path: Path, kind: str = "png") -> None:
        """Write what is visible."""
        data = self._call("Page.captureScreenshot", format=kind)["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._read, 2**20)
            assert part, "Chromium ended"
            self._rest += part
        data, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(data)
        parameters = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(parameters["exceptionDetails"])[:500])
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.errors.append(parameters["entry"]["text"])
        return message
