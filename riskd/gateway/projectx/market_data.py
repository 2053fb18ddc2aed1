"""Quotes from the broker: which contracts are followed, and what stands in for quotes that do not come.

The hub of markets may freeze: it pings, and is silent.  Then it is connected anew, and until quotes come
the latest bars, which REST keeps fresh, are told in their place.  A bar that began when the hub was silent
already says that this is no quiet market; that there are no quotes is trouble from then on, whatever the hub
says of itself, until there is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.gateway.fields import FieldReader, MappingError
from riskd.gateway.interface import GatewayError, Payload
from riskd.gateway.projectx.market_hours import is_market_open
from riskd.gateway.projectx.payloads import quote_events
from riskd.gateway.projectx.responses import items
from riskd.gateway.projectx.rest import BrokerRequests
from riskd.gateway.signalr import Invocation
from riskd.host.timing import lasting_loop

_log = Logger()

FREEZE_SECONDS: Final = 30.0
"""A market that is open and followed, and silent for so long, is frozen: its hub is connected anew.

Source: what clients see of the live gateway; the hub pings on, and bars stay fresh.
"""

MAX_FREEZE_SECONDS: Final = 480.0
"""The longest that is waited between two such reconnects."""

BARS_SECONDS: Final = 10.0
"""How often the latest bars are asked for while there are no quotes."""

MAX_BARS: Final = 8
"""Of so many contracts at a time: the broker answers 50 such requests in 30 s, and others need theirs."""

LISTING_SECONDS: Final = 3600.0
"""How often the contracts of watched tickers are looked up: the front month changes."""

LISTING_AGAIN_SECONDS: Final = 60.0
"""When they are looked up again after there was no answer."""

CLOCKS_APART: Final = timedelta(seconds=10)
"""How far the broker's clock may be from ours; a bar must be newer than the last quote by more to say anything."""

_LOOK_SECONDS: Final = 5.0
_BARS_BACK: Final = timedelta(minutes=5)
_SECOND: Final = 1

TellQuote = Callable[[str, Payload], None]
"""Told of a contract's quote, by its id, as far as it has changed."""


class QuoteFeed:
    """Keeps quotes coming.

    :param requests: asks the broker.
    :param clock: times silence.
    :param now: gives the time of day, aware.
    :param watch: tickers whose quotes are told, whatever is held.
    :param subscribe: subscribes a contract's quotes at the hub of markets.
    :param reconnect: connects that hub anew, for a reason.
    :param tell: told of quotes.
    :param tell_trouble: told of trouble in a sentence; an empty one says that it is over.
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
        tell: TellQuote,
        tell_trouble: Callable[[str], None],
    ) -> None:
        self._requests = requests
        self._clock = clock
        self._now = now
        self._watch = frozenset(watch)
        self._subscribe = subscribe
        self._reconnect = reconnect
        self._tell = tell
        self._tell_trouble = tell_trouble
        self._followed: set[str] = set()
        self._is_connected = False
        self._is_frozen = False
        self._is_stopped = False
        self._down_since: datetime | None = None
        self._expect_quotes()
        self._list_at = clock.seconds()
        self._bars_asked_at = clock.seconds()
        self._bar_asked_at: dict[str, float] = {}
        self._asking: dict[str, Deferred[None]] = {}
        self._look = lasting_loop(clock, self._look_at_clock, _log)

    def start(self) -> None:
        """See to it from now on."""
        self._look.start(_LOOK_SECONDS, now=False)

    def stop(self) -> None:
        """Leave off."""
        self._is_stopped = True
        if self._look.running:
            self._look.stop()
        for asking in tuple(self._asking.values()):
            asking.cancel()

    def follow(self, contract_id: str) -> None:
        """Tell the quotes of a contract from now on."""
        if contract_id not in self._followed:
            self._followed.add(contract_id)
            self._subscribe(contract_id)

    def heard(self, invocation: Invocation) -> None:
        """Tell what the hub of markets says."""
        for event in quote_events(invocation):
            self._expect_quotes()
            self._are_back()
            self._tell(event.contract_id, event.payload)

    def connected(self) -> None:
        """Take note that the hub is up."""
        self._is_connected = True
        self._patient_until = self._clock.seconds() + self._patience
        if self._is_frozen:
            self._tell_frozen()
        else:
            self._are_back()
        self._look_up_watched()

    def lost(self, why: str) -> None:
        """Take note that the hub is down."""
        self._is_connected = False
        self._down_since = self._down_since or self._now()
        self._tell_missing(f"{why}. Rules that need them go by the latest known price, or wait")

    def _expect_quotes(self) -> None:
        """Wait for quotes from now on."""
        self._quoted_at = self._clock.seconds()
        self._patience = FREEZE_SECONDS
        self._patient_until = self._quoted_at + self._patience

    def _tell_frozen(self) -> None:
        self._tell_missing(
            "the market trades, and the broker's hub is connected and silent. Rules that need them "
            f"go by the latest trade, which riskd asks for every {BARS_SECONDS:g} s"
        )

    def _tell_missing(self, why: str) -> None:
        since = self._down_since or self._now()
        self._tell_trouble(f"No quotes since {since.astimezone():%H:%M:%S}: {why}")

    def _are_back(self) -> None:
        self._is_frozen = False
        if self._down_since is not None:
            self._down_since = None
            self._tell_trouble("")

    def _look_at_clock(self) -> None:
        """See whether quotes are to be expected and do not come."""
        now = self._clock.seconds()
        self._look_up_watched()
        if not self._followed or not is_market_open(self._now()):
            self._expect_quotes()
            if self._is_frozen and self._is_connected:
                self._are_back()
            self._is_frozen = False
            return
        silent = now - self._quoted_at
        if silent < FREEZE_SECONDS:
            return
        if self._is_connected and now >= self._patient_until:
            self._patience = min(self._patience * 2, MAX_FREEZE_SECONDS)
            self._patient_until = now + self._patience
            self._reconnect(f"the hub of markets is connected, and silent for {silent:.0f} s")
        if now - self._bars_asked_at >= BARS_SECONDS:
            self._bars_asked_at = now
            self._go_on("bars", self._ask_for_bars)

    async def _ask_for_bars(self) -> None:
        """Ask for those that were not asked for the longest, one after another."""
        for contract_id in sorted(self._followed, key=self._turn)[:MAX_BARS]:
            self._bar_asked_at[contract_id] = self._clock.seconds()
            try:
                await self._ask_for_bar(contract_id)
            except GatewayError as error:
                _log.warn("no bar of {contract}: {why}", contract=contract_id, why=error)

    def _turn(self, contract_id: str) -> tuple[float, str]:
        return self._bar_asked_at.get(contract_id, -math.inf), contract_id

    async def _ask_for_bar(self, contract_id: str) -> None:
        """Tell the latest price: a hub that is silent does not mean a quiet market."""
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
        for bar in items(request, fields, "bars")[:1]:
            # A quote that came meanwhile is newer.
            if bar.get("c") is not None and self._quoted_at == quoted_at:
                self._tell(contract_id, {"lastPrice": bar["c"], "timestamp": bar.get("t")})
                self._see_whether_frozen(bar)

    def _see_whether_frozen(self, bar: Payload) -> None:
        """Say that the hub is frozen if the market has traded since it was silent."""
        silent = timedelta(seconds=self._clock.seconds() - self._quoted_at)
        quoted_at = self._now() - silent
        try:
            is_trading = FieldReader("bar", bar).time("t") > quoted_at + CLOCKS_APART
        except MappingError:
            # Whoever was told of it has said so.
            return
        if is_trading and self._is_connected and not self._is_frozen:
            self._is_frozen = True
            self._down_since = quoted_at
            self._tell_frozen()

    def _look_up_watched(self) -> None:
        """Look them up if it is time to."""
        if self._watch and self._is_connected and self._clock.seconds() >= self._list_at:
            self._go_on("contracts", self._follow_watched)

    async def _follow_watched(self) -> None:
        """Follow the contract that each watched ticker is traded in now."""
        request = "Contract/available"
        self._list_at = self._clock.seconds() + LISTING_AGAIN_SECONDS
        listed = items(request, await self._requests.read(request, {"live": False}), "contracts")
        self._list_at = self._clock.seconds() + LISTING_SECONDS
        found = set()
        for contract in listed:
            ticker = str(contract.get("name"))[:-2]
            contract_id = contract.get("id")
            is_wanted = contract.get("activeContract") and ticker in self._watch
            if is_wanted and isinstance(contract_id, str):
                found.add(ticker)
                self.follow(contract_id)
        for ticker in sorted(self._watch - found):
            _log.warn("the broker lists no contract of {ticker}, which is watched", ticker=ticker)

    def _go_on(self, what: str, ask: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let a question be asked and answered beside all else, unless it still waits for an answer."""
        if self._is_stopped or what in self._asking:
            return

        def answered(_result: None) -> None:
            del self._asking[what]

        self._asking[what] = under_way = Deferred.fromCoroutine(ask())
        under_way.addErrback(_log_failure).addCallback(answered)


def _log_failure(failure: Failure) -> None:
    if failure.check(GatewayError):
        _log.warn("asking about quotes: {why}", why=failure.getErrorMessage())
    elif failure.check(CancelledError) is None:
        _log.failure("asking about quotes: a mistake in riskd", failure)
