"""A server program of its own, for the measurements beside this file."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

MODEL = Path(__file__).resolve().parents[2] / "itk_infer" / "demo" / "hippocampus_unet.onnx"
START_S = 300


def free_port() -> int:
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


def start(home: Path, port: int) -> subprocess.Popen[bytes]:
    """A server with the demo's model, named ``hippocampus``."""
    words = ["serve", "-m", f"hippocampus={MODEL}", "--home", home, "--device", "cpu", "--min-free", "1M"]
    words += ["--monai-label"]
    command = [sys.executable, "-m", "itk_infer", *words, "--address", f"127.0.0.1:{port}"]
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)


def wait_ready(url: str) -> None:
    """Return when the models are loaded."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"{url}: is not ready after {START_S} s")


@contextmanager
def running(home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that is ready: its address and its process."""
    port = free_port()
    process, url = start(home, port), f"http://127.0.0.1:{port}"
    try:
        wait_ready(url)
        yield url, process
    finally:
        process.terminate()
        process.wait(60)
