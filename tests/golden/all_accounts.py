"""All accounts in several states, played into real sessions and the real screen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import msgspec
import urwid

from riskd.model.account import AccountState, Limit
from riskd.model.balance import Balance
from riskd.model.events import Event
from riskd.model.reduce_only import REDUCE_ONLY
from riskd.testing import make_event
from tests.support.accounts import Copy, account, running, unread
from tests.support.console import BEGIN, at
from trader.cli.keys import KEYS
from trader.model.all_accounts import AllAccounts
from trader.model.session import Session
from trader.model.ui_state import UiState
from trader.model.view import View
from trader.ui.screen import Screen, compose_all
from trader.ui.styled_text import StyledLine

_KEYS: Final = [(key.label, key.effect) for key in KEYS]
_MNQ: Final = "CON.F.US.MNQ.H25"
_ES: Final = "CON.F.US.EP.H25"
_RULES: Final = {
    "DAY": Limit("daily_reset", '{"reset_time": "17:00:00", "time_zone": "America/Chicago"}'),
    "RULE-001": Limit("max_contracts", '{"limit": 5}'),
    "RULE-013": Limit("daily_net_loss", '{"loss_limit": 1000, "reduce_only_at": 80}'),
    "RULE-014": Limit("maximum_loss", '{"drawdown": 2000, "starting_balance": 50000}'),
}
_GRACE: Final = Limit("no_stop_loss_grace", '{"grace_period_seconds": 83}')
_STAGE: Final = Limit(
    "reduce_only",
    '{"since": "2025-01-17T14:44:50Z", "reasons": {"RULE-013": "the loss has reached 80 % of $1,000.00"}}',
)


_NAMES: Final = {
    4417001: "Combine 50K",
    4417003: "Combine 150K, second try, copies the first",
    4417009: "Express 1",
}


def _account(
    number: int,
    pnl: int,
    held: int = 0,
    last: float = 21000.0,
    *events: Event,
    limits: dict[str, Limit] | None = None,
) -> AccountState:
    """Return an account that has made ``pnl`` in a trade and holds so many contracts at 21,000."""
    trade = {
        "id": 1,
        "contractId": _MNQ,
        "profitAndLoss": pnl,
        "quantity": 1,
        "executionTime": at(-600),
        "timestamp": at(-600),
    }
    position = {
        "contractId": _MNQ,
        "size": abs(held),
        "type": 1 if held > 0 else 2,
        "averagePrice": 21000,
        "createdAt": at(-60),
        "updatedAt": at(-60),
    }
    quote = {"contractId": _MNQ, "bid": last, "ask": last, "last": last, "timestamp": at(-1)}
    happened = [running(), make_event("GatewayUserTrade", trade)]
    if held:
        happened += [make_event("GatewayUserPosition", position), make_event("MarketQuote", quote)]
    state = account(number, *happened, *events, limits=limits or _RULES)
    balance = {"agreed": str(50000 + pnl), "first": "50000", "earlier_close": "50000"}
    return msgspec.structs.replace(state, balance=msgspec.convert(balance, Balance, strict=False))


def _lock(rule: str, reason: str, until: str | None) -> Event:
    lock = {"rule_id": rule, "reason": reason, "locked_until": until, "locked_at": at(-300)}
    return make_event("lockout_set", lock)


def _several() -> list[AccountState]:
    """Return one account in each state."""
    return [
        _account(4417001, 312, 2, 21012.25),
        _account(4417002, -455, -3, 20996.5, limits={**_RULES, "RULE-008": _GRACE}),
        _account(
            4417003,
            -1012,
            0,
            0,
            _lock(
                "RULE-013",
                "DailyNetLoss breach: -$1,012.00 is at or below -$1,000.00",
                "2025-01-17T23:00:00Z",
            ),
        ),
        _account(
            4417004, -120, 0, 0, _lock("RULE-007", "CooldownAfterLoss: a loss of $120.00", at(252))
        ),
        _account(4417005, -840, 1, 21003.0, limits={**_RULES, REDUCE_ONLY: _STAGE}),
        _account(4417006, -720, 1, 20990.0),
        _account(4417007, 0),
        _account(
            4417008,
            95,
            0,
            0,
            _lock("RULE-010", "The broker has taken away the permission to trade", None),
        ),
        _account(4417009, 1250, 4, 21001.75),
        account(4417010, running(), limits=_RULES, balance=None),
    ]


def _many() -> list[AccountState]:
    return [
        _account(5000 + number, 40 * (number * 7 % 50) - 950, number % 4) for number in range(200)
    ]


class AllAccountsScenario:
    """All accounts and their screen at one moment."""

    def __init__(self, accounts: list[AccountState], seconds: float = 0) -> None:
        self.now = BEGIN
        self.ui_state = UiState(is_all=True)
        self.retry_in: float | None = None
        self.copy = Copy()
        if accounts:
            self.copy.publish(*accounts, seconds=seconds)
        self.accounts = AllAccounts(
            lambda: self.now,
            lambda *_: None,
            self.copy,
            lambda _event: None,
            view_of=self._view,
            names=_NAMES,
        )
        self._screen = Screen(
            lambda: self.accounts.listed(0).link,
            lambda: self.ui_state,
            lambda: self.now,
            _KEYS,
            lambda: self.accounts.listed(self.ui_state.order),
        )

    def _view(self, session: Session) -> View:
        return session.view(self.retry_in, "practice")

    def status(self, *, connected: bool, reason: str = "connected") -> None:
        """Report on the connection."""
        self.retry_in = None if connected else 4.0
        status = {"connected": connected, "reason": reason}
        self.accounts.receive_status("connection_status", status)

    def receive(self, event: Event) -> None:
        """Receive an event."""
        self.accounts.receive(event.type, unread(event))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def render(self, columns: int, rows: int, **choices: Any) -> urwid.Canvas:
        """Return what is drawn with these fields of the UI state."""
        self._make()
        self.ui_state = msgspec.structs.replace(UiState(is_all=True), **choices)
        self._screen.redraw()
        return self._screen.render((columns, rows))

    def lines(self, columns: int, rows: int, **choices: Any) -> list[StyledLine]:
        """Return the lines that are drawn, before the canvas cuts them."""
        self._make()
        ui_state = msgspec.structs.replace(UiState(is_all=True), **choices)
        listed = self.accounts.listed(ui_state.order)
        return compose_all(listed, ui_state, self.now, columns, rows, _KEYS)

    def _make(self) -> None:
        self.accounts.catch_up()
        self.accounts.work((), most=1000)


def _live() -> AllAccountsScenario:
    scenario = AllAccountsScenario(_several())
    scenario.status(connected=True)
    return scenario


def _just_locked() -> AllAccountsScenario:
    scenario = _live()
    scenario.render(80, 24)
    reason = "MaxContracts breach: 6 > 5"
    event = _lock("RULE-001", reason, at(1800))
    scenario.receive(Event(4417009, event.data))
    scenario.wait(2)
    return scenario


def _with_error() -> AllAccountsScenario:
    scenario = _live()
    error = {
        "status": "ERROR",
        "message": "No connection to the broker's user hub",
        "timestamp": at(0),
    }
    scenario.receive(make_event("daemon_status", error))
    return scenario


def _last_known() -> AllAccountsScenario:
    scenario = AllAccountsScenario(_several(), -7200)
    scenario.accounts.take_turn()
    scenario.status(connected=False, reason="cannot connect to daemon (is it running?)")
    return scenario


def _lost() -> AllAccountsScenario:
    scenario = _live()
    scenario.wait(60)
    scenario.status(connected=False, reason="lost connection to daemon")
    return scenario


def _crowd() -> AllAccountsScenario:
    scenario = AllAccountsScenario(_many())
    scenario.status(connected=True)
    return scenario


def _none() -> AllAccountsScenario:
    scenario = AllAccountsScenario([])
    scenario.accounts.take_turn()
    scenario.status(connected=False, reason="cannot connect to daemon (is it running?)")
    return scenario


ALL_ACCOUNTS: Final[dict[str, Callable[[], AllAccountsScenario]]] = {
    "accounts": _live,
    "accounts-just-locked": _just_locked,
    "accounts-error": _with_error,
    "accounts-last-known": _last_known,
    "accounts-lost": _lost,
    "accounts-200": _crowd,
    "accounts-none": _none,
}
"""The states by name."""
