"""Sends the objects of an outbox. An object counts as sent when its destination has it, if that can be queried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from itk_infer.service.pacs.delivery import Delivery, Destination, Link, Unavailable
from itk_infer.service.pacs.objects import DicomObject, object_of
from itk_infer.service.pacs.outbox import Letter, Outbox


def send_due(
    outbox: Outbox, destination: Destination, check: Callable[[], None] = lambda: None
) -> dict[str, Delivery]:
    """Make one attempt for each object that is due.

    Each attempt is recorded before it is made. If an object was tried before, the destination is first asked
    whether it has the object already, as a response may have been lost.

    Args:
        outbox: Outbox of the objects.
        destination: Server that they are sent to.
        check: Called between objects; raises to stop.

    Returns:
        The result of each attempt, by the path of the object.
    """
    ended: dict[str, Delivery] = {}

    def settle(letter: Letter, delivery: Delivery, verified: bool = False) -> None:
        ended[letter.path] = outbox.settle(letter, delivery, verified=verified)

    ready = []
    for letter in outbox.due(destination.name):
        item = object_of(outbox.folder / letter.path)
        if item is None or item.uid != letter.uid:
            what = "is gone" if item is None else "holds a newer result"
            outbox.begin(letter)
            settle(letter, Delivery("rejected", f"its file {what}"))
        else:
            ready.append((letter, item))
    if not ready:
        return ended
    open_letters, connected = [letter for letter, _ in ready], False

    def postpone(reason: str) -> None:
        for letter in open_letters:
            if not connected:  # otherwise only the object that broke the connection was tried
                outbox.begin(letter)
            settle(letter, Delivery("waiting", reason))

    try:
        with destination.connect([item for _, item in ready]) as link:
            connected = True
            for letter, item in ready:
                check()
                outbox.begin(letter)
                settle(letter, *_attempt(link, letter, item))
                open_letters.remove(letter)
    except Unavailable as fault:
        reason = str(fault)
        postpone(reason if reason.startswith("HTTP") else f"the server {reason}")
    except OSError as error:
        postpone(f"its file cannot be read ({error.strerror})")
    return ended


def _attempt(link: Link, letter: Letter, item: DicomObject) -> tuple[Delivery, bool]:
    """Make one attempt; return its result, and whether the destination confirmed that it has the object."""
    if letter.tries and link.holds(item):
        return Delivery("sent", "it was there already"), True
    delivery = link.send(item)
    if delivery.state != "sent":
        return delivery, False
    held = link.holds(item)
    if held is False:
        return Delivery("waiting", "the server answered success, and does not have it"), False
    if held is None:
        note = "the server cannot be asked whether it has it"
        return Delivery("sent", "; ".join(filter(None, (delivery.reason, note)))), False
    return delivery, True


def next_due(letters: Sequence[Letter]) -> float | None:
    """Time when the next letter is due; None if none waits."""
    return min((letter.due for letter in letters if letter.state == "waiting"), default=None)
