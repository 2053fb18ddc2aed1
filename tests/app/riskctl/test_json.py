"""What ``--json`` writes is what docs/riskctl.md says, field by field and type by type."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.main import main
from riskd.app.riskctl.replay_tables import compared_days_report
from riskd.model.account import with_risk
from riskd.model.balance import Balance
from riskd.model.commitment import Commitment, Wait
from riskd.model.compared_days import ComparedDay, FirstEnforced
from riskd.model.events import DaemonStatus, LockoutSet, Status
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly
from riskd.model.safe_text import json_text
from riskd.model.unlocks import UNLOCKED, Unlock
from riskd.rules.builtin import maximum_loss
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import Gauge
from tests.support.broker_values import broker_order, broker_position
from tests.support.control import NOW, a_rule
from tests.support.riskctl import AskingTestCase
from tests.support.rules import quote

PAGE = Path(__file__).parents[3] / "docs" / "riskctl.md"

MAPS = {"reasons": "<rule>", "held": "<contract>"}
"""Objects whose keys are data, and what the page has in place of the key."""

_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}


def shape(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and type of each part of a value."""
    if isinstance(value, dict):
        if path and not path.endswith("[]"):
            yield path, "object"
        for key, part in value.items():
            name = MAPS.get(path.rpartition(".")[2], key)
            yield from shape(part, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        yield path, "list"
        for part in value:
            yield from shape(part, f"{path}[]")
    else:
        yield path, "false" if value is False and path in _FALSE else _TYPES[type(value)]


_FALSE = {
    "accounts[].flattening",
    "accounts[].reduce_only",
    "accounts[].floor",
    "days[].enforced_first[].action",
}
"""What is an object, or false."""


def documented(command: str) -> set[tuple[str, str]]:
    """Return the paths and types in the page's table for a command."""
    section = PAGE.read_text().split(f"### `{command}`\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([a-z, ]+) \|", section, re.MULTILINE)
    return {(path, kind) for path, kinds in rows for kind in kinds.split(", ")}


class ShapeTestCase(SynchronousTestCase):
    def assert_documented(self, command: str, outputs: Iterable[str]) -> None:
        """Assert that the page has each field and type of the outputs, and no other."""
        written = {each for output in outputs for each in shape(json.loads(output))}
        page = documented(command)
        self.assertEqual(sorted(written - page), [], "not on the page")
        self.assertEqual(sorted(page - written), [], "not written")


class StatusAndRulesTests(ShapeTestCase, AskingTestCase):
    def hold(self, **parts: Any) -> None:
        self.account.account_state = msgspec.structs.replace(self.account.account_state, **parts)

    def everything(self) -> None:
        """Let the account have one of each thing, with and without figures."""
        self.account.rules = (RuleInForce(maximum_loss.RULE, maximum_loss.Settings()),)
        self.hold(
            balance=Balance(
                agreed=Decimal("50000.25"), first=Decimal(50000), other=Decimal(49000)
            ),
            limits={
                UNLOCKED: Unlock(at=NOW, beyond=("RULE-007",)).limit,
                **Commitment(
                    loosen_after="8h",
                    waits=tuple(
                        Wait(name="unlock", old="", asked_at=NOW, until=until)
                        for until in (None, NOW)
                    ),
                ).limits,
                REDUCE_ONLY: ReduceOnly(since=NOW, reasons={"R": "x"}, held={"MNQ": 2}).limit,
            },
        )
        for locked_until in (None, NOW.replace(year=9999)):
            self.account.apply(
                LockoutSet(
                    reason="x",
                    locked_until=locked_until,
                    rule_id="R-1" if locked_until else "R-2",
                    locked_at=NOW,
                )
            )
        self.account.apply(DaemonStatus(status=Status.RUNNING, message="x", timestamp=NOW))
        for price in (Decimal(1), None):
            self.account.apply(
                broker_order(id=1 if price else 2, limit_price=price, stop_price=price)
            )

    def outputs(self, *arguments: str) -> Iterator[str]:
        """Yield what a command writes of many states of the daemon."""
        yield self.ask(*arguments)
        self.daemon.clock_offset = None
        self.daemon.is_recovered = self.account.is_reported = False
        yield self.ask(*arguments)
        self.everything()
        yield self.ask(*arguments)
        self.account.is_reported = True
        yield self.ask(*arguments)
        self.account.begin_flatten()
        held = broker_position(size=2)
        self.account.apply(held)
        yield self.ask(*arguments)
        self.account.apply(quote(held.contract_id, "21010", 60).data)
        state = self.account.account_state
        self.account.account_state = with_risk(state, can_trade=True)
        yield self.ask(*arguments)
        self.hold(balance=Balance())
        yield self.ask(*arguments)

    def test_status(self) -> None:
        self.assert_documented("status --json", self.outputs("status", "--json"))

    def test_rules(self) -> None:
        numbers = Gauge(
            name="loss", limit=Decimal(500), current=Decimal("1.5"), unit="$", floor=Decimal(1)
        )
        gauges = (numbers, Gauge(name="symbols", words="MCL"))
        self.account.rules = (a_rule("RULE-1", lambda *_: gauges),)
        self.assert_documented("rules --json", [self.ask("rules", "123", "--json")])

    def test_a_state_is_never_null(self) -> None:
        """Of a daemon that has just been started and knows nothing yet."""
        self.account.is_reported = False
        report = json.loads(self.ask("status", "--json"))
        self.assertEqual(report["daemon"]["status"], "STARTING")
        (account,) = report["accounts"]
        for part in ("flattening", "reduce_only", "floor"):
            self.assertIs(account[part], False)
        self.account.rules = (RuleInForce(maximum_loss.RULE, maximum_loss.Settings()),)
        (account,) = json.loads(self.ask("status", "--json"))["accounts"]
        self.assertEqual(account["floor"]["source"], "unknown")

    def test_what_the_broker_has_not_reported_is_unknown_and_not_zero(self) -> None:
        self.everything()
        gauge = Gauge(name="loss", limit=Decimal(500), current=Decimal(0), unit="$")
        self.account.rules = (a_rule("RULE-1", lambda *_: (gauge,)),)
        self.account.is_reported = False
        (account,) = json.loads(self.ask("status", "--json"))["accounts"]
        for figure in ("realized_pnl", "open_pnl", "net_pnl", "balance", "equity", "trades"):
            self.assertIsNone(account[figure], figure)
        row = next(line for line in self.ask("status").splitlines() if line[:7].strip() == "123")
        self.assertEqual(row.split()[1:9], ["-"] * 8)
        self.assertNotIn("$0.00", self.ask("rules", "123"))
        self.assertRegex(self.ask("rules", "123"), r"\$500.00 +- +-")
        self.account.is_reported = True
        self.assertIn("$0.00", self.ask("rules", "123"))

    def test_locks_are_unknown_before_the_journal_was_read(self) -> None:
        for is_recovered, locked in ((False, "-"), (True, "no")):
            self.daemon.is_recovered = is_recovered
            text = self.ask("status")
            row = next(line for line in text.splitlines() if line[:7].strip() == "123")
            self.assertEqual(row.split()[-1], locked)
            self.assertEqual("journal: not read yet" in text, not is_recovered)
        self.daemon.is_recovered = False
        self.account.lock("lunch", "jane", None)
        self.assertIn("until it is unlocked", self.ask("status"))

    def test_rules_that_are_not_on_the_disk_say_so(self) -> None:
        self.daemon.on_disk = succeed("full")
        self.assertIn("NOT ON THE DISK (full): if riskd ends now", self.ask("rules", "123"))

    def test_rules_of_a_daemon_in_trouble_say_so(self) -> None:
        for status in (Status.RUNNING, Status.ERROR):
            self.account.apply(DaemonStatus(status=status, message="No feed", timestamp=NOW))
            is_said = "figures may be old: No feed" in self.ask("rules", "123")
            self.assertEqual(is_said, status is Status.ERROR)


class OfflineTests(ShapeTestCase):
    def run_main(self, *arguments: str) -> str:
        with redirect_stdout(io.StringIO()) as out:
            self.assertEqual(main(arguments), 0)
        return out.getvalue()

    def test_presets(self) -> None:
        self.assert_documented("presets --json", [self.run_main("presets", "--json")])
        one = self.run_main("presets", "topstep-50k", "--json")
        whole = {path for path, _ in documented("presets --json")}
        self.assertLessEqual({f"presets[].{path}" for path, _ in shape(json.loads(one))}, whole)

    def test_replay(self) -> None:
        first = FirstEnforced(at=NOW, rule_id="R", reason="x", net_pnl=Decimal("-1.5"))
        day = ComparedDay(
            day=NOW.date(), account=123, net_pnl=Decimal("-2.5"), first={0: first, 1: None}
        )
        report = json_text(compared_days_report([day], ["a.toml", "b.toml"]))
        self.assert_documented("replay --json", [report])
