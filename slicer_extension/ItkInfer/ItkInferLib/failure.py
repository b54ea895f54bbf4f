"""Explains to the user why a program failed: the sentence it printed, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Sequence

# Patterns in the program's error message, and the control of this panel to change; the first match is used.
HINTS = (
    (
        r"--wl/--ww|--wl and --ww",
        "Tick \u201cSet the window\u201d and give level and width, or choose a spec.",
    ),
    (r"--device", "Choose \u201cauto\u201d or \u201ccpu\u201d as device, under Advanced."),
    (r"--fp16", "Choose single precision, under Advanced."),
    (r"patch size|--patch-size|patch stride|--patch-stride", "Change patch size and stride, under Advanced."),
    (
        r"another run is (at work|writing)",
        "Wait for the other run in this output folder, or choose another.",
    ),
    (
        r"requires torch|mmengine.*not installed|No module named",
        "Press Test, under Environment: a package is missing.",
    ),
    (r"right angles|sheared|orthonormal", "Resample the volume first, for instance with Resample Scalar Volume."),
    (r"memory|allocat", "Take a smaller patch size, or \u201ccpu\u201d as device; both are under Advanced."),
    (r"NaN or infinite", "Replace these voxels first, for instance with Simple Filters."),
    (
        r"is a server running there|of a server|the server has",
        "Change the server's address or model, under Model.",
    ),
    (r"Authorization: Bearer", "The server needs a token: choose a token file, under Model."),
    (r"needs httpx", "Make an environment with itk_infer[onnx,client], under Environment."),
    (r"[Nn]o space left", "Make room on the disk of the output folder, and run again."),
)
CODES = {
    1: "This is an error in the program. Open the log below, copy it, and report it.",
    2: "Change the setting that the message names, and run again.",
    3: "The other cases are done. The table says why these failed.",
    4: "Every case failed. The table, or the log below, says why.",
    5: "Choose another model file, or press Test under Environment.",
    6: "Choose a folder that holds images (.nii.gz, .nii, .mha, .nrrd), or tick \u201cSub-folders too\u201d.",
    126: "Choose another environment: this file cannot be run.",
    127: "Choose another environment: the program is not there.",
}
ONE_CASE = "The message says what to change; the log below says more."
MEMORY = "Most often memory ran out. Close other programs, or take a smaller patch size under Advanced."
CRASH = "Run again; if it happens again, report it with the log below."


@dataclass(frozen=True)
class Failure:
    """What happened, and what to do."""

    sentence: str
    advice: str


def explain(code: int, errors: Sequence[str], reasons: Sequence[str] = (), single_volume: bool = False) -> Failure:
    """Explain the failure of a program.

    Args:
        code: Its exit code; negative if it was ended by a signal.
        errors: Lines of its stderr.
        reasons: The reasons of failed cases, from its events.
        single_volume: Whether it ran on one volume, not on a folder.
    """
    killed = {-9, 137}
    crashed = {-4, -6, -7, -8, -11, 132, 134, 135, 136, 139, 0xC0000005, 0xC0000409}
    if code in killed:
        return Failure("The system ended the program.", MEMORY)
    if code in crashed:
        return Failure("The program crashed (exit code %d)." % code, CRASH)
    if code in (130, 143, -2, -15):
        return Failure("Somebody stopped the program.", "What is finished stays. Press Run to do the rest.")
    sentence = _sentence(errors, reasons) if code not in (3, 4) or len(reasons) < 2 else ""
    if not sentence and reasons:
        sentence = "%d cases failed. The first: %s" % (len(reasons), reasons[0])
    sentence = sentence or "The program ended with exit code %d and said nothing." % code
    for pattern, advice in HINTS:
        if code != 1 and re.search(pattern, sentence):
            return Failure(sentence, advice)
    return Failure(sentence, ONE_CASE if single_volume and code in (3, 4) else CODES.get(code, CRASH))


def _sentence(errors: Sequence[str], reasons: Sequence[str]) -> str:
    """The program's error message, else the reason of a failed case, else its last line on stderr."""
    own = [line for line in errors if re.match(r"\s*(Error|ERROR): ", line)]
    if own:
        return own[-1].split(": ", 1)[1].strip()
    if reasons:
        return reasons[-1]
    said = [line for line in errors if line.strip()]
    return said[-1].strip() if said else ""
