"""Read the pickle inside a file that torch.save wrote, without torch, and without running anything in it."""

from __future__ import annotations

import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from itk_infer.model.kinds.pickle_length import CountedBytes

# What torch.save writes, in protocol 2. Opcodes that call or look up anything in another way are left out,
# INST and STACK_GLOBAL among them.
_OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT),
    *(pickle.BINUNICODE, pickle.SHORT_BINSTRING),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS, pickle.EMPTY_SET),
    *(pickle.BINGET, pickle.LONG_BINGET, pickle.BINPUT, pickle.LONG_BINPUT),
    *(pickle.GLOBAL, pickle.REDUCE, pickle.NEWOBJ, pickle.BUILD, pickle.BINPERSID),
)
_RENAMED = {"__builtin__": "builtins"}  # by Python 2


class Refused(Exception):
    """The pickle names something that is not needed; the message is its name."""


class Ignored:
    """Made in place of every object that is no plain value; has no effect."""

    def __init__(self, *_: Any) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Named:
    """A function or class that a pickle names, by its dotted name; nothing is imported."""

    name: str


@dataclass(frozen=True, slots=True)
class StorageId:
    """Where the values of a tensor are stored.

    Attributes:
        type_name: Dotted name of the storage's class in torch.
        key: Name of the member in the archive.
        count: Number of values.
    """

    type_name: str
    key: str
    count: int


Makers = Mapping[str, Callable[..., Any]]
PLAIN: Makers = {
    "collections.OrderedDict": lambda items=(): OrderedDict(_checked(items)),
    "collections.Counter": lambda items=(): Counter(dict(_checked(items))),
    "builtins.set": lambda items=(): set(_checked(items)),
    "_codecs.encode": lambda text, encoding: text.encode(encoding) if encoding == "latin1" else b"",
}


def read_pickle(content: bytes, makers: Makers, ignored: Callable[[str], bool]) -> Any:
    """Read a pickle of plain values, tensors, and objects that are ignored.

    Args:
        content: The pickle.
        makers: Functions by the dotted names of what the pickle calls, beside `PLAIN`; a storage is passed to them
            as a `StorageId`.
        ignored: Whether an object of this dotted name is replaced by an `Ignored`.

    Raises:
        Refused: it names anything else.
        Exception: it is damaged.
    """
    return _Reader(content, {**makers, **PLAIN}, ignored).load()


class _Reader(pickle._Unpickler):  # in Python, so that each opcode can be restricted
    """Reads plain values; names become `Named`, of which only functions in `makers` are called."""

    def __init__(self, content: bytes, makers: Makers, ignored: Callable[[str], bool]) -> None:
        super().__init__(CountedBytes(content), encoding="utf-8")
        self._makers, self._is_ignored = makers, ignored

    def find_class(self, module: str, name: str) -> Any:
        full = f"{_RENAMED.get(module, module)}.{name}"
        if full not in self._makers and not self._is_ignored(full):
            raise Refused(full)
        return Named(full)

    def persistent_load(self, pid: Any) -> Any:
        mark, kind, key, _, count = pid
        if mark != "storage" or type(kind) is not Named or type(key) is not str or type(count) is not int:
            raise pickle.UnpicklingError("a persistent id is not that of a storage")
        return StorageId(kind.name, key, count)

    def _call(self) -> None:
        """Opcodes REDUCE and NEWOBJ: replace a function or class, and its arguments, by what it makes."""
        arguments = self.stack.pop()  # type: ignore[attr-defined]
        called = self.stack[-1]  # type: ignore[attr-defined]
        if type(called) is not Named or type(arguments) is not tuple:
            raise pickle.UnpicklingError(f"a {type(called).__name__} is called")
        make = self._makers.get(called.name, Ignored)
        self.stack[-1] = make(*arguments)  # type: ignore[attr-defined]

    def _build(self) -> None:
        """Opcode BUILD: the state of an object, such as the versions in a state dict, is left out."""
        self.stack.pop()  # type: ignore[attr-defined]
        if not isinstance(self.stack[-1], Ignored | OrderedDict):  # type: ignore[attr-defined]
            raise pickle.UnpicklingError("a state is given to what has none")

    def _set_item(self) -> None:
        """Opcode SETITEM: only in a mapping."""
        self._need_mapping(self.stack[-3])  # type: ignore[attr-defined]
        super().load_setitem()  # type: ignore[misc]

    def _set_items(self) -> None:
        """Opcode SETITEMS, likewise; the mapping lies below the mark."""
        self._need_mapping(self.metastack[-1][-1])  # type: ignore[attr-defined]
        super().load_setitems()  # type: ignore[misc]

    @staticmethod
    def _need_mapping(target: Any) -> None:
        if type(target) not in (dict, OrderedDict, Counter):
            raise pickle.UnpicklingError(f"an item is put in a {type(target).__name__}")

    dispatch: ClassVar[dict[int, Any]] = {
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in _OPCODES},
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _call,
        pickle.BUILD[0]: _build,
    }


def _checked(items: Any) -> Any:
    """Items of a container, which must not be of a kind that runs code when it is walked."""
    if type(items) not in (list, tuple, dict, set, OrderedDict, Counter):
        raise pickle.UnpicklingError(f"a container is made of a {type(items).__name__}")
    return items
