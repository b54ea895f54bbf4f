"""Parses the list of labels in a model spec."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from itk_infer.spec.label_codes import a_label_code
from itk_infer.spec.labels import Label, default_color, distinct
from itk_infer.spec.values import (
    Converter,
    Invalid,
    a_color,
    a_list,
    a_positive,
    a_text,
    an_integer,
    optional,
    read_block,
)

MAX_LABELS = 65_535
MAX_NAME = 500  # characters


def read_labels(value: Any, where: str, overlap: bool) -> tuple[tuple[Label, ...], tuple[int, ...]]:
    """The labels in the order of the list, and the channels of the background.

    Where labels may overlap, a value may be listed several times, with the same name and another channel.
    """
    labels: list[Label] = []
    background: list[int] = []
    firsts: dict[int, Label] = {}  # by value
    items = a_list(value, where)
    if len(items) > MAX_LABELS:
        raise Invalid(f"{where} holds {len(items)} labels; there are at most {MAX_LABELS}")
    for index, item in enumerate(items):
        here = f"{where}[{index}]"
        keys: dict[str, Converter] = {"value": an_integer, "name": a_text, "color": a_color, "channel": an_integer}
        entry = read_block(
            item, here, {**keys, "tolerance_mm": optional(a_positive), "code": optional(a_label_code)}
        )
        if "value" not in entry:
            raise Invalid(f"{here} needs a value")
        number = entry["value"]
        if not 0 <= number <= 65535:
            raise Invalid(f"{here}.value is {number}; label values lie between 1 and 65535")
        channel = entry.get("channel", max(0, number - overlap))
        if channel < 0:
            raise Invalid(f"{here}.channel is {channel}; channels are counted from 0")
        if number == 0:
            background.append(channel)  # the background is not a label
            continue
        name = entry.get("name", "").strip() or f"label {number}"
        if len(name) > MAX_NAME:
            raise Invalid(f"{here}.name has {len(name)} characters; there are at most {MAX_NAME}")
        color = entry.get("color", default_color(number))
        label = Label(number, name, color, channel, entry.get("tolerance_mm"), entry.get("code"))
        first = firsts.setdefault(number, label)
        if overlap and label != replace(first, channel=channel):
            raise Invalid(
                f"{here} and an entry before it both have the value {number}, and differ; a label that is read "
                "from several channels is listed once for each, with all else the same"
            )
        labels.append(label)
    once = distinct(labels) if overlap else labels
    found: dict[str, list[Any]] = {
        "value": [label.value for label in once],
        "name": [label.name for label in once],
        "channel": [*(label.channel for label in labels), *background],
    }
    for what, seen in found.items():
        twice = next((item for item, count in Counter(seen).items() if count > 1), None)
        if twice is not None:
            raise Invalid(f"{where}: {what} {twice} is given to more than one label; each needs its own")
    return tuple(labels), tuple(background)
