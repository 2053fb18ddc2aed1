"""What has become of an operator's command, in sentences.

A command may be carried out and yet not be what the operator takes it for: a lock that no disk has, a flatten that
the broker has not confirmed.  Then the sentences say what is so and what is not, in a :class:`NotSoError`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from riskd.app.riskctl.status_tables import beyond_limits
from riskd.app.riskctl.tables import when
from riskd.control.protocol import CONFIRM_SECONDS, Outcome
from riskd.control.reports import AccountReport
from riskd.host.errors import UserError
from riskd.model.events import OPERATOR
from riskd.model.formatting import counted, dollars


class NotSoError(UserError):
    """riskd received a command, and its effect is incomplete or not known."""

    status = 3


def lock_sentence(outcome: Outcome) -> str:
    """Return that an account is flat and locked.

    :raises NotSoError: it is not locked any more, not flat, or the lock is not on the disk.
    """
    account = outcome.account
    if not account.locks:
        # It was a short one, or another operator has unlocked the account meanwhile.
        raise NotSoError(f"account {account.account} is not locked any more")
    return _sentence(
        f"account {account.account}{_flattened(outcome)} is locked {_end_of_lock(account)}",
        _not_on_the_disk("the lock", outcome),
        _not_flat(outcome),
    )


def flatten_sentence(outcome: Outcome) -> str:
    """Return that an account is flat, and what was closed.

    :raises NotSoError: the broker has not confirmed it, or the journal does not have it.
    """
    account = f"account {outcome.account.account}"
    if outcome.flattened is None:
        return _sentence(
            f"{account} is being flattened",
            _not_on_the_disk("the flatten", outcome),
            _not_flat(outcome),
        )
    return _sentence(
        f"{account} was flattened {_done(outcome)}", _not_on_the_disk("the record of it", outcome)
    )


def unlock_sentence(outcome: Outcome) -> str:
    """Return that an account is unlocked.

    :raises UserError: it was not locked.
    :raises NotSoError: it is locked again, or the unlock is not on the disk.
    """
    account = outcome.account
    if not outcome.was_locked:
        raise UserError(f"account {account.account} is not locked")
    waiting = [each for each in account.waits if each.what.startswith("unlock: ")]
    if waiting and account.locks:
        end = waiting[0].until
        until = "" if end is None else f" until {when(end, datetime.now(UTC))}"
        return _sentence(
            f"account {account.account} stays locked: by its commitment the unlock waits{until}",
            _not_on_the_disk("the unlock that waits", outcome),
        )
    beyond = f" {beyond_limits(account.unlocked_beyond)}" if account.unlocked_beyond else ""
    locked_again = ""
    if account.locks:
        lock = account.locks[0]
        locked_again = (
            f"account {account.account} is locked again {_end_of_lock(account)}: {lock.reason}"
        )
    is_so = "was" if locked_again else "is"
    plan = account.flattening
    # An unlock does not keep open what the lock was to close.
    goes_on = f"; riskd goes on closing what it held ({plan.reason})" if plan else ""
    return _sentence(
        f"account {account.account} {is_so} unlocked{beyond}{goes_on}",
        _not_on_the_disk("the unlock", outcome),
        locked_again,
    )


def withdraw_sentence(outcome: Outcome) -> str:
    """Return that an unlock waits no more.

    :raises NotSoError: that is not on the disk.
    """
    return _sentence(
        f"account {outcome.account.account}: the unlock is withdrawn",
        _not_on_the_disk("that it is withdrawn", outcome),
    )


def floor_sentence(outcome: Outcome, figure: str) -> str:
    """Return that the firm's figure is an account's floor, and what follows.

    :param figure: in dollars.
    :raises NotSoError: it is not on the disk, or the account is not flat though riskd closes everything.
    """
    before, account = outcome.floor_before, outcome.account
    was = "" if before is None else f" (it was {dollars(before)})"
    acts = not outcome.was_locked and bool(account.locks or account.flattening)
    then = ""
    if acts:
        end = f"is locked {_end_of_lock(account)}" if account.locks else "is being flattened"
        then = f"; the account{_flattened(outcome)} {end}"
    return _sentence(
        f"account {account.account}: the floor is {figure} by the firm's figure{was}{then}",
        _not_on_the_disk("the floor", outcome),
        _not_flat(outcome) if acts else "",
    )


def _sentence(so: str, *not_so: str) -> str:
    """Return what is so.

    :raises NotSoError: there is something that is not so.
    """
    doubts = [each for each in not_so if each]
    if doubts:
        raise NotSoError(so, *doubts)
    return so


def _flattened(outcome: Outcome) -> str:
    """Return that the broker has confirmed a flatten; empty if it has not."""
    return "" if outcome.flattened is None else f" was flattened {_done(outcome)} and"


def _done(outcome: Outcome) -> str:
    done = outcome.flattened
    if done is None or not (done.closed or done.canceled):
        return "(there was nothing to close or cancel)"
    closed = f"{counted(done.closed, 'position')} closed" if done.closed else ""
    canceled = f"{counted(done.canceled, 'order')} canceled" if done.canceled else ""
    return f"({', '.join(filter(None, (closed, canceled)))})"


def _end_of_lock(account: AccountReport) -> str:
    # The account's last lock need not be the one that was asked for.
    last = account.locks[0]
    end = "it is unlocked"
    if last.locked_until is not None:
        end = when(last.locked_until, datetime.now(UTC))
    by = "" if last.rule_id == OPERATOR else f" by {last.rule_id}"
    return f"until {end}{by}"


def _not_on_the_disk(what: str, outcome: Outcome) -> str:
    """Return that a change is not on the disk; empty if it is."""
    if outcome.unwritten is None:
        return (
            f"whether {what} is on the disk is not known: the riskd that runs is of an earlier version, "
            "restart it"
        )
    if not outcome.unwritten:
        return ""
    return (
        f"{what} is NOT ON THE DISK ({outcome.unwritten}): it holds while riskd runs, and is forgotten if riskd "
        "ends before the disk takes it; riskd tries again every second"
    )


def _not_flat(outcome: Outcome) -> str:
    """Return that the broker has not confirmed a flatten; empty if it has."""
    if outcome.flattened is not None:
        return ""
    account = outcome.account
    counts = ((len(account.positions), "position"), (len(account.orders), "order"))
    things = " and ".join(counted(number, thing) for number, thing in counts if number)
    known = (
        f"by what riskd knows it has {things} open" if things else "riskd knows of nothing open"
    )
    trouble = f"; riskd reports: {outcome.trouble}" if outcome.trouble else ""
    return (
        f"the broker has NOT CONFIRMED within {CONFIRM_SECONDS:g} seconds that account {account.account} is flat, "
        f"{known}; riskd keeps trying, and riskctl status shows FLATTENING until it is done{trouble}"
    )
