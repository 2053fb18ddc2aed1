"""What a desk knows of its daemons, and what it broadcasts.

Nothing here knows a server, a socket or a clock: messages go in, and the events to broadcast come out.

The stream of a desk has the statuses of several daemons, and a ``daemon_status`` names no account.  So the stream says
RUNNING only while nothing at the desk is wrong, and only as a daemon has said it; an error names whose it is.  In the
published copy each account has the status of its own daemon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from statistics import median

from riskd.desk.desk_accounts import DeskAccounts
from riskd.desk.instance import Instance, Waiting
from riskd.desk.links import LOST_SECONDS, Now
from riskd.desk.messages import Heartbeat, MessageError
from riskd.model.account import AccountState
from riskd.model.broker import BrokerTrade
from riskd.model.desk_status import OF_RELAY
from riskd.model.event_number import Number
from riskd.model.events import DaemonStatus, Event, MarketQuote, Status


class Relay:
    """A desk.

    Methods that return events return what is to be broadcast, in this order.

    :ivar left: the names of those who have left the desk, of whom nothing is taken.
    """

    def __init__(self) -> None:
        self.left: frozenset[str] = frozenset()
        self._accounts = DeskAccounts()
        self._instances: dict[str, Instance] = {}
        self._server_problem = ""
        self._own: DaemonStatus | None = None

    def recover(self, states: Iterable[AccountState], now: Now) -> None:
        """Go on from what the journal has."""
        self._accounts.recover(states)
        for name in self._accounts.instances:
            self._instance(name, now)

    def states(self) -> tuple[AccountState, ...]:
        """Return all accounts, as the journal keeps them."""
        return self._accounts.stored(self.status_of)

    def status_of(self, name: str) -> DaemonStatus | None:
        """Return the status that the accounts of an instance show."""
        instance = self._instances.get(name)
        return None if instance is None else instance.status

    @property
    def account_ids(self) -> tuple[int, ...]:
        """The ids of all accounts, in the order in which they became known."""
        return self._accounts.ids

    @property
    def clock_offset(self) -> timedelta | None:
        """How far the broker's clock is ahead of this machine's, if known."""
        offsets = [
            each.clock_offset.total_seconds()
            for each in self._instances.values()
            if each.is_live and each.clock_offset is not None
        ]
        return timedelta(seconds=median(offsets)) if offsets else None

    def position(self, latest: int) -> int:
        """Return up to which place in the server's stream nothing needs to be read again.

        :param latest: the place of the last message that was read.
        """
        held = [
            waiting.position for each in self._instances.values() for waiting in each.ordering.held
        ]
        return min(held) - 1 if held else latest

    def begin_after_states(self) -> None:
        """Take the known states for the beginning, of instances without an event so far.

        To be called before the first event of the stream is read.
        """
        for instance in self._instances.values():
            ordering = instance.ordering
            if ordering.last is None and not tuple(ordering.held):
                ordering.last = self._accounts.known(instance.name)

    def is_new(self, name: str, number: Number) -> bool:
        """Return whether an event is neither passed on nor held yet."""
        if name in self.left:
            return False
        instance = self._instances.get(name)
        return instance is None or instance.ordering.is_new(number)

    def receive_event(
        self, name: str, number: Number, event: Event | None, position: int, now: Now
    ) -> list[Event]:
        """Take an event that is no quote.

        :param event: ``None`` for one that cannot be read.
        :param position: its place in the server's stream.
        """
        instance = self._instance(name, now)
        passed = instance.ordering.receive(number, Waiting(position, event), now.seconds)
        return self._pass_on(instance, passed, now)

    def receive_quote(self, name: str, event: Event) -> list[Event]:
        """Take a quote."""
        account_id, quote = event.account_id, event.data
        if account_id is None or not isinstance(quote, MarketQuote):
            return []
        is_news = self._accounts.receive_quote(name, account_id, quote)
        return [event] if is_news else []

    def receive_state(
        self, name: str, state: AccountState, number: Number, now: Now
    ) -> list[Event]:
        """Take an account's published state."""
        if name in self.left:
            return []
        instance = self._instance(name, now)
        account_id, sentence = state.account_id, ""
        before = self._accounts.trades(account_id)
        try:
            self._accounts.take_state(name, state, number)
        except MessageError as error:
            sentence = str(error)
        instance.refuse(account_id, sentence)
        # At a status, clients read the copy again, for accounts and corrections that no event has.
        is_said = _is_corrected(before, self._accounts.trades(account_id))
        return self._look(instance, now, is_said=is_said)

    def receive_beat(
        self, name: str, beat: Heartbeat, now: Now, age: timedelta = timedelta(0)
    ) -> list[Event]:
        """Take a heartbeat.

        :param age: how long ago it was sent.  An old one says since when a link is lost, of a trader with an account.
        """
        is_old = age.total_seconds() >= LOST_SECONDS
        if name in self.left or (is_old and name not in self._instances):
            return []
        instance = self._instance(name, now)
        if instance.receive_beat(beat, now, age):
            instance.begin_anew(now)
            self._accounts.begin_anew(name)
        return self._look(instance, now)

    def refuse(self, name: str, account_id: int | None, sentence: str, now: Now) -> list[Event]:
        """Show that the state of an account is left out, until one is used."""
        if name in self.left:
            return []
        instance = self._instance(name, now)
        instance.refuse(account_id, sentence)
        return self._look(instance, now)

    def note(self, name: str, sentence: str, now: Now) -> list[Event]:
        """Show a problem of an instance for a while."""
        if name in self.left:
            return []
        instance = self._instance(name, now)
        instance.note(sentence, now)
        return self._look(instance, now)

    def note_own(self, problem: str, now: Now) -> list[Event]:
        """Show a problem of the relay itself.

        An empty text ends it, and repeats what a daemon has said.
        """
        if problem:
            self._own = DaemonStatus(status=Status.ERROR, message=problem, timestamp=now.at)
            return [Event(None, self._own)]
        self._own = None
        return self._gravest()

    def _gravest(self) -> list[Event]:
        """Return the status of an instance, of one with a problem if there is one."""
        known = sorted(self._known_statuses(), key=_is_right)
        return [Event(None, status) for status in known[:1]]

    def _known_statuses(self) -> list[DaemonStatus]:
        """Return the statuses of the instances of which anything is known."""
        known = self._instances.values()
        return [each.status for each in known if each.status and not each.is_waiting]

    def forget(self, names: frozenset[str], now: Now) -> list[Event]:
        """Forget those who have left the desk.

        :param names: of all of them; what comes of others is taken again.
        """
        self.left = names
        known = names & self._instances.keys()
        before = self._accounts.ids
        for name in known:
            del self._instances[name]
            self._accounts.remove(name)
        if self._accounts.ids == before:
            return []
        # At a status, clients read the copy again.
        nobody = DaemonStatus(
            status=Status.ERROR, message=f"{OF_RELAY}: nobody is at the desk", timestamp=now.at
        )
        said = [] if self._own is None else [Event(None, self._own)]
        return said or self._gravest() or [Event(None, nobody)]

    def note_server(self, problem: str, now: Now) -> list[Event]:
        """Note why there is no connection to the server; empty if there is one."""
        self._server_problem = problem
        return self.tick(now)

    def tick(self, now: Now) -> list[Event]:
        """Do what only the time brings; to be called about twice a second."""
        events = []
        for instance in tuple(self._instances.values()):
            passed = instance.ordering.wait_no_more(now.seconds)
            events += self._pass_on(instance, passed, now)
            events += self._look(instance, now)
        return events

    def _instance(self, name: str, now: Now) -> Instance:
        instance = self._instances.get(name)
        if instance is None:
            known = self._accounts.delivered(name), now, self._accounts.link(name)
            instance = Instance(name, *known)
            self._instances[name] = instance
        return instance

    def _pass_on(
        self, instance: Instance, passed: list[tuple[Number, Waiting]], now: Now
    ) -> list[Event]:
        events = []
        for number, waiting in passed:
            event = waiting.event
            if event is None:
                continue
            if isinstance(event.data, DaemonStatus):
                instance.receive_status(event.data)
                self._accounts.note_delivered(instance.name, number)
                events += self._look(instance, now, is_said=True)
                continue
            try:
                if self._accounts.receive(instance.name, number, event):
                    events.append(event)
            except MessageError as error:
                instance.refuse(event.account_id, str(error))
        for gap in instance.ordering.take_gaps():
            instance.note(
                f"{gap} of {instance.name} did not arrive; its figures are those of its state", now
            )
        return events

    def _look(self, instance: Instance, now: Now, *, is_said: bool = False) -> list[Event]:
        """Return the status of an instance if it has changed.

        :param is_said: whether it is to be said again in any case.
        """
        accounts = self._accounts.of_instance(instance.name)
        has_changed = instance.look(accounts, now, self._server_problem)
        self._accounts.note_link(instance.name, instance.trouble)
        status = instance.status
        # To wait is no news: the first heartbeat is, or that none comes.
        if status is None or instance.is_waiting or not (has_changed or is_said):
            return []
        if status.status is Status.RUNNING:
            known = (self._own, *self._known_statuses())
            status = next((each for each in known if each and not _is_right(each)), status)
        return [Event(None, status)]


def without_repeated(events: Sequence[Event]) -> list[Event]:
    """Return events without those statuses that come again among them."""
    last = {
        event.data: place
        for place, event in enumerate(events)
        if isinstance(event.data, DaemonStatus)
    }
    return [
        event
        for place, event in enumerate(events)
        if not isinstance(event.data, DaemonStatus) or last[event.data] == place
    ]


def _is_corrected(
    before: Mapping[int, BrokerTrade] | None, after: Mapping[int, BrokerTrade] | None
) -> bool:
    """Return whether an account is new, or a trade was voided or amended.

    :param before: the trades that were known; ``None`` of an account that was not.
    """
    if before is None or after is None:
        return before is not after
    return any(
        key not in after or after[key].profit_and_loss != trade.profit_and_loss
        for key, trade in before.items()
    )


def _is_right(status: DaemonStatus) -> bool:
    return status.status is Status.RUNNING
