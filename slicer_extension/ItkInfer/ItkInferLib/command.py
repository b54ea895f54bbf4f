"""Builds command lines of itk_infer from the user's choices, and checks the choices."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

Triplet = Tuple[int, int, int]
KINDS = ("onnx", "mmengine", "server")


class InvalidChoice(ValueError):
    """A choice that cannot work; the message is one sentence for the user."""


@dataclass(frozen=True)
class Model:
    """The model: an ONNX file, an MMEngine config with its checkpoint, or one of a server.

    Attributes:
        kind: One of `KINDS`.
        onnx: ONNX file.
        config: MMEngine config; it is Python code that is executed.
        checkpoint: MMEngine checkpoint.
        spec: Model spec that replaces the model's own; may be empty.
        server: Address of a server.
        served: Name of its model; empty: its only one.
        token: File with a token of the server; may be empty.
    """

    kind: str = "onnx"
    onnx: str = ""
    config: str = ""
    checkpoint: str = ""
    spec: str = ""
    server: str = ""
    served: str = ""
    token: str = ""

    @property
    def chosen(self) -> bool:
        """Whether everything that this kind needs has been chosen."""
        needed = {"onnx": (self.onnx,), "mmengine": (self.config, self.checkpoint), "server": (self.server,)}
        return all(needed[self.kind])

    def check(self) -> None:
        """Raise `InvalidChoice` for a file that was not chosen or does not exist, or an address that is none."""
        if self.kind == "server":
            if not self.server.startswith(("http://", "https://")):
                raise InvalidChoice("The address of a server begins with http:// or https://.")
            files = [("token file", self.token)] if self.token else []
        else:
            files = [("model", self.onnx)]
            if self.kind == "mmengine":
                files = [("MMEngine config", self.config), ("MMEngine checkpoint", self.checkpoint)]
            files += [("model spec", self.spec)] if self.spec else []
        for title, path in files:
            if not path:
                raise InvalidChoice("No %s is chosen." % title)
            if not os.path.isfile(path):
                raise InvalidChoice("The %s %s is not there." % (title, path))

    def argv(self) -> List[str]:
        """The options that name the model."""
        if self.kind == "onnx":
            argv = ["--onnx", self.onnx]
        else:
            argv = ["--cfg-path", self.config, "--ckpt-path", self.checkpoint]
        return argv + (["--spec", self.spec] if self.spec else [])


@dataclass(frozen=True)
class Options:
    """Settings that replace the model's own; None keeps the model's. Triplets are Z, Y, X."""

    level: Optional[float] = None
    width: Optional[float] = None
    patch: Optional[Triplet] = None
    stride: Optional[Triplet] = None
    blend: str = ""
    device: str = "auto"
    half: bool = False

    def check(self) -> None:
        """Raise `InvalidChoice` for values that cannot work together."""
        if self.width is not None and self.width <= 0:
            raise InvalidChoice("The window width must be larger than 0.")
        if self.patch and self.stride and any(step > side for step, side in zip(self.stride, self.patch)):
            raise InvalidChoice(
                "The stride is larger than the patch: voxels between two windows would never be seen."
            )

    def argv(self) -> List[str]:
        """The options that differ from the model's own settings, and the device."""
        argv = ["--device", self.device or "auto"]
        if self.level is not None and self.width is not None:
            # With "=", because a negative number would be parsed as an option.
            argv += ["--wl=%r" % self.level, "--ww=%r" % self.width]
        if self.patch:
            argv += ["--patch-size"] + [str(side) for side in self.patch]
        if self.stride:
            argv += ["--patch-stride"] + [str(step) for step in self.stride]
        if self.blend:
            argv += ["--blend", self.blend]
        return argv + (["--fp16"] if self.half else [])


@dataclass(frozen=True)
class Run:
    """One run of itk_infer: an image or a folder as input, a folder as output."""

    source: str
    output: str
    model: Model
    options: Options = Options()
    recursive: bool = False
    logits: bool = False
    overwrite: bool = False

    def check(self) -> None:
        """Raise `InvalidChoice` for choices that the program would refuse."""
        self.model.check()
        self.options.check()
        if not self.source:
            raise InvalidChoice("No input folder was chosen.")
        if not os.path.exists(self.source):
            raise InvalidChoice("The input %s is not there." % self.source)
        if not self.output:
            raise InvalidChoice("No output folder was chosen.")
        if os.path.isfile(self.output):
            raise InvalidChoice("The output %s is a file; choose a folder." % self.output)
        if os.path.isdir(self.source) and os.path.realpath(self.source) == os.path.realpath(self.output):
            raise InvalidChoice("Input and output are the same folder; the results need a folder of their own.")

    def argv(self, program: Sequence[str]) -> List[str]:
        """The command line; results have the grid of the input, and the names and colours of the labels."""
        if self.model.kind == "server":
            return list(program) + self._submit_argv()
        argv = list(program) + ["--input-folder", self.source, "--output", self.output]
        argv += self.model.argv() + self.options.argv()
        argv += ["--format", "seg.nrrd", "--orientation", "input", "--save-conf", "--progress", "json"]
        flags = ("--recursive", self.recursive), ("--save-logits", self.logits), ("--overwrite", self.overwrite)
        return argv + [flag for flag, wanted in flags if wanted]

    def _submit_argv(self) -> List[str]:
        """The words that send the image to a server, which runs it with its own settings."""
        model = self.model
        argv = ["submit", model.server, self.source, "--output", self.output]
        argv += ["--format", "seg.nrrd", "--progress", "json"]
        argv += ["--model", model.served] if model.served else []
        return argv + (["--token-file", model.token] if model.token else [])


def inspect_argv(program: Sequence[str], model: Model, options: Options) -> List[str]:
    """The command that prints the description of a model with these options."""
    return list(program) + ["inspect", "--json"] + model.argv() + options.argv()


def triplet(text: str, title: str) -> Optional[Triplet]:
    """Parse three numbers such as ``96 96 96`` or ``96, 96, 96``; None for an empty text.

    Raises:
        InvalidChoice: the text is not three whole numbers above 0.
    """
    words = text.replace(",", " ").replace("x", " ").replace("\N{MULTIPLICATION SIGN}", " ").split()
    if not words:
        return None
    if len(words) == 3 and all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        return int(words[0]), int(words[1]), int(words[2])
    raise InvalidChoice("%s: give three whole numbers along Z, Y and X, such as 96 96 96." % title)
