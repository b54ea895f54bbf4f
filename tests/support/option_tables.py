"""The tables of options in docs/, made from `itk_infer.options.Options`. Run as a program, it writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from itk_infer.option import Option
from itk_infer.options import declared, default_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = (DOCS / "command.md", DOCS / "python-api.md")
BLOCK = re.compile(
    r"(<!-- options: (.+?); written by make tables -->\n\n).*?(\n\n<!-- end of options -->)", re.DOTALL
)


def with_tables(page: str) -> str:
    """The text of a page with its tables as they must be."""

    def filled(match: re.Match[str]) -> str:
        name = match[2]
        rows = python_rows() if name == "Python" else command_rows(name)
        return (
            match[1] + "\n".join(f"| {' | '.join(row)} |" if row else "|---" * 3 + "|" for row in rows) + match[3]
        )

    return BLOCK.sub(filled, page)


def command_rows(heading: str) -> Iterator[tuple[str, ...]]:
    yield ("option", "default", "meaning")
    for name, about in declared().items():
        if about.heading == heading:
            default = default_of(name)
            yield (
                flag_and_values(about),
                f"`{default}`" if isinstance(default, str) else about.unset,
                about.doc or about.help,
            )
            for short in about.shorthands:
                yield f"`{short.flag}`", "off", short.doc or short.help


def flag_and_values(about: Option) -> str:
    flags = "`, `".join(about.flags)
    words = about.text if isinstance(about.text, tuple) else (about.metavar or "").removeprefix("[").split("|")
    if len(words) > 1:
        return f"`{flags}` " + ", ".join(f"`{word}`" for word in (*words[:-1], words[-1].removesuffix("]")))
    return f"`{flags} {about.metavar}`" if about.metavar else f"`{flags}`"


def python_rows() -> Iterator[tuple[str, ...]]:
    yield ("keyword", "default", "values", "flags")
    for name, about in declared().items():
        default = default_of(name)
        plain = f'`"{default}"`' if isinstance(default, str) else f"`{default}`"
        flags = [*about.flags, *(short.flag for short in about.shorthands)]
        yield (
            f"`{name}`",
            about.unset if default in (None, False) else plain,
            about.values,
            ", ".join(f"`{flag}`" for flag in flags),
        )


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_tables(path.read_text("utf-8")), "utf-8")
