"""The operator's door: what may be asked through it, by whom, and what a bad client can do."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectionAborted
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.protocols.amp import AMP, AmpBox, RemoteAmpError, UnhandledCommand
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from riskd.control import server as control
from riskd.control.reports import encode_report
from riskd.control.server import (
    IDLE_SECONDS,
    MAX_CONNECTIONS,
    MAX_PATH_BYTES,
    MAX_REASON,
    MAX_REQUESTS,
    SOCKET_NAME,
    UNKNOWN_OPERATOR,
    ControlFactory,
    ControlService,
    FlattenCommand,
    Json,
    LockCommand,
    RefusedError,
    Request,
    RulesCommand,
    StatusCommand,
    UnlockCommand,
    user_name,
)
from riskd.engine.interface import IOperated, IOperatedAccount
from riskd.model.account import AccountState, Flattening, RiskState, apply
from riskd.model.events import (
    Action,
    DaemonStatus,
    Event,
    GatewayUserOrder,
    GatewayUserPosition,
    LockoutSet,
    MarketQuote,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
    Status,
)
from riskd.model.lockouts import locks_in_force
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import NOTHING, Gauge, Rule
from riskd.rules.settings import RuleSettings

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.Z26"


def a_rule(rule_id: str, gauges: Callable[..., Any]) -> RuleInForce:
    rule = Rule(
        rule_id, rule_id.lower(), RuleSettings, frozenset(), lambda *_: NOTHING, gauges=gauges
    )
    return RuleInForce(rule, RuleSettings())


@implementer(IOperatedAccount)
class FakeAccount:
    """An account that remembers what was done to it."""

    def __init__(self, account_id: int) -> None:
        self.account_state = AccountState(account_id=account_id)
        self.rules: tuple[RuleInForce, ...] = ()
        self.done: list[tuple[object, ...]] = []

    def learn(self, data: Any) -> None:
        account_id = None if isinstance(data, DaemonStatus) else self.account_state.account_id
        self.account_state = apply(self.account_state, Event(account_id, data))

    def unlock(self, reason: str, operator: str) -> bool:
        self.done.append(("unlock", reason, operator))
        was_locked = bool(locks_in_force(self.account_state, NOW))
        self.account_state = msgspec.structs.replace(self.account_state, lockouts={})
        return was_locked

    def lock(self, reason: str, operator: str, until: datetime | None) -> None:
        self.done.append(("lock", reason, operator, until))
        self.learn(
            LockoutSet(reason=reason, locked_until=until, rule_id="OPERATOR", locked_at=NOW)
        )

    def flatten(self, reason: str, operator: str) -> None:
        self.done.append(("flatten", reason, operator))


@implementer(IOperated)
class FakeDaemon:
    gateway_name = "practice"

    def __init__(self, *account_ids: int) -> None:
        self.enforces = True
        self.is_recovered = True
        self.operated_accounts = {number: FakeAccount(number) for number in account_ids}
        self.on_disk: Deferred[None] | None = None

    def make_durable(self) -> Deferred[None]:
        return self.on_disk or succeed(None)


class AbortableTransport(FakeTransport):
    is_aborted = False

    def abortConnection(self) -> None:
        if not self.is_aborted:
            self.is_aborted = self.disconnected = True
            self.protocol.connectionLost(Failure(ConnectionAborted()))


class DoorTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.daemon = FakeDaemon(123, 456)
        self.account = self.daemon.operated_accounts[123]
        self.factory = ControlFactory(
            self.clock, self.daemon, lambda: NOW, operator_of=lambda _transport: "jane"
        )

    def enter(self) -> tuple[AMP, IOPump]:
        """Return a client of the daemon, and what carries their bytes."""
        client = AMP()
        server = self.factory.buildProtocol(None)
        assert server is not None
        pump = connect(
            server,
            AbortableTransport(server, isServer=True),
            client,
            FakeTransport(client, isServer=False),
        )
        return client, pump

    def begin(self, command: Any, request: Request | None = None) -> Deferred[Any]:
        client, self.pump = self.enter()
        asked = client.callRemote(command, **({} if request is None else {"request": request}))
        return self.sent(asked, self.pump)

    def sent(self, asked: Deferred[Any], pump: IOPump) -> Deferred[Any]:
        """Return what comes of a request; AMP drops a connection on an error that nobody awaits."""
        outcome: Deferred[Any] = Deferred()
        asked.addBoth(outcome.callback)
        pump.flush()
        return outcome

    def ask(self, command: Any, request: Request | None = None) -> Any:
        return self.successResultOf(self.begin(command, request))["answer"]

    def refusal(self, command: Any, request: Request) -> str:
        return str(self.failureResultOf(self.begin(command, request), RefusedError).value)


class StatusTests(DoorTestCase):
    def test_the_fakes_are_what_they_stand_for(self) -> None:
        verifyObject(IOperated, self.daemon)
        verifyObject(IOperatedAccount, self.account)

    def test_daemon_and_accounts_are_told(self) -> None:
        status = DaemonStatus(status=Status.RUNNING, message="On its way", timestamp=NOW)
        self.account.learn(status)
        report = self.ask(StatusCommand)
        self.assertEqual((report.gateway, report.daemon), ("practice", status))
        self.assertEqual([account.account for account in report.accounts], [123, 456])

    def test_a_dry_run_is_told(self) -> None:
        self.assertFalse(self.ask(StatusCommand).dry_run)
        self.daemon.enforces = False
        self.assertTrue(self.ask(StatusCommand).dry_run)

    def test_before_the_daemon_has_said_anything(self) -> None:
        self.assertIsNone(self.ask(StatusCommand).daemon)

    def test_positions_are_told_with_their_open_pnl(self) -> None:
        self.account.learn(position())
        self.account.learn(
            MarketQuote(
                contract_id=MNQ,
                bid=Decimal("21001.00"),
                ask=Decimal("21001.50"),
                last=Decimal("21001.25"),
                timestamp=NOW,
            )
        )
        account = self.ask(StatusCommand).accounts[0]
        (held,) = account.positions
        self.assertEqual((held.contract, held.side, held.size), ("MNQZ6", "long", 2))
        self.assertEqual((held.open_pnl, account.open_pnl), (Decimal(5), Decimal(5)))

    def test_what_is_unknown_is_no_zero(self) -> None:
        self.account.learn(position())
        account = self.ask(StatusCommand).accounts[0]
        self.assertEqual((account.positions[0].open_pnl, account.open_pnl), (None, None))

    def test_orders_are_told(self) -> None:
        self.account.learn(order(7))
        (told,) = self.ask(StatusCommand).accounts[0].orders
        self.assertEqual((told.id, told.contract, told.type), (7, "MNQZ6", "stop"))
        self.assertEqual((told.side, told.limit_price), ("sell", None))
        self.assertEqual(told.stop_price, Decimal("20990.00"))

    def test_locks_and_a_flatten_under_way_are_told(self) -> None:
        self.account.lock("lunch", "jane", None)
        plan = Flattening(
            action=Action.CLOSE_ALL_POSITIONS, rule_id="RULE-001", reason="Too many", begun=NOW
        )
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state, risk=RiskState(flattening=plan)
        )
        account = self.ask(StatusCommand).accounts[0]
        self.assertEqual([lock.reason for lock in account.locks], ["lunch"])
        self.assertEqual((account.flattening.reason, account.flattening.begun), ("Too many", NOW))

    def test_an_answer_may_be_larger_than_an_entry_of_a_box(self) -> None:
        for number in range(2000):
            self.account.learn(order(number))
        report = self.ask(StatusCommand)
        self.assertGreater(len(encode_report(report)), 3 * 65535)
        self.assertEqual(len(report.accounts[0].orders), 2000)


class RulesTests(DoorTestCase):
    def rules(self, *gauges: Callable[..., Any]) -> Any:
        self.account.rules = tuple(
            a_rule(f"RULE-{number}", gauge) for number, gauge in enumerate(gauges)
        )
        return self.ask(RulesCommand, Request(account=123)).rules

    def test_headroom_is_what_is_left(self) -> None:
        gauge = Gauge(name="daily loss", limit=Decimal(500), current=Decimal("120.50"), unit="$")
        (rule,) = self.rules(lambda *_: (gauge,))
        (told,) = rule.gauges
        self.assertEqual((rule.rule_id, told.name, told.unit), ("RULE-0", "daily loss", "$"))
        self.assertEqual(told.headroom, Decimal("379.50"))

    def test_without_a_number_there_is_no_headroom(self) -> None:
        (rule,) = self.rules(lambda *_: (Gauge(name="broker", words="granted"),))
        self.assertEqual((rule.gauges[0].headroom, rule.gauges[0].words), (None, "granted"))

    def test_a_rule_that_raises_hides_no_other(self) -> None:
        broken, sound = self.rules(lambda *_: 1 / 0, lambda *_: ())
        self.assertEqual(broken.trouble, "ZeroDivisionError: division by zero")
        self.assertEqual((sound.rule_id, sound.trouble), ("RULE-1", ""))

    def test_a_rule_that_says_nonsense_hides_no_other(self) -> None:
        broken, *_ = self.rules(lambda *_: (Gauge(name="x", limit=Decimal("NaN")),), lambda *_: ())
        self.assertIn("NaN", broken.trouble)

    def test_an_unknown_account_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(RulesCommand, Request(account=99)),
            "riskd does not follow account 99, but 123, 456",
        )


class ActingTests(DoorTestCase):
    def test_it_is_done_in_the_name_that_the_system_gives(self) -> None:
        self.ask(FlattenCommand, Request(account=123, reason="enough"))
        self.assertEqual(self.account.done, [("flatten", "enough", "jane")])

    def test_lock_and_unlock(self) -> None:
        end = NOW + timedelta(minutes=5)
        locked = self.ask(LockCommand, Request(account=123, reason="lunch", until=end))
        self.assertEqual((locked.was_locked, locked.account.locks[0].locked_until), (False, end))
        unlocked = self.ask(UnlockCommand, Request(account=123, reason="back"))
        self.assertEqual((unlocked.was_locked, unlocked.account.locks), (True, ()))
        again = self.ask(UnlockCommand, Request(account=123, reason="back"))
        self.assertFalse(again.was_locked)
        self.assertEqual(self.account.done[0], ("lock", "lunch", "jane", end))

    def test_the_answer_waits_for_the_disk(self) -> None:
        self.daemon.on_disk = Deferred()
        asked = self.begin(LockCommand, Request(account=123, reason="lunch"))
        self.assertNoResult(asked)
        self.daemon.on_disk.callback(None)
        self.pump.flush()
        self.successResultOf(asked)

    def test_a_blank_reason_is_refused(self) -> None:
        for command in (LockCommand, UnlockCommand, FlattenCommand):
            self.assertEqual(
                self.refusal(command, Request(account=123, reason=" \n")), "a reason is missing"
            )
        self.assertEqual(self.account.done, [])

    def test_an_unknown_account_is_refused(self) -> None:
        for command in (LockCommand, UnlockCommand, FlattenCommand):
            self.assertIn("99", self.refusal(command, Request(account=99, reason="x")))

    def test_a_reason_is_one_line_of_bounded_length(self) -> None:
        self.ask(FlattenCommand, Request(account=123, reason="a\nb\x1b[2J" + "c" * 500))
        _, reason, _ = self.account.done[0]
        self.assertTrue(str(reason).startswith("a b?[2Jccc"))
        self.assertEqual((len(str(reason)), str(reason)[-1]), (MAX_REASON, "…"))

    def test_in_a_dry_run_nothing_is_closed_or_locked(self) -> None:
        self.daemon.enforces = False
        for command in (LockCommand, FlattenCommand):
            self.assertEqual(
                self.refusal(command, Request(account=123, reason="x")),
                "this is a dry run (enforce = false): riskd closes, cancels and locks nothing",
            )
        self.assertEqual(self.account.done, [])
        self.ask(UnlockCommand, Request(account=123, reason="x"))
        self.assertEqual(self.account.done, [("unlock", "x", "jane")])

    def test_a_lock_must_end_later(self) -> None:
        self.assertEqual(
            self.refusal(LockCommand, Request(account=123, reason="x", until=NOW)),
            "the lock would end before it begins",
        )

    def test_nothing_is_done_before_the_daemon_knows_what_was(self) -> None:
        self.daemon.is_recovered = False
        self.assertIn("journal", self.refusal(UnlockCommand, Request(account=123, reason="x")))
        self.assertEqual(self.account.done, [])
        self.ask(StatusCommand)


class BadClientTests(DoorTestCase):
    def raw(self, **entries: bytes) -> Deferred[Any]:
        """Send a box as it is."""
        client, pump = self.enter()
        boxed = {name.encode(): entry for name, entry in entries.items()}
        return self.sent(client._sendBoxCommand(b"LockCommand", AmpBox(boxed)), pump)

    def test_what_is_no_json_is_refused_in_a_sentence(self) -> None:
        for text in (
            b"{",
            b"\xff",
            b"[]",
            b'{"account": "x"}',
            b'{"account": 1, "until": "2026"}',
        ):
            error = self.failureResultOf(self.raw(request=text), RemoteAmpError).value
            self.assertEqual(error.errorCode, b"REFUSED")
            self.assertIn("the request cannot be read", error.description)

    def test_a_missing_request_is_refused(self) -> None:
        self.failureResultOf(self.raw(), RemoteAmpError)

    def test_an_unknown_command_is_refused(self) -> None:
        client, pump = self.enter()
        asked = self.sent(client.callRemoteString(b"Nonsense"), pump)
        self.failureResultOf(asked, UnhandledCommand)

    def test_nobody_stays_idle(self) -> None:
        self.enter()
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual(self.factory.connections, set())

    def test_a_request_may_not_dribble_in(self) -> None:
        client, pump = self.enter()
        for _ in range(5):
            client.transport.write(b"\x00\x01")
            pump.flush()
            self.clock.advance(IDLE_SECONDS / 5)
        self.assertEqual(self.factory.connections, set())

    def test_a_box_may_not_grow_for_ever(self) -> None:
        client, pump = self.enter()
        for number in range(200):
            client.transport.write(b"\x00\x03%03d\x03\xff%s" % (number, bytes(0x3FF)))
            pump.flush()
        self.assertEqual(self.factory.connections, set())

    def test_only_requests_are_taken(self) -> None:
        for box in (AmpBox(_answer=b"1"), AmpBox(_error=b"1"), AmpBox(x=b"1")):
            client, pump = self.enter()
            client.transport.write(box.serialize())
            pump.flush()
            self.assertEqual(self.factory.connections, set())

    def test_there_is_no_changing_to_tls(self) -> None:
        client, pump = self.enter()
        asked = self.sent(client.callRemoteString(b"StartTLS"), pump)
        self.failureResultOf(asked, UnhandledCommand)

    def test_a_connection_makes_few_requests(self) -> None:
        client, pump = self.enter()
        asked = [client.callRemote(StatusCommand) for _ in range(MAX_REQUESTS + 1)]
        asked[-1].addErrback(lambda _: None)
        pump.flush()
        self.successResultOf(asked[MAX_REQUESTS - 1])
        self.assertEqual(self.factory.connections, set())

    def test_there_are_few_connections(self) -> None:
        for _ in range(MAX_CONNECTIONS):
            self.enter()
        self.assertIsNone(self.factory.buildProtocol(None))
        self.clock.advance(IDLE_SECONDS)
        self.enter()

    def test_a_client_that_is_gone_leaves_nothing(self) -> None:
        client, pump = self.enter()
        client.transport.loseConnection()
        pump.flush()
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class JsonTests(SynchronousTestCase):
    def test_it_takes_as_many_entries_as_it_needs(self) -> None:
        request = Request(account=1, reason="x" * 150_000)
        box = AmpBox()
        Json(Request).toBox(b"request", box, {"request": request}, None)
        self.assertEqual(list(box), [b"request", b"request-1", b"request-2"])
        objects: dict[str, Any] = {}
        Json(Request).fromBox(b"request", AmpBox.copy(box), objects, None)
        self.assertEqual(objects["request"], request)


class FakeSocket:
    def __init__(self, answer: bytes | OSError) -> None:
        self._answer = answer

    def getsockopt(self, *_arguments: int) -> bytes:
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer


class PeerTests(SynchronousTestCase):
    def uid(self, platform: str, answer: bytes | OSError) -> int | None:
        self.patch(control.sys, "platform", platform)
        connection: Any = FakeSocket(answer)
        return control.peer_uid(connection)

    def test_linux(self) -> None:
        self.patch(socket, "SO_PEERCRED", 17)
        self.assertEqual(self.uid("linux", struct.pack("iII", 4711, 1000, 100)), 1000)

    def test_darwin(self) -> None:
        self.assertEqual(self.uid("darwin", struct.pack("IIh", 0, 501, 1) + bytes(66)), 501)
        self.assertIsNone(self.uid("darwin", struct.pack("IIh", 1, 501, 1) + bytes(66)))

    def test_nobody_can_say(self) -> None:
        self.assertIsNone(self.uid("plan9", b""))
        self.assertIsNone(self.uid("linux", OSError("no such option")))

    def test_names(self) -> None:
        self.assertEqual(user_name(0), "root")
        self.assertEqual(user_name(4_000_000), "uid 4000000")

    def test_one_whom_nobody_knows_has_no_name(self) -> None:
        transport: Any = type("Transport", (), {"getHandle": lambda _self: FakeSocket(OSError())})
        self.assertEqual(control.operator_of(transport()), UNKNOWN_OPERATOR)


class ServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactor()
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / SOCKET_NAME
        self.troubles: list[tuple[str, str]] = []

    def start(self) -> ControlService:
        factory = ControlFactory(Clock(), FakeDaemon(123), lambda: NOW)
        service = ControlService(
            self.reactor, self.path, factory, lambda *told: self.troubles.append(told)
        )
        service.startService()
        return service

    def test_it_listens_for_its_owner_alone(self) -> None:
        umasks: list[int] = []

        def listen(*_arguments: Any, mode: int) -> Any:
            umasks.append(os.umask(0o177))
            self.assertEqual(mode, 0o600)

        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        self.patch(self.reactor, "listenUNIX", listen)
        self.start()
        self.assertEqual(umasks, [0o177])
        self.assertEqual(os.umask(0o022), 0o022)

    def test_something_else_in_its_place_is_left_alone(self) -> None:
        self.path.write_text("mine")
        self.start()
        ((name, sentence),) = self.troubles
        self.assertEqual(name, "control")
        self.assertIn("something else is there", sentence)
        self.assertEqual(self.path.read_text(), "mine")

    def test_a_path_that_is_too_long_is_told_and_the_daemon_goes_on(self) -> None:
        self.path = Path("/") / ("x" * MAX_PATH_BYTES)
        service = self.start()
        ((_, sentence),) = self.troubles
        self.assertIn(f"{MAX_PATH_BYTES + 1} bytes long", sentence)
        self.successResultOf(service.stopService())

    def test_a_system_that_refuses_is_told(self) -> None:
        def refuse(*_arguments: Any, **_options: Any) -> Any:
            raise CannotListenError(None, self.path, OSError(13, "Permission denied"))

        self.patch(self.reactor, "listenUNIX", refuse)
        self.start()
        self.assertIn("Permission denied", self.troubles[0][1])

    def test_a_socket_that_somebody_removed_is_no_trouble_at_the_end(self) -> None:
        def gone() -> None:
            raise FileNotFoundError

        port = type("Port", (), {"stopListening": staticmethod(gone)})
        self.patch(self.reactor, "listenUNIX", lambda *_a, **_k: port())
        self.successResultOf(self.start().stopService())


def position() -> GatewayUserPosition:
    return GatewayUserPosition(
        id=1,
        contract_id=MNQ,
        type=PositionType.LONG,
        size=2,
        average_price=Decimal("21000.00"),
        created_at=NOW,
        updated_at=NOW,
    )


def order(number: int) -> GatewayUserOrder:
    return GatewayUserOrder(
        id=number,
        contract_id=MNQ,
        type=OrderType.STOP,
        side=OrderSide.SELL,
        size=2,
        limit_price=None,
        stop_price=Decimal("20990.00"),
        state=OrderState.ACTIVE,
        created_at=NOW,
        updated_at=NOW,
    )
