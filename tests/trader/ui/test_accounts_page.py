"""The table of all accounts, drawn from rows."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from tests.support.console import BEGIN
from trader.model.account_row import AccountList, AccountRow, Standing
from trader.model.limit_usage import LimitUsage
from trader.model.ui_state import UiState
from trader.model.view import Source, View
from trader.ui.accounts_page import accounts_body
from trader.ui.pages import visible
from trader.ui.screen import compose_all
from trader.ui.styled_text import StyledLine, length, text_of

SIZES = ((60, 14), (80, 24), (120, 40), (200, 60))


def row(account_id: int = 1, **fields: object) -> AccountRow:
    known: dict[str, object] = {
        "source": Source.LIVE,
        "is_current": True,
        "known_at": BEGIN,
        "net_pnl": Decimal(5),
        "open_pnl": Decimal(0),
        "contracts": 0,
        "standing": Standing.FREE,
        **fields,
    }
    return AccountRow(account_id=account_id, **known)  # type: ignore[arg-type]


class AccountsPageTests(SynchronousTestCase):
    """What is on the screen at each size."""

    def lines(
        self, *rows: AccountRow, columns: int = 80, height: int = 24, **choices: object
    ) -> list[StyledLine]:
        link = View(account=AccountState(account_id=0), source=Source.LIVE)
        ui_state = UiState(is_all=True, **choices)  # type: ignore[arg-type]
        return compose_all(AccountList(link=link, rows=rows), ui_state, BEGIN, columns, height)

    def shown(self, *rows: AccountRow, columns: int = 80, **choices: object) -> str:
        return "\n".join(map(text_of, self.lines(*rows, columns=columns, **choices)))

    def test_a_name_that_is_too_long_ends_with_an_ellipsis_and_is_whole_below(self) -> None:
        name = "Evaluation 150K, second try, copied from the first"
        for columns, height in SIZES:
            shown = self.shown(row(name=name), columns=columns, height=height)
            table = next(line for line in shown.splitlines() if line.startswith("> "))
            self.assertIn("Evaluation", table)
            self.assertIn("…", table)
        self.assertIn(f"{name} (account 1)", self.shown(row(name=name), columns=120))

    def test_what_is_unknown_is_a_dash_and_no_zero(self) -> None:
        unknown = row(
            net_pnl=None, open_pnl=None, contracts=None, standing=Standing.UNKNOWN, why="no file"
        )
        for columns, height in SIZES:
            shown = self.shown(unknown, columns=columns, height=height)
            table = next(line for line in shown.splitlines() if line.startswith("> "))
            # The age alone is known.
            self.assertNotIn("0", table.replace(" 0 s", ""))
            self.assertIn("- no file", shown)

    def test_the_nearest_limit_is_named_in_its_row_from_120_columns_on(self) -> None:
        for name in ("net daily loss", "realized loss after fees", "entries and exits, week"):
            nearest = LimitUsage(
                rule_id="RULE-003", name=name, limit=Decimal(500), current=Decimal(400), unit="$"
            )
            for columns in (120, 143, 145, 182, 200):
                shown = self.shown(row(4417003, nearest=nearest), columns=columns)
                table = next(line for line in shown.splitlines() if line.startswith("> "))
                self.assertRegex(table, f"█+░+ +80 % {name} ")
                self.assertIn("4417003", table)

    @given(st.decimals(-(10**9), 10**9, places=2))
    def test_an_amount_is_never_cut(self, amount: Decimal) -> None:
        for columns, height in SIZES:
            shown = self.shown(row(net_pnl=amount), columns=columns, height=height)
            table = next(line for line in shown.splitlines() if line.startswith("> "))
            figures = f"{abs(amount):,.2f}"
            is_there = figures in table or figures[:-3] in table
            self.assertTrue(is_there or "too much" in table, table)
            self.assertNotIn("…", table)

    def test_only_what_needs_no_color_tells_the_states_apart(self) -> None:
        words = {
            text_of(line).split()[2]
            for standing in Standing
            for line in self.lines(row(standing=standing), columns=80)
            if text_of(line).startswith("> ")
        }
        self.assertGreaterEqual(len(words), len(Standing) - 1)

    def test_the_states_are_counted_the_gravest_first(self) -> None:
        standings = (*Standing, Standing.FREE)
        rows = [
            row(number, standing=standing, is_guarded=standing is not Standing.NOT_GUARDED)
            for number, standing in enumerate(standings)
        ]
        counts = text_of(self.lines(*rows, columns=120)[1])
        self.assertEqual(
            counts.split(),
            [
                "1",
                "NOT",
                "GUARDED",
                "1",
                "LOCKED",
                "1",
                "COOLDOWN",
                "1",
                "LINK",
                "LOST",
                "1",
                "NO",
                "STOP",
                "1",
                "REDUCE",
                "ONLY",
                "1",
                "NEAR",
                "2",
                "free",
                "1",
                "unknown",
            ],
        )

    def test_a_locked_account_that_is_not_guarded_counts_for_both(self) -> None:
        rows = [row(n, standing=Standing.LOCKED, is_guarded=False) for n in range(3)]
        counts = text_of(self.lines(*rows, columns=120)[1])
        self.assertEqual(counts.split(), ["3", "NOT", "GUARDED", "3", "LOCKED"])

    def test_without_a_connection_what_may_have_changed_is_past(self) -> None:
        rows = [
            row(number, standing=standing, source=Source.LAST_KNOWN)
            for number, standing in enumerate((Standing.FREE, Standing.FREE, Standing.NEAR))
        ]
        line = self.lines(*rows, row(9, standing=Standing.LOCKED, source=Source.LAST_KNOWN))[1]
        self.assertEqual(text_of(line).split(), ["1", "LOCKED", "were:", "1", "NEAR", "2", "free"])
        self.assertEqual({style for style, text in line if "free" in text}, {"dim"})

    def test_a_live_account_without_data_of_the_broker_has_no_age(self) -> None:
        shown = self.shown(row(is_current=False), columns=120)
        self.assertIn("NO DATA", shown)
        self.assertIn("no data of the broker yet", shown)
        self.assertNotIn("LIVE 0 s", shown)

    def test_where_room_is_short_clauses_are_left_out_whole(self) -> None:
        for net in ("-1012.00", "123456.78"):
            shown = self.shown(row(net_pnl=Decimal(net), contracts=3), columns=60, height=14)
            last = shown.splitlines()[-2]
            self.assertIn("3 contracts", last)
            self.assertNotIn("…", last)

    @given(st.integers(1, 300), st.data())
    def test_the_selected_row_is_in_sight_and_no_row_is_twice(
        self, count: int, data: st.DataObject
    ) -> None:
        selected, height = data.draw(st.integers(0, count - 1)), data.draw(st.integers(1, 60))
        shown = visible(selected, count, height)
        first = shown.start
        self.assertTrue(first <= selected < first + height)
        self.assertIn(selected, shown)
        self.assertLessEqual(len(shown), height)
        self.assertTrue(first == 0 or first + height <= count)

    @given(st.integers(60, 220), st.integers(14, 70), st.integers(0, 60))
    def test_the_screen_is_filled_exactly(self, columns: int, height: int, count: int) -> None:
        rows = [row(number, name=f"Account {number}") for number in range(count)]
        lines = self.lines(*rows, columns=columns, height=height, account=count // 2)
        self.assertEqual(len(lines), height)
        self.assertLessEqual(max(map(length, lines)), columns)

    def test_a_screen_that_is_too_small_shows_no_figures(self) -> None:
        shown = self.shown(row(net_pnl=Decimal(77)), columns=59, height=14)
        self.assertIn("59x14 is too small", shown)
        self.assertNotIn("77", shown)

    def test_without_accounts_the_reason_stands_there(self) -> None:
        link = View(account=AccountState(account_id=0))
        listed = AccountList(link=link, problem="no last known state")
        lines = accounts_body(listed, UiState(is_all=True), BEGIN, 80, 20).lines
        self.assertIn("no last known state", text_of(lines[-1]))
