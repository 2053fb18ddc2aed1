"""The relay as a service: messages in, broadcast and published copy out.

Each event is in the journal before it is broadcast, together with its number.  So a relay that was killed broadcasts no
event twice, and what it had journaled and not broadcast yet is in the copy, which every client reads when it connects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from riskd.desk.incoming import Subject, read_beat, read_event, read_id, read_subject
from riskd.desk.latest_quotes import LatestQuotes
from riskd.desk.links import Now
from riskd.desk.messages import MessageError, decode_state
from riskd.desk.place_keeper import PlaceKeeper
from riskd.desk.published_state import digest, read_state
from riskd.desk.relay import Relay, without_repeated
from riskd.desk.revoked import Revoked
from riskd.engine.status import Problems
from riskd.host.errors import UserError
from riskd.host.timing import done_within, lasting_loop
from riskd.journal.service import JournalService
from riskd.journal.store import Recovery
from riskd.model.account import AccountState
from riskd.model.clock_offset import offset_fact
from riskd.model.desk_status import OF_RELAY
from riskd.model.event_number import Number
from riskd.model.events import DaemonStatus, Event, Status
from riskd.model.safe_text import printable

TICK_SECONDS: Final = 0.5

CATCH_UP_SECONDS: Final = 3.0
"""The longest that the first clients wait for what was stored while there was no relay."""

_SAVE_SECONDS: Final = 5.0

_NO_SERVER: Final = "the relay has no connection to the desk's server"

_log = Logger()


class RelayService(Service):
    """A relay.

    :param desk: the desk's name.
    :param directory: the relay's state directory.
    :param revoked: who has left the desk.
    :param journal: of the state directory.
    :param broadcast: sends an event to all clients.
    :param now: returns the time of day, aware.
    :param accounts_changed: called with the ids of all accounts when one is new.
    """

    def __init__(
        self,
        reactor: Any,
        desk: str,
        directory: Path,
        revoked: Revoked,
        journal: JournalService,
        broadcast: Callable[[Event], None],
        now: Callable[[], datetime],
        accounts_changed: Callable[[tuple[int, ...]], None],
    ) -> None:
        self._reactor = reactor
        self._desk = desk
        self._revoked = revoked
        self._journal = journal
        self._broadcast = broadcast
        self._now = now
        self._accounts_changed = accounts_changed
        self._relay = Relay()
        self._problems = Problems()
        self._account_ids: tuple[int, ...] = ()
        self._is_recovered = asyncio.Event()
        self._ready: Deferred[None] = Deferred()
        self._ready_call: IDelayedCall | None = None
        self._unsent: list[Event] = []
        self._is_sending = False
        # The latest state of each account that waits to be read.
        self._states: dict[tuple[str, int], tuple[Subject, bytes]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._quotes = LatestQuotes(reactor, self._pass_quote_on)
        self._digests: dict[tuple[str, int], bytes] = {}
        self._keeper = PlaceKeeper(directory, journal.make_durable)
        self._saving = lasting_loop(reactor, self._save_position, _log)
        self._ticking = lasting_loop(reactor, self._tick, _log)
        journal.clock_offset = lambda: offset_fact(self._relay.clock_offset)

    # The service.

    def startService(self) -> None:
        """Open the journal; go on from there."""
        super().startService()
        self._keeper.begin()
        self._journal.recover((), self._relay.states, self._recover, self._report_journal)
        self._ready_call = self._reactor.callLater(CATCH_UP_SECONDS, self.caught_up)
        self._ticking.start(TICK_SECONDS, now=False)
        self._saving.start(_SAVE_SECONDS, now=False)

    def stopService(self) -> None:
        """Broadcast STOPPING; the journal writes the final states."""
        super().stopService()
        for loop in (self._ticking, self._saving):
            if loop.running:
                loop.stop()
        self._quotes.stop()
        if self._reading is not None:
            self._reading.cancel()
        self.caught_up()
        stopping = DaemonStatus(
            status=Status.STOPPING, message="The relay is stopping", timestamp=self._now()
        )
        for event in (*self._unsent, Event(None, stopping)):
            self._broadcast(event)
        self._unsent = []

    async def recovered(self) -> None:
        """Return when the journal is open."""
        await self._is_recovered.wait()

    async def admit(self) -> None:
        """Return when a client that joins finds all in the published copy."""
        await done_within(CATCH_UP_SECONDS, self._ready, self._reactor)
        await self._journal.published()

    def report_problem(self, source: str, sentence: str) -> None:
        """Announce a problem of the relay itself; an empty sentence ends it."""
        gravest = self._problems.report(source, sentence)
        if gravest is not None:
            # Whoever hears it must not take it for a problem of a riskd.
            is_named = not gravest or gravest.startswith(OF_RELAY)
            problem = gravest if is_named else f"{OF_RELAY}: {gravest}"
            self._send(self._relay.note_own(problem, self._moment()))

    def note_connection(self, *, is_connected: bool) -> None:
        """Note that the connection to the desk's servers is there, or lost."""
        problem = "" if is_connected else _NO_SERVER
        self._send(self._relay.note_server(problem, self._moment()))
        # With accounts, it is a matter of their links.
        is_own = not (is_connected or self._relay.account_ids)
        self.report_problem(
            "server", f"{_NO_SERVER[:1].upper()}{_NO_SERVER[1:]}" if is_own else ""
        )

    def _recover(self, recovery: Recovery) -> None:
        if recovery.problem:
            _log.error("{problem}", problem=recovery.problem)
        if not self._is_recovered.is_set():
            self._relay.recover(recovery.accounts.values(), self._moment())
            self._is_recovered.set()
            self._look_who_has_left()
            self.note_connection(is_connected=False)

    def _report_journal(self, problem: str) -> None:
        self.report_problem("journal", problem)

    def _moment(self) -> Now:
        return Now(self._reactor.seconds(), self._now())

    def _tick(self) -> None:
        if not self._is_recovered.is_set():
            return
        self._look_who_has_left()
        self._send(self._relay.tick(self._moment()))
        if self._relay.account_ids != self._account_ids:
            self._account_ids = self._relay.account_ids
            self._accounts_changed(self._account_ids)

    def _look_who_has_left(self) -> None:
        """Forget those who have left the desk."""
        problem = ""
        try:
            self._revoked.look()
        except UserError as error:
            problem = str(error)
        self.report_problem("revoked", problem)
        names = self._revoked.names
        if names != self._relay.left:
            # Who comes again may begin with the same state.
            kept = self._digests.items()
            self._digests = {key: value for key, value in kept if key[0] not in names}
            self._send(self._relay.forget(names, self._moment()))

    def _save_position(self) -> None:
        self._keeper.save(self._relay.position(self._keeper.place))

    # What the desk's servers have; a Receiver.

    def receive_event(self, subject: str, id_: str, payload: bytes, place: int) -> None:
        """Take a stored event."""
        self._keeper.note(place)
        instance = ""
        try:
            found = read_subject(self._desk, subject)
            instance, number = found.instance, read_id(id_)
        except MessageError as error:
            self._note(instance, str(error))
            return
        if not self._relay.is_new(instance, number):
            return
        event: Event | None = None
        try:
            event = read_event(found, payload)
        except MessageError as error:
            self._note(instance, str(error))
        self._send(self._relay.receive_event(instance, number, event, place, self._moment()))

    def receive_quote(self, subject: str, payload: bytes) -> None:
        """Take a quote, to be passed on unless a later one comes."""
        self._quotes.receive(subject, payload)

    def _pass_quote_on(self, subject: str, payload: bytes) -> None:
        try:
            found = read_subject(self._desk, subject)
            quotes = self._relay.receive_quote(found.instance, read_event(found, payload))
        except MessageError as error:
            _log.warn("a quote is left out: {error}", error=error)
            return
        for quote in quotes:
            self._broadcast(quote)
            self._journal.changed(only_quotes=True)

    def receive_beat(self, subject: str, payload: bytes, age: timedelta = timedelta(0)) -> None:
        """Take a heartbeat.

        :param age: how long ago it was sent.
        """
        instance = ""
        try:
            instance = read_subject(self._desk, subject).instance
            beat = read_beat(payload)
        except MessageError as error:
            self._note(instance, str(error))
            return
        self._send(self._relay.receive_beat(instance, beat, self._moment(), age))

    def receive_state(self, subject: str, payload: bytes) -> None:
        """Take a published state, to be read in a thread unless a later one comes."""
        try:
            found = read_subject(self._desk, subject)
        except MessageError as error:
            self._note("", str(error))
            return
        if found.account_id is not None:
            self._states[found.instance, found.account_id] = (found, payload)
            if self._reading is None or self._reading.done():
                self._reading = asyncio.ensure_future(self._read_waiting())

    async def read_states(self) -> None:
        """Return when all states so far are read; then take them for the beginning."""
        while self._reading is not None and not self._reading.done():
            await asyncio.wait((self._reading,))
        self._relay.begin_after_states()

    def first_place(self, stream: str, last: int) -> int:
        """Return the place of the first event to read."""
        return self._keeper.first_place(stream, last)

    def caught_up(self) -> None:
        """Let clients in: all stored events were received."""
        if not self._ready.called:
            self._ready.callback(None)
        if self._ready_call is not None and self._ready_call.active():
            self._ready_call.cancel()

    async def _read_waiting(self) -> None:
        while self._states:
            subject, payload = self._states.pop(next(iter(self._states)))
            try:
                await self._read_one(subject, payload)
            except MessageError as error:
                self._refuse(subject, str(error))
            except Exception:  # noqa: BLE001  # the next state may be better
                _log.failure("internal error in a state of {instance}", instance=subject.instance)

    async def _read_one(self, subject: Subject, payload: bytes) -> None:
        instance, account_id = subject.instance, subject.account_id
        assert account_id is not None  # noqa: S101  # checked when it was received

        def read() -> tuple[AccountState, Number] | None:
            state = decode_state(payload)
            # All come again with each connection, and reading one takes some milliseconds.
            known, now = self._digests.get((instance, account_id)), digest(state)
            if known == now:
                return None
            snapshot = read_state(state, instance, account_id)
            self._digests[instance, account_id] = now
            return snapshot.accounts[account_id], state.number

        found = await deferToThread(read).asFuture(asyncio.get_running_loop())
        if found is not None:
            self._send(self._relay.receive_state(instance, *found, self._moment()))
            self._journal.changed()

    def _refuse(self, subject: Subject, sentence: str) -> None:
        """Leave a state out until there is a better one, and show that."""
        instance, account_id = subject.instance, subject.account_id
        self._send(self._relay.refuse(instance, account_id, sentence, self._moment()))

    def _note(self, instance: str, sentence: str) -> None:
        """Leave a message out, and show that for a while if it is known whose it is."""
        if not instance:
            _log.warn("{sentence}", sentence=sentence)
        else:
            self._send(self._relay.note(instance, sentence, self._moment()))

    # The broadcast.

    def _send(self, events: Iterable[Event]) -> None:
        self._unsent += events
        if self._unsent and not self._is_sending:
            self._is_sending = True
            Deferred.fromCoroutine(self._send_all())

    async def _send_all(self) -> None:
        while self._unsent:
            events, self._unsent = self._unsent, []
            try:
                await self._send_batch(events)
            except Exception:  # noqa: BLE001  # later events must get through
                _log.failure("internal error in broadcasting {count} events", count=len(events))
        self._is_sending = False

    async def _send_batch(self, events: list[Event]) -> None:
        # Clients read all accounts at each status, and each new account repeats one.
        events = without_repeated(events)
        await self._journal.make_durable()
        if any(isinstance(event.data, DaemonStatus) for event in events):
            # Clients read the copy again then, because it says which accounts a status is about.
            await self._journal.published()
        for event in events:
            if isinstance(event.data, DaemonStatus):
                _log.info(
                    "status {status}: {message}",
                    status=event.data.status.value,
                    message=printable(event.data.message),
                )
            self._broadcast(event)
