"""Requests that schemathesis makes of the server's OpenAPI document; every answer is as the document says.

A short run of `benchmarks/server/fuzz.py`, with a fixed seed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import child_environment

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
TIMEOUT_S = 600


def test_answers_are_those_of_the_document(client, tmp_path):
    tool = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or shutil.which("schemathesis")
    if tool is None:
        pytest.skip("schemathesis is not installed")
    words = [tool, "run", f"{client.base_url}/v1/openapi.json", "--checks", CHECKS, "--seed", "1", "--no-color"]
    words += [
        "--max-examples",
        "20",
        "--phases",
        "examples,fuzzing",
        "--request-timeout",
        "60",
        "--generation-database",
        "none",
    ]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert sum(map(int, re.findall(r"(\d+) generated", done.stdout))) >= 50, done.stdout[-2000:]
    assert client.get("/healthz").status_code == 200
