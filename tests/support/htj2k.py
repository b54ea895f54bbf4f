"""High-throughput JPEG 2000 streams of the arrays that tests and benchmarks encode.

The imagecodecs that the project requires decodes them and does not encode them. The streams were written by OpenJPH
(``imagecodecs.htj2k_encode(plane, reversible=True)``, version 2026.3.6).
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import numpy as np

STREAMS = json.loads(Path(__file__).with_name("htj2k_streams.json").read_text())


def htj2k_encode(plane: np.ndarray) -> bytes:
    """The stored lossless stream of a plane; KeyError for one that is not stored."""
    return base64.b64decode(STREAMS[hashlib.sha256(repr(plane.shape).encode() + plane.tobytes()).hexdigest()[:16]])
