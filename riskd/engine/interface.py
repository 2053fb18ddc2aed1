"""What an operator can see and do."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface


class ConfirmedFlatten(NamedTuple):
    """A flatten of which the broker has confirmed that it is done.

    :ivar closed: the number of positions that it has closed.
    :ivar canceled: the number of orders that it has canceled.
    """

    closed: int
    canceled: int


class IOperatedAccount(Interface):
    """One account, as an operator sees it and acts on it."""

    account_state = Attribute("the AccountState, pending announcements included")
    is_reported = Attribute(
        "whether the broker has said in this run what the account holds and has traded"
    )
    rules = Attribute("the rules in force, a tuple of RuleInForce")

    def unlock(reason: str, operator: str) -> bool:
        """End all locks; return whether there were any.  By a commitment, that waits."""

    def withdraw(reason: str, operator: str) -> bool:
        """Withdraw an unlock that waits; return whether there was one."""

    def lock(reason: str, operator: str, until: datetime | None) -> Deferred[ConfirmedFlatten]:
        """Flatten and lock the account; ``None`` locks it until it is unlocked.

        The Deferred never fails.  It fires when the broker has confirmed the flatten, which may be never; it may be
        canceled.
        """

    def flatten(reason: str, operator: str) -> Deferred[ConfirmedFlatten]:
        """Close all positions and cancel all orders; the Deferred is as that of ``lock``."""

    def set_floor(amount: Decimal, operator: str) -> Deferred[ConfirmedFlatten]:
        """Take the firm's figure for the floor of the account, in dollars.

        The Deferred is that of the flatten which follows at once, if one does.
        """


class IOperated(Interface):
    """All accounts of a daemon, as an operator sees them."""

    gateway_name = Attribute("the kind of gateway, such as ``practice``")
    enforces = Attribute("whether riskd acts at the broker; if not, this is a dry run")
    is_recovered = Attribute("whether the engine has taken over the journal's content")
    operated_accounts = Attribute("a mapping of account ids to IOperatedAccount")
    clock_offset = Attribute(
        "how far the broker's clock is ahead of the wall clock, a timedelta; ``None`` while unknown"
    )

    def now() -> datetime:
        """Return the broker's time, or the wall clock's while that is unknown."""

    def passed() -> datetime:
        """Return the latest moment that has passed for sure, by which locks end."""

    def make_durable() -> Deferred[str]:
        """Journal the states; fires with why they are not on the disk, empty if they are."""

    def published() -> Deferred[None]:
        """Journal and publish the states; fires when that is done, or after a second."""
