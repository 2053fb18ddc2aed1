"""News of a desk: whose it is, and what is no news."""

from __future__ import annotations

from typing import Any

from riskd.journal.gateway_identity import DESK
from riskd.journal.reader import Snapshot
from riskd.model.account import AccountState, apply
from riskd.model.events import Event
from riskd.testing import make_event
from tests.support.console import BEGIN, at
from tests.support.watcher import WatcherTestCase
from trader.alerts.alert import Kind
from trader.alerts.desk_watch import LAG_SECONDS

RUNS = "RUNNING"
LOST = "LINK LOST since Nov 30 12:00:{} UTC: anna (accounts 1, 2); no heartbeat comes. Its figures are of then"
GONE = "DAEMON GONE since Nov 30 12:00:00 UTC: riskd of anna (accounts 1, 2) does not run and enforces no limit"
LAGS = "LAGGING since Nov 30 12:00:00 UTC: events of anna (accounts 1, 2) are late; its figures may be old"
WAITS = (
    "Waiting for the first heartbeat of anna (accounts 1, 2); its figures are the last known ones"
)


def status(message: str, value: str = "ERROR") -> Event:
    return make_event("daemon_status", {"status": value, "message": message, "timestamp": at(0)})


class DeskTestCase(WatcherTestCase):
    """Accounts 1 and 2 are anna's, and 3 is ben's."""

    def setUp(self) -> None:
        super().setUp()
        self.followed.origin = (DESK, "")
        self.of_anna, self.of_ben = status("anna: In step", RUNS), status("ben: In step", RUNS)
        self.publish_desk(1, 2, 3)
        self.connect()
        self.first = list(self.sent)
        self.sent.clear()

    def publish_desk(self, *accounts: int) -> None:
        states = {
            each: apply(AccountState(account_id=each), self.of_ben if each == 3 else self.of_anna)
            for each in accounts
        }
        self.followed.file._replace(Snapshot(accounts=states, as_of=BEGIN, gateway_name=DESK))

    def say(
        self, said: Event, *, of_ben: bool = False, accounts: tuple[int, ...] = (1, 2, 3)
    ) -> None:
        """Let the relay publish a status, and broadcast it."""
        if of_ben:
            self.of_ben = said
        else:
            self.of_anna = said
        self.publish_desk(*accounts)
        self.receive(said)

    def texts(self) -> list[str]:
        found = [alert.fields["text"] for alert in self.sent]
        self.sent.clear()
        return found

    def of(self, field: str) -> list[Any]:
        return [alert.fields[field] for alert in self.sent]


class LinkTests(DeskTestCase):
    """Links and daemons."""

    def test_a_lost_link_is_news_of_its_accounts_and_its_end_too(self) -> None:
        self.say(status(LOST.format("00")))
        (alert,) = self.sent
        self.assertEqual((alert.kind, alert.headline), (Kind.ERROR, "A link is LOST"))
        self.assertEqual(alert.fields["account"], "1, 2")
        (text,) = self.texts()
        self.assertEqual(text, f"{LOST.format('00')}. Whether riskd enforces there is not known")
        # The same after a restart of the relay, by another clock, and for another reason.
        self.say(status(LOST.format("01").replace("no heartbeat comes", "no server")))
        self.assertEqual(self.texts(), [])
        self.say(status("anna: In step", RUNS))
        self.assertEqual([each.kind for each in self.sent], [Kind.RUNNING])
        self.assertEqual(self.texts(), ["RUNNING again (accounts 1, 2): anna: In step"])
        self.say(status(LOST.format("59")))
        self.assertEqual(len(self.texts()), 1)

    def test_the_return_of_one_is_news_while_another_is_lost(self) -> None:
        self.say(status(LOST.format("00")))
        lost = LOST.format("10").replace("anna (accounts 1, 2)", "ben (account 3)")
        self.say(status(lost), of_ben=True)
        self.assertEqual(self.of("account"), ["1, 2", "3"])
        self.sent.clear()
        # The stream says no RUNNING while another link is lost; the copy does.
        self.of_anna = status("anna: In step", RUNS)
        self.publish_desk(1, 2, 3)
        self.receive(self.of_ben)
        self.assertEqual(self.texts(), ["RUNNING again (accounts 1, 2): anna: In step"])

    def test_a_daemon_that_is_gone_is_told_apart(self) -> None:
        self.say(status(GONE))
        self.assertEqual([each.kind for each in self.sent], [Kind.GONE])
        self.assertEqual(self.texts(), [GONE])
        self.clock.advance(12)
        self.say(status("anna: In step", RUNS))
        self.assertEqual([each.kind for each in self.sent], [Kind.BACK])
        self.assertEqual(
            self.texts(), ["riskd is back, after 12 s (accounts 1, 2): anna: In step"]
        )

    def test_an_error_of_a_daemon_is_that_of_its_accounts(self) -> None:
        self.say(status("ben: No prices"), of_ben=True)
        self.assertEqual(self.of("account"), ["3"])
        self.assertEqual(self.texts(), ["ERROR at the desk: ben: No prices"])

    def test_to_wait_is_no_news_and_to_lag_only_when_it_lasts(self) -> None:
        self.say(status(WAITS))
        self.say(status(LAGS))
        self.clock.advance(LAG_SECONDS - 1)
        self.watcher._tick()
        self.assertEqual(self.texts(), [])
        self.clock.advance(1)
        self.watcher._tick()
        self.watcher._tick()
        self.assertEqual(self.texts(), [f"ERROR at the desk: {LAGS}"])

    def test_what_is_wrong_at_the_start_is_news(self) -> None:
        self.of_anna = status(GONE)
        self.begin()
        self.publish_desk(1, 2, 3)
        self.connect()
        self.assertEqual([each.kind for each in self.sent].count(Kind.GONE), 1)

    def test_what_concerns_no_chosen_account_is_no_news(self) -> None:
        self.begin(3)
        self.connect()
        self.sent.clear()
        self.say(status(LOST.format("00")))
        self.assertEqual(self.sent, [])


class AccountTests(DeskTestCase):
    """Whose accounts there are."""

    def test_an_alert_of_an_account_names_its_trader(self) -> None:
        lock = make_event("lockout_set", {"locked_at": at(1)})
        self.receive(Event(2, lock.data))
        self.assertEqual((self.of("account"), self.of("gateway")), (["2"], ["desk, anna"]))
        self.assertEqual([each.fields["gateway"] for each in self.first][2], "desk, ben")

    def test_a_trader_who_joins_is_watched_and_one_who_has_left_is_not(self) -> None:
        self.say(self.of_anna, accounts=(1, 2, 3, 4))
        self.assertEqual(
            (self.of("account"), [each.kind for each in self.sent]), (["4"], [Kind.STARTED])
        )
        self.sent.clear()
        self.say(self.of_anna, accounts=(1, 2))
        self.assertEqual((self.sent, list(self.watcher._sessions)), ([], [1, 2]))

    def test_a_hundred_accounts_are_read_together(self) -> None:
        self.say(self.of_anna, accounts=tuple(range(100)))
        self.followed.file.reads = 0
        self.say(status("anna: No prices"), accounts=tuple(range(100)))
        self.assertLess(self.followed.file.reads, 5)


class RelayTests(DeskTestCase):
    """The relay itself."""

    def test_a_relay_that_is_gone_is_no_riskd_that_is_gone(self) -> None:
        self.lose("lost connection to daemon")
        self.clock.advance(3)
        self.connect()
        self.assertEqual(
            [each.headline for each in self.sent], ["The relay is GONE", "The relay is back"]
        )
        gone, back = self.texts()
        self.assertEqual(
            gone,
            "The relay is GONE: lost connection to daemon. Each riskd enforces on its own, and nobody sees that here "
            "until the relay is back",
        )
        self.assertEqual(back, "The relay is back, after 3 s")

    def test_an_error_of_the_relay_is_its_own(self) -> None:
        self.receive(status("The relay: the state file cannot be written"))
        self.receive(self.of_ben)
        self.assertEqual(
            self.texts(),
            [
                "The relay has an ERROR: the state file cannot be written",
                "The relay's error has ended: ben: In step",
            ],
        )

    def test_all_is_well_while_one_riskd_is_heard(self) -> None:
        self.clock.advance(5)
        self.assertEqual(self.watcher.trouble(), "the offset of this machine's clock is not known")
        for of_ben, expected in (
            (False, "the offset of this machine's clock is not known"),
            (True, "no riskd of the desk is RUNNING"),
        ):
            self.say(status("x: No prices"), of_ben=of_ben)
            self.assertEqual(self.watcher.trouble(), expected)
