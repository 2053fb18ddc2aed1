"""The closes and cancels that a flatten has sent, and which may be repeated.

A command is sent at once, from what is known of the account, and its answer says little: an accepted close may
not be filled yet, and searches trail what the broker did.  So for each position and each order:

- While a command is under way, none is sent for it.
- An accepted one is not repeated, unless a search lists the position or the order that was sent
  :data:`~riskd.engine.order_of_truth.SETTLED_SECONDS` after the acceptance or later.  "Not found" is an
  acceptance, too: there is nothing left to do.
- One that was refused or not answered is sent again after :data:`RETRY_SECONDS`.
- A position that was opened after another one in the contract was closed needs a close of its own.  It is
  another one if its id or the time of its opening is another.

This is pure: the steady clock's seconds come in.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final, NamedTuple

from riskd.engine.order_of_truth import SETTLED_SECONDS, Thing


class Outcome(Enum):
    """What is known of a command."""

    UNDER_WAY = auto()
    ACCEPTED = auto()
    NOT_FOUND = auto()
    REFUSED = auto()
    UNANSWERED = auto()


RETRY_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""How long to wait before each repetition; the last is repeated for as long as it takes."""

MAY_BE_DONE: Final = (Outcome.ACCEPTED, Outcome.UNANSWERED)
"""The outcomes of commands that count as carried out, as long as the broker says nothing else."""

ANSWERED: Final = (Outcome.ACCEPTED, Outcome.NOT_FOUND)
"""The outcomes by which the broker says that it is done, or that there is nothing to do."""

_FAILED: Final = (Outcome.REFUSED, Outcome.UNANSWERED)


class Done(NamedTuple):
    """How many commands were carried out; those without an answer count.

    :ivar closed: positions.
    :ivar canceled: orders.
    """

    closed: int
    canceled: int


class _Sent:
    """The latest command for a position or an order.

    :ivar identity: tells a position from the next one in its contract; ``None`` for an order.
    :ivar begun_at: when the first one for it was sent, in steady seconds.
    :ivar failures: how often it was refused or not answered.
    :ivar answered_at: in steady seconds.
    :ivar may_repeat: whether it may be sent again.
    :ivar counts: whether it may have been done, and was not reported.
    """

    __slots__ = (
        "answered_at",
        "begun_at",
        "counts",
        "failures",
        "identity",
        "may_repeat",
        "outcome",
    )

    def __init__(self, identity: object, begun_at: float) -> None:
        self.identity = identity
        self.begun_at = begun_at
        self.failures = 0
        self.outcome = Outcome.UNDER_WAY
        self.answered_at = math.inf
        self.may_repeat = False
        self.counts = False


class SentCommands:
    """The commands of one account."""

    def __init__(self) -> None:
        self._sent: dict[Thing, _Sent] = {}
        # Earlier commands for a thing that has another identity by now.
        self._earlier: list[tuple[Thing, _Sent]] = []

    def forget(self) -> None:
        """Forget what is answered and reported, before another flatten."""
        self._sent = {
            thing: sent
            for thing, sent in self._sent.items()
            if sent.outcome is Outcome.UNDER_WAY or sent.counts
        }

    def may_send(self, thing: Thing, identity: object = None) -> bool:
        """Return whether a command may be sent now."""
        sent = self._sent.get(thing)
        if sent is None:
            return True
        if sent.outcome is Outcome.UNDER_WAY:
            return False
        return sent.may_repeat or sent.identity != identity

    def is_another(self, thing: Thing, identity: object) -> bool:
        """Return whether a position was opened after one that was sent a close for."""
        sent = self._sent.get(thing)
        return (
            sent is not None and sent.outcome is not Outcome.REFUSED and sent.identity != identity
        )

    def begin(self, thing: Thing, identity: object, now: float) -> None:
        """Note that a command is sent."""
        earlier, sent = self._sent.get(thing), _Sent(identity, now)
        self._sent[thing] = sent
        if earlier is None:
            return
        if earlier.identity == identity:
            sent.begun_at = earlier.begun_at
            sent.failures, sent.counts = earlier.failures, earlier.counts
        elif earlier.counts:
            self._earlier.append((thing, earlier))

    def end(self, thing: Thing, outcome: Outcome, now: float) -> float | None:
        """Note what became of the command that is under way; return when to repeat it.

        That is the seconds from now until :meth:`repeat`, or ``None``.
        """
        sent = self._sent[thing]
        sent.outcome, sent.answered_at = outcome, now
        sent.counts |= outcome in MAY_BE_DONE
        if outcome not in _FAILED:
            return None
        sent.failures += 1
        return RETRY_SECONDS[min(sent.failures, len(RETRY_SECONDS)) - 1]

    def repeat(self, thing: Thing) -> None:
        """Let a command be sent again, if it has failed."""
        sent = self._sent.get(thing)
        if sent is not None and sent.outcome in _FAILED:
            sent.may_repeat = True

    def listed(self, thing: Thing, identity: object, sent_at: float) -> None:
        """Note that a search lists a position or an order.

        :param sent_at: when its request was sent.
        """
        sent = self._sent.get(thing)
        if (
            sent is not None
            and sent.outcome in ANSWERED
            and sent.identity == identity
            and sent_at >= sent.answered_at + SETTLED_SECONDS
        ):
            sent.may_repeat = True

    def was_sent(self, thing: Thing, identity: object = None) -> bool:
        """Return whether a command for this position or order may have been done."""
        return self._outcome(thing, identity) not in (None, Outcome.REFUSED)

    def is_accepted(self, thing: Thing, identity: object = None) -> bool:
        """Return whether the broker accepted the command for this position or order."""
        return self._outcome(thing, identity) in ANSWERED

    def has_failed(self, thing: Thing, identity: object = None) -> bool:
        """Return whether the command was refused or not answered."""
        return self._outcome(thing, identity) in _FAILED

    def _outcome(self, thing: Thing, identity: object) -> Outcome | None:
        """Return the outcome of the command for this position or order, if one was sent."""
        sent = self._sent.get(thing)
        return sent.outcome if sent is not None and sent.identity == identity else None

    def is_awaited(self, thing: Thing) -> bool:
        """Return whether a command was sent whose effect may still come."""
        sent = self._sent.get(thing)
        return sent is not None and not sent.may_repeat and sent.outcome is not Outcome.REFUSED

    def is_any_under_way(self, seconds: float) -> bool:
        """Return whether the answer to a command that was sent by then is awaited."""
        return any(
            sent.outcome is Outcome.UNDER_WAY and sent.begun_at <= seconds
            for sent in self._sent.values()
        )

    def is_after(self, thing: Thing, identity: object, seconds: float) -> bool:
        """Return whether the first command for the position was sent later."""
        sent = self._sent.get(thing)
        return sent is not None and sent.identity == identity and sent.begun_at > seconds

    def is_any_after(self, seconds: float) -> bool:
        """Return whether one that may be done was answered later, or is under way."""
        return any(
            sent.outcome is Outcome.UNDER_WAY or (sent.counts and sent.answered_at > seconds)
            for sent in (*self._sent.values(), *(sent for _thing, sent in self._earlier))
        )

    def take_done(self, until: float = math.inf) -> Done:
        """Return what was done until then and was not returned before."""
        done: list[str] = []
        for (kind, _key), sent in (*self._sent.items(), *self._earlier):
            if sent.counts and sent.answered_at <= until:
                sent.counts = False
                done.append(kind)
        self._earlier = [(thing, sent) for thing, sent in self._earlier if sent.counts]
        return Done(done.count("position"), done.count("order"))
