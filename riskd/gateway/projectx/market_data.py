"""Quotes from the broker, and the latest bars in place of missing quotes.

The market hub may freeze: for minutes it sends pings and no quotes, while REST has fresh bars.  After 30 s
without a quote the hub is connected again, and until quotes arrive, the latest bars take their place.

A hub without quotes is in one of three states:

- down: it is not connected, which is reported at once;
- silent: perhaps there are no trades, so nothing is reported;
- frozen: a bar began after the last quote, so the market trades.  That is reported, and only a quote ends it,
  not another connection: a frozen hub accepts connections, too.

While the market is closed no quotes are expected, and a freeze is forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.gateway.fields import FieldReader, MappingError, Payload, is_contract_id
from riskd.gateway.interface import GatewayError
from riskd.gateway.projectx.responses import items
from riskd.gateway.projectx.rest import BrokerRequests
from riskd.host.timing import lasting_loop

_log = Logger()

FREEZE_SECONDS: Final = 30.0
"""After so long without a quote, in an open market, the hub counts as frozen and is connected again.

Source: what clients see of the live gateway; the hub pings on, and bars stay fresh.
"""

MAX_FREEZE_SECONDS: Final = 480.0
"""The longest wait between two such reconnects."""

BARS_SECONDS: Final = 10.0
"""How often the latest bars are requested while there are no quotes."""

MAX_BARS: Final = 8
"""How many contracts' bars at a time: the broker answers 50 such requests in 30 s, to all its clients."""

LISTING_SECONDS: Final = 3600.0
"""How often the contracts of watched tickers are requested: the front month changes."""

LISTING_AGAIN_SECONDS: Final = 60.0
"""When they are requested again after no answer."""

CLOCKS_APART: Final = timedelta(seconds=10)
"""How far the broker's clock may be from ours; only a bar newer than the last quote by more shows trading."""

EXCHANGE_ZONE: Final = ZoneInfo("America/Chicago")

_SESSION_BEGINS_BEFORE_MIDNIGHT: Final = timedelta(hours=7)
_SESSION_ENDS: Final = time(23)
_SATURDAY: Final = 5

_CHECK_SECONDS: Final = 5.0
_BARS_BACK: Final = timedelta(minutes=5)
_SECOND: Final = 1
_ANSWERED: Final = succeed(None)


class QuoteFeed:
    """The quotes of all contracts that are followed.

    :param requests: makes requests of the broker.
    :param clock: times silence.
    :param now: gives the broker's time, aware.
    :param watch: tickers whose quotes are reported, whatever is held.
    :param subscribe: subscribes to a contract's quotes at the market hub.
    :param reconnect: connects that hub again, for a reason.
    :param receive: receives contract id and payload of each quote; the payload may hold only what
        changed.
    :param receive_trade: receives contract id, price and time of a latest trade, as fields of a quote.
    :param report_problem: receives a problem as a sentence; an empty one ends it.
    """

    def __init__(
        self,
        requests: BrokerRequests,
        clock: IReactorTime,
        now: Callable[[], datetime],
        watch: Iterable[str],
        *,
        subscribe: Callable[[str], None],
        reconnect: Callable[[str], None],
        receive: Callable[[str, Payload], None],
        receive_trade: Callable[[str, Payload], None],
        report_problem: Callable[[str], None],
    ) -> None:
        self._requests = requests
        self._clock = clock
        self._now = now
        self._watch = frozenset(watch)
        self._subscribe = subscribe
        self._reconnect = reconnect
        self._receive = receive
        self._receive_trade = receive_trade
        self._report_problem = report_problem
        # When the bar of each contract was last requested.
        self._followed: dict[str, float] = {}
        self._is_connected = False
        self._missing_since: datetime | None = None
        self._expect_quotes()
        self._list_contracts_at = self._bars_requested_at = clock.seconds()
        self._requesting: dict[str, Deferred[None]] = {}
        self._check = lasting_loop(clock, self._check_clock, _log)

    def start(self) -> None:
        """Check from now on that quotes arrive."""
        self._check.start(_CHECK_SECONDS, now=False)

    def stop(self) -> None:
        """Stop checking, and cancel all requests."""
        if self._check.running:
            self._check.stop()
        for requesting in self._requesting.values():
            requesting.cancel()

    def follow(self, contract_id: str) -> None:
        """Report the quotes of a contract from now on."""
        if contract_id not in self._followed:
            # Its bar was never requested, so it is the first one to be.
            self._followed[contract_id] = -math.inf
            self._subscribe(contract_id)

    def receive(self, contract_id: str, payload: Payload) -> None:
        """Receive a quote that the market hub sent, unless its contract is not followed."""
        self._expect_quotes()
        self._end_problem()
        if contract_id in self._followed:
            self._receive(contract_id, payload)

    def connected(self) -> None:
        """Note that the hub is up."""
        self._is_connected = True
        self._reconnect_at = self._clock.seconds() + self._reconnect_seconds
        if self._is_frozen:
            # The hub pinged all the time it was frozen: that it is up again proves nothing.
            self._report_frozen()
        else:
            self._end_problem()
        self._request_watched()

    def lost(self, why: str) -> None:
        """Note that the hub is down."""
        self._is_connected = False
        self._report_missing(f"{why}. Rules that need them go by the latest known price, or wait")

    def _expect_quotes(self) -> None:
        """Restart the wait for quotes: from here on, the hub does not count as frozen."""
        self._is_frozen = False
        self._quoted_at = self._clock.seconds()
        self._reconnect_seconds = FREEZE_SECONDS
        self._reconnect_at = self._quoted_at + self._reconnect_seconds

    def _report_frozen(self) -> None:
        self._report_missing(
            "the market trades, and the broker's hub is connected and silent. Rules that need them "
            f"go by the latest trade, which riskd asks for every {BARS_SECONDS:g} s"
        )

    def _report_missing(self, why: str) -> None:
        # Each failed try reports again; the quotes are missing since the first report.
        self._missing_since = self._missing_since or self._now()
        self._report_problem(f"No quotes since {self._missing_since.astimezone():%H:%M:%S}: {why}")

    def _end_problem(self) -> None:
        if self._missing_since is not None:
            self._missing_since = None
            self._report_problem("")

    def _check_clock(self) -> None:
        """Check whether quotes are expected and do not arrive."""
        now = self._clock.seconds()
        self._request_watched()
        if not self._followed or not is_market_open(self._now()):
            # No quotes are expected; a freeze before the break says nothing about the next session.
            self._expect_quotes()
            if self._is_connected:
                self._end_problem()
            return
        silent = now - self._quoted_at
        if silent < FREEZE_SECONDS:
            return
        if self._is_connected and now >= self._reconnect_at:
            # A reconnect that does not help is repeated ever more rarely: it costs every subscription.
            self._reconnect_seconds = min(self._reconnect_seconds * 2, MAX_FREEZE_SECONDS)
            self._reconnect_at = now + self._reconnect_seconds
            self._reconnect(f"the market hub is connected, and silent for {silent:.0f} s")
        if now - self._bars_requested_at >= BARS_SECONDS:
            self._bars_requested_at = now
            self._start("bars", self._request_bars)

    async def _request_bars(self) -> None:
        """Request bars one after another, the longest unrequested ones first."""
        in_turn = sorted(self._followed, key=lambda each: (self._followed[each], each))
        for contract_id in in_turn[:MAX_BARS]:
            self._followed[contract_id] = self._clock.seconds()
            try:
                await self._request_bar(contract_id)
            except GatewayError as error:
                _log.warn("no bar of {contract}: {why}", contract=contract_id, why=error)

    async def _request_bar(self, contract_id: str) -> None:
        """Report the latest price: a silent hub does not mean a quiet market."""
        now, quoted_at = self._now(), self._quoted_at
        request = "History/retrieveBars"
        fields = await self._requests.read(
            request,
            {
                "contractId": contract_id,
                "live": False,
                "startTime": (now - _BARS_BACK).isoformat(),
                "endTime": now.isoformat(),
                "unit": _SECOND,
                "unitNumber": 1,
                "limit": 1,
                "includePartialBar": True,
            },
        )
        # The newest bar comes first; its close is the latest trade.
        for bar in items(request, fields, "bars")[:1]:
            # A quote that arrived meanwhile is newer.
            if bar.get("c") is not None and self._quoted_at == quoted_at:
                trade = {"lastPrice": bar["c"], "timestamp": bar.get("t")}
                self._receive_trade(contract_id, trade)
                self._check_frozen(bar)

    def _check_frozen(self, bar: Payload) -> None:
        """Report a frozen hub if the market has traded since the hub fell silent."""
        quoted_at = self._now() - timedelta(seconds=self._clock.seconds() - self._quoted_at)
        try:
            is_trading = FieldReader("bar", bar).time("t") > quoted_at + CLOCKS_APART
        except MappingError:
            # The engine has reported the time that cannot be read.
            return
        if is_trading and self._is_connected and not self._is_frozen:
            self._is_frozen = True
            self._missing_since = quoted_at
            self._report_frozen()

    def _request_watched(self) -> None:
        if self._watch and self._is_connected and self._clock.seconds() >= self._list_contracts_at:
            self._start("contracts", self._follow_watched)

    async def _follow_watched(self) -> None:
        """Follow the active contract of each watched ticker."""
        request = "Contract/available"
        # Set before the request, which may fail.
        self._list_contracts_at = self._clock.seconds() + LISTING_AGAIN_SECONDS
        listed = items(request, await self._requests.read(request, {"live": False}), "contracts")
        self._list_contracts_at = self._clock.seconds() + LISTING_SECONDS
        found: dict[str, str] = {}
        for contract in listed:
            # A name ends with month and year.
            ticker, contract_id = str(contract.get("name"))[:-2], contract.get("id")
            if (
                contract.get("activeContract")
                and ticker in self._watch
                and is_contract_id(contract_id)
            ):
                found.setdefault(ticker, contract_id)
        for contract_id in found.values():
            self.follow(contract_id)
        for ticker in sorted(self._watch.difference(found)):
            _log.warn("the broker lists no contract of {ticker}, which is watched", ticker=ticker)

    def _start(self, name: str, request: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start requests unless those of the same name are still unanswered."""
        if self._check.running and self._requesting.get(name, _ANSWERED).called:
            self._requesting[name] = Deferred.fromCoroutine(request()).addErrback(_log_failure)


def is_market_open(now: datetime) -> bool:
    """Return whether CME Globex trades most futures at ``now``, holidays aside.

    It trades from Sunday 17:00 to Friday 16:00, Chicago time, except from 16:00 to 17:00 each day.

    :param now: aware.
    """
    # Shifted by seven hours, each session lies within one day: Monday to Friday, 00:00 to 23:00.  The
    # exchange goes by the wall clock, so the shift is naive also where daylight saving time changes.
    wall = now.astimezone(EXCHANGE_ZONE).replace(tzinfo=None)
    session = wall + _SESSION_BEGINS_BEFORE_MIDNIGHT
    return session.weekday() < _SATURDAY and session.time() < _SESSION_ENDS


def _log_failure(failure: Failure) -> None:
    if failure.check(GatewayError):
        _log.warn("requests about quotes: {why}", why=failure.getErrorMessage())
    elif failure.check(CancelledError) is None:
        _log.failure("requests about quotes: internal error", failure)
