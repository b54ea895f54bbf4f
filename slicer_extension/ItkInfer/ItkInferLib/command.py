"""From what the user chose to the words of a command line, with everything checked on the way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

Triplet = Tuple[int, int, int]


class Unfit(ValueError):
    """A choice that cannot work; the message is one sentence for the user."""


@dataclass(frozen=True)
class Model:
    """Which model: an ONNX file, or an MMEngine config with its checkpoint.

    Attributes:
        kind: ``onnx`` or ``mmengine``.
        onnx: ONNX file.
        config: MMEngine config; it is code, and it runs.
        checkpoint: MMEngine checkpoint.
        spec: Model spec above what the model says; may be empty.
    """

    kind: str = "onnx"
    onnx: str = ""
    config: str = ""
    checkpoint: str = ""
    spec: str = ""

    @property
    def chosen(self) -> bool:
        """Whether every file that this kind needs was named."""
        return bool(self.onnx if self.kind == "onnx" else self.config and self.checkpoint)

    def check(self) -> None:
        """Raise `Unfit` for a file that is not there."""
        files = [("model", self.onnx)]
        if self.kind != "onnx":
            files = [("MMEngine config", self.config), ("MMEngine checkpoint", self.checkpoint)]
        for title, path in files + ([("model spec", self.spec)] if self.spec else []):
            if not path:
                raise Unfit("No %s is chosen." % title)
            if not os.path.isfile(path):
                raise Unfit("The %s %s is not there." % (title, path))

    def argv(self) -> List[str]:
        """The options that name the model."""
        if self.kind == "onnx":
            words = ["--onnx", self.onnx]
        else:
            words = ["--cfg-path", self.config, "--ckpt-path", self.checkpoint]
        return words + (["--spec", self.spec] if self.spec else [])


@dataclass(frozen=True)
class Options:
    """What stands above the model's own settings; None leaves them alone. Triplets are Z, Y, X."""

    level: Optional[float] = None
    width: Optional[float] = None
    patch: Optional[Triplet] = None
    stride: Optional[Triplet] = None
    blend: str = ""
    device: str = "auto"
    half: bool = False

    def check(self) -> None:
        """Raise `Unfit` for values that cannot work together."""
        if self.width is not None and self.width <= 0:
            raise Unfit("The window width must be larger than 0.")
        if self.patch and self.stride and any(step > side for step, side in zip(self.stride, self.patch)):
            raise Unfit("The stride is larger than the patch: voxels between two windows would never be seen.")

    def argv(self) -> List[str]:
        """The options, without those that say nothing."""
        words = ["--device", self.device or "auto"]
        if self.level is not None and self.width is not None:
            # With "=", for a negative number would be taken for an option.
            words += ["--wl=%r" % self.level, "--ww=%r" % self.width]
        if self.patch:
            words += ["--patch-size"] + [str(side) for side in self.patch]
        if self.stride:
            words += ["--patch-stride"] + [str(step) for step in self.stride]
        if self.blend:
            words += ["--blend", self.blend]
        return words + (["--fp16"] if self.half else [])


@dataclass(frozen=True)
class Run:
    """One run: an image or a folder in, a folder out."""

    source: str
    output: str
    model: Model
    options: Options = Options()
    recursive: bool = False
    logits: bool = False
    overwrite: bool = False

    def check(self) -> None:
        """Raise `Unfit` for whatever the program would refuse, before it is started."""
        self.model.check()
        self.options.check()
        if not self.source:
            raise Unfit("No input folder was chosen.")
        if not os.path.exists(self.source):
            raise Unfit("The input %s is not there." % self.source)
        if not self.output:
            raise Unfit("No output folder was chosen.")
        if os.path.isfile(self.output):
            raise Unfit("The output %s is a file; choose a folder." % self.output)
        if os.path.isdir(self.source) and os.path.realpath(self.source) == os.path.realpath(self.output):
            raise Unfit("Input and output are the same folder; the results need a folder of their own.")

    def argv(self, program: Sequence[str]) -> List[str]:
        """The whole command line: results on the grid of the input, with names and colours."""
        words = list(program) + ["--input-folder", self.source, "--output", self.output]
        words += self.model.argv() + self.options.argv()
        words += ["--format", "seg.nrrd", "--orientation", "input", "--save-conf", "--progress", "json"]
        flags = ("--recursive", self.recursive), ("--save-logits", self.logits), ("--overwrite", self.overwrite)
        return words + [flag for flag, wanted in flags if wanted]


def inspect_argv(program: Sequence[str], model: Model, options: Options) -> List[str]:
    """The command that asks what a run with these options would use."""
    return list(program) + ["inspect", "--json"] + model.argv() + options.argv()


def triplet(text: str, title: str) -> Optional[Triplet]:
    """Three numbers as a person writes them, ``96 96 96`` or ``96, 96, 96``; None for nothing.

    Raises:
        Unfit: anything else.
    """
    words = text.replace(",", " ").replace("x", " ").replace("\N{MULTIPLICATION SIGN}", " ").split()
    if not words:
        return None
    if len(words) == 3 and all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        return int(words[0]), int(words[1]), int(words[2])
    raise Unfit("%s: give three whole numbers along Z, Y and X, such as 96 96 96." % title)
