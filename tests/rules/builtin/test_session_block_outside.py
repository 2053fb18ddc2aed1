"""RULE-009: the hours in which an account may trade."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.events import Event, GatewayUserPosition, OrderType
from riskd.rules.builtin.session_block_outside import Settings, check, gauges
from riskd.rules.holidays import cme_holidays
from riskd.rules.interface import Flatten, Kind, Lock, RejectOrder, RuleResult, Trigger
from tests.support.rules import (
    BUY,
    ES,
    ES_DEC,
    MNQ,
    RESET,
    SELL,
    UNKNOWN,
    contracts_kept,
    order,
    position,
    settings_of,
    state_after,
    trigger_of,
)

CHICAGO = ZoneInfo("America/Chicago")
DAY = Settings()
OVERNIGHT = settings_of(Settings, allowed_hours={"start": "18:00", "end": "17:00"})
ES_AT_NIGHT = {"ES": {"start": "18:00", "end": "08:00"}}


def chicago(text: str) -> datetime:
    """Return a time by Chicago's clocks, such as ``2025-07-18 15:00``."""
    return datetime.fromisoformat(text).replace(tzinfo=CHICAGO).astimezone(UTC)


def opened(contract_id: str, moment: datetime, size: int = 1) -> Event:
    event = position(contract_id, size)
    assert isinstance(event.data, GatewayUserPosition)
    data = msgspec.structs.replace(event.data, created_at=moment, updated_at=moment)
    return msgspec.structs.replace(event, data=data)


def entry(number: int, contract_id: str = MNQ) -> Event:
    return order(number, contract_id, BUY, kind=OrderType.LIMIT)


def checked(
    state: AccountState, settings: Settings, now: datetime, about: Event | None = None
) -> RuleResult:
    if about is None:
        timed = Trigger(kind=Kind.TIMER, now=now, next_reset=RESET)
        return check(state, settings, timed)
    return check(state, settings, msgspec.structs.replace(trigger_of(about), now=now))


def is_open(settings: Settings, moment: datetime) -> bool:
    """Return whether a position may be held, and check that the same is true of an order."""
    held = bool(checked(state_after(opened(MNQ, moment)), settings, moment).commands)
    buy = entry(7)
    ordered = bool(checked(state_after(buy), settings, moment, buy).commands)
    assert held == ordered
    return not held


class HoursTests(SynchronousTestCase):
    """When trading is allowed."""

    def check_table(self, settings: Settings, table: tuple[tuple[str, bool], ...]) -> None:
        for moment, expected in table:
            self.assertEqual(is_open(settings, chicago(moment)), expected, moment)

    def test_the_start_is_inside_and_the_end_is_not(self) -> None:
        self.check_table(
            DAY,
            (
                ("2025-07-17 08:29:59.999", False),
                ("2025-07-17 08:30", True),
                ("2025-07-17 14:59:59.999", True),
                ("2025-07-17 15:00", False),
                ("2025-07-18 10:00", True),
                ("2025-07-19 10:00", False),
                ("2025-07-20 10:00", False),
                ("2025-07-21 10:00", True),
            ),
        )

    def test_overnight_hours(self) -> None:
        self.check_table(
            OVERNIGHT,
            (
                ("2025-07-17 16:59:59", True),
                ("2025-07-17 17:00", False),
                ("2025-07-17 17:59:59", False),
                ("2025-07-17 18:00", True),
                ("2025-07-18 00:00", True),
                ("2025-07-18 15:59:59", True),
                ("2025-07-18 16:00", False),
                ("2025-07-18 18:00", False),
                ("2025-07-19 12:00", False),
                ("2025-07-20 16:59", False),
                ("2025-07-20 17:30", False),
                ("2025-07-20 18:00", True),
                ("2025-07-21 03:00", True),
            ),
        )

    def test_hours_that_start_in_the_weekend_begin_at_its_end(self) -> None:
        settings = settings_of(Settings, allowed_hours={"start": "16:30", "end": "16:00"})
        self.check_table(settings, (("2025-07-20 16:59:59", False), ("2025-07-20 17:00", True)))

    def test_hours_that_start_with_the_weekend_never_open(self) -> None:
        settings = settings_of(Settings, allowed_hours={"start": "16:00", "end": "16:30"})
        self.check_table(settings, (("2025-07-17 16:00", True), ("2025-07-18 16:00", False)))

    def test_a_holiday_belongs_to_the_date_on_which_hours_start(self) -> None:
        holiday = {"holidays": ["2025-07-16"]}
        self.check_table(
            settings_of(Settings, **holiday),
            (
                ("2025-07-15 10:00", True),
                ("2025-07-16 10:00", False),
                ("2025-07-17 10:00", True),
            ),
        )
        hours = {"allowed_hours": {"start": "18:00", "end": "17:00"}}
        self.check_table(
            settings_of(Settings, **hours, **holiday),
            (
                ("2025-07-16 16:59", True),
                ("2025-07-16 18:00", False),
                ("2025-07-17 16:59", False),
                ("2025-07-17 18:00", True),
            ),
        )

    def test_a_holiday_is_a_date_in_the_sessions_zone(self) -> None:
        settings = settings_of(
            Settings,
            allowed_hours={"start": "08:45", "end": "15:15"},
            timezone="Asia/Tokyo",
            holidays=["2025-07-17"],
        )
        self.check_table(
            settings,
            (
                # Thursday morning in Tokyo is Wednesday evening in Chicago.
                ("2025-07-16 19:00", False),
                ("2025-07-17 19:00", True),
                # Monday morning in Tokyo is Sunday evening; Saturday morning, Friday evening.
                ("2025-07-18 19:00", False),
                ("2025-07-20 19:00", True),
            ),
        )

    def test_the_holidays_of_the_exchange_close_it_or_close_it_early(self) -> None:
        nearly_always = {"allowed_hours": {"start": "17:00", "end": "16:00"}}
        settings = settings_of(Settings, holidays="CME", **nearly_always).with_files(str)
        self.check_table(
            settings,
            (
                # Thanksgiving, the day after it, and Christmas.
                ("2026-11-26 11:59", True),
                ("2026-11-26 12:00", False),
                ("2026-11-26 16:59", False),
                ("2026-11-26 17:00", True),
                ("2026-11-27 12:14", True),
                ("2026-11-27 12:15", False),
                ("2026-12-24 12:14", True),
                ("2026-12-24 12:15", False),
                ("2026-12-24 17:00", False),
                ("2026-12-25 15:59", False),
                ("2026-12-27 16:59", False),
                ("2026-12-27 17:00", True),
                # A holiday in the middle of a week.
                ("2025-12-24 17:00", False),
                ("2025-12-25 16:59", False),
                ("2025-12-25 17:00", True),
            ),
        )
        without = settings_of(Settings, **nearly_always).with_files(str)
        self.check_table(without, (("2026-11-26 12:00", True), ("2026-12-24 17:00", True)))

    def test_an_early_close_may_be_within_the_hours(self) -> None:
        hours = {"allowed_hours": {"start": "08:30", "end": "20:00"}}
        settings = settings_of(Settings, holidays="CME", **hours).with_files(str)
        self.check_table(
            settings,
            (
                ("2026-11-26 11:59", True),
                ("2026-11-26 12:00", False),
                ("2026-11-26 17:00", True),
                ("2026-11-26 20:00", False),
            ),
        )
        calendar = settings.calendar(None)
        noon = chicago("2026-11-26 12:00")
        self.assertEqual(calendar.next_start(noon), chicago("2026-11-26 17:00"))
        self.assertEqual(calendar.next_edge(chicago("2026-11-26 09:00")), noon)

    def test_holidays_that_are_not_known_yet_have_a_warning(self) -> None:
        settings = settings_of(Settings, holidays="CME").with_files(str)
        assert settings.exchange is not None
        last = settings.exchange.known_until
        warning = (
            f"the holidays of CME are known until {last}, later ones do not count; a newer riskd may "
            "know them"
        )
        tomorrow = last + timedelta(days=1)
        for moment, warnings in ((f"{last} 23:59", ()), (f"{tomorrow} 00:00", (warning,))):
            self.assertEqual(checked(state_after(), settings, chicago(moment)).warnings, warnings)

    def test_the_kept_holidays_are_weekdays_and_known_for_a_while(self) -> None:
        known = cme_holidays()
        days = [*known.closed, *(day for day, _close in known.early_closes)]
        self.assertEqual(len(days), len(set(days)))
        for day in days:
            self.assertLess(day.weekday(), 5, day)
            self.assertLess(day, known.known_until)
        for year in range(2025, known.known_until.year + 1):
            self.assertGreater(len([day for day in days if day.year == year]), 9, year)

    def test_hours_follow_the_wall_clock(self) -> None:
        for moment, expected in (
            # Standard time until 2025-03-09, summer time from then on.
            (datetime(2025, 3, 7, 14, 29, tzinfo=UTC), False),
            (datetime(2025, 3, 7, 14, 30, tzinfo=UTC), True),
            (datetime(2025, 3, 10, 13, 29, tzinfo=UTC), False),
            (datetime(2025, 3, 10, 13, 30, tzinfo=UTC), True),
            (datetime(2025, 11, 3, 13, 30, tzinfo=UTC), False),
            (datetime(2025, 11, 3, 14, 30, tzinfo=UTC), True),
        ):
            self.assertEqual(is_open(DAY, moment), expected, moment)

    @given(
        st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001
        st.sampled_from(["08:30", "18:00", "23:59", "00:00", "02:30"]),
        st.sampled_from(["15:00", "17:00", "03:00", "00:01"]),
        st.sampled_from(["America/Chicago", "Asia/Tokyo", "UTC", "Europe/Berlin"]),
    )
    def test_whether_trading_is_allowed_changes_exactly_at_the_next_edge(
        self, naive: datetime, start: str, end: str, zone: str
    ) -> None:
        settings = settings_of(Settings, allowed_hours={"start": start, "end": end}, timezone=zone)
        now = naive.replace(tzinfo=UTC)
        edge = checked(state_after(entry(7)), settings, now).wake_at
        assert edge is not None
        self.assertGreater(edge, now)
        before = is_open(settings, now)
        self.assertEqual(is_open(settings, max(now, edge - timedelta(seconds=1))), before)
        self.assertEqual(is_open(settings, edge), not before)


class PositionTests(SynchronousTestCase):
    """Positions outside the hours."""

    def test_the_worked_example(self) -> None:
        friday = chicago("2025-07-18 15:00")
        state = state_after(opened(ES, chicago("2025-07-18 14:00")))
        early = checked(state, DAY, chicago("2025-07-18 14:30"))
        self.assertEqual((early.commands, early.wake_at), ((), friday))
        result = checked(state, DAY, friday)
        self.assertEqual(
            result.commands,
            (
                Flatten(
                    reason="1 ESU5 held outside trading hours"
                    " (08:30 to 15:00 America/Chicago; closed until Mon 2025-07-21 08:30)",
                    lock=Lock(chicago("2025-07-21 08:30")),
                ),
            ),
        )

    def test_a_weekend_within_the_hours_is_told(self) -> None:
        sunday = chicago("2025-07-20 12:00")
        settings = settings_of(Settings, allowed_hours={"start": "00:00", "end": "23:59"})
        (command,) = checked(state_after(opened(ES, sunday)), settings, sunday).commands
        self.assertTrue(command.reason.endswith("; closed until Sun 2025-07-20 17:00)"), command)

    def lock_end(self, settings: Settings, now: datetime) -> datetime | None:
        (command,) = checked(state_after(opened(MNQ, now)), settings, now).commands
        assert isinstance(command, Flatten)
        assert command.lock is not None
        return command.lock.until

    def test_the_lock_ends_at_the_next_start(self) -> None:
        for now, until in (
            ("2025-07-17 15:00", "2025-07-18 08:30"),
            ("2025-07-17 03:00", "2025-07-17 08:30"),
            ("2025-07-19 03:00", "2025-07-21 08:30"),
            # The clocks change on these weekends.
            ("2025-03-07 15:00", "2025-03-10 08:30"),
            ("2025-10-31 15:00", "2025-11-03 08:30"),
        ):
            self.assertEqual(self.lock_end(DAY, chicago(now)), chicago(until), now)

    def test_the_lock_lasts_over_holidays(self) -> None:
        days = [f"2025-12-{day}" for day in range(22, 32)]
        settings = settings_of(Settings, holidays=days)
        until = self.lock_end(settings, chicago("2025-12-19 15:00"))
        self.assertEqual(until, chicago("2026-01-01 08:30"))

    def test_overnight_hours_lock_until_sunday_evening(self) -> None:
        until = self.lock_end(OVERNIGHT, chicago("2025-07-18 16:00"))
        self.assertEqual(until, chicago("2025-07-20 18:00"))

    def test_an_account_without_positions_is_no_breach(self) -> None:
        flat = position(MNQ, 0)
        result = checked(state_after(flat), DAY, chicago("2025-07-19 12:00"), flat)
        self.assertEqual((result.commands, result.wake_at), ((), None))

    def test_without_a_lock_only_the_position_is_closed(self) -> None:
        now = chicago("2025-07-17 16:00")
        settings = settings_of(Settings, lockout_outside_session=False)
        state = state_after(opened(MNQ, now), entry(7, MNQ), entry(8, ES))
        closing, rejection = checked(state, settings, now).commands
        assert isinstance(closing, Flatten)
        assert isinstance(rejection, RejectOrder)
        self.assertEqual((closing.keep, closing.lock), ({MNQ: 0}, None))
        self.assertEqual(rejection.order_id, 8)

    def test_positions_opened_within_the_hours_may_stay(self) -> None:
        settings = settings_of(Settings, close_positions_at_session_end=False)
        now = chicago("2025-07-17 15:00")
        for moment, stays in (
            ("2025-07-17 14:59", True),
            ("2025-07-16 09:00", True),
            ("2025-07-17 08:29", False),
            ("2025-07-17 15:00", False),
        ):
            state = state_after(opened(MNQ, chicago(moment)))
            result = checked(state, settings, now)
            self.assertEqual(not result.commands, stays, moment)


class UndatedTests(SynchronousTestCase):
    """Positions whose date was never set."""

    SETTINGS = settings_of(
        Settings, close_positions_at_session_end=False, lockout_outside_session=False
    )
    EVENING = chicago("2026-11-23 16:00")

    def closed(self, *events: Event) -> list[str]:
        result = checked(state_after(*events), self.SETTINGS, self.EVENING)
        return [contract_id for contract_id, _kept in contracts_kept(result)]

    def test_they_hide_no_other_position(self) -> None:
        for year in (1, 1970, 9999):
            undated = opened(MNQ, datetime(year, 1, 1, tzinfo=UTC))
            self.assertEqual(self.closed(undated, opened(ES, self.EVENING)), [MNQ, ES])

    def test_their_last_change_says_whether_they_existed_within_the_hours(self) -> None:
        for changed, expected in (("14:59", []), ("15:00", [MNQ])):
            event = opened(MNQ, chicago(f"2026-11-23 {changed}"))
            assert isinstance(event.data, GatewayUserPosition)
            for year in (1, 9999):
                data = msgspec.structs.replace(
                    event.data, created_at=datetime(year, 1, 1, tzinfo=UTC)
                )
                self.assertEqual(self.closed(Event(event.account_id, data)), expected)


class OrderTests(SynchronousTestCase):
    """Orders outside the hours."""

    def test_an_order_is_rejected(self) -> None:
        buy = entry(7, ES)
        result = checked(state_after(buy), DAY, chicago("2025-07-17 15:00"), buy)
        reason = (
            "Order to buy 1 ESU5 outside trading hours"
            " (08:30 to 15:00 America/Chicago; closed until Fri 2025-07-18 08:30)"
        )
        self.assertEqual(result.commands, (RejectOrder(reason=reason, order_id=7),))

    def test_an_order_event_checks_that_order_and_the_edge_checks_all(self) -> None:
        now = chicago("2025-07-17 15:00")
        first, second = entry(7), entry(8, ES)
        state = state_after(first, second)
        for about, numbers in ((first, [7]), (second, [8]), (None, [7, 8])):
            commands = checked(state, DAY, now, about).commands
            rejected = [each.order_id for each in commands if isinstance(each, RejectOrder)]
            self.assertEqual(rejected, numbers)

    def test_an_exit_may_work_until_the_position_is_closed(self) -> None:
        settings = settings_of(Settings, close_positions_at_session_end=False)
        now = chicago("2025-07-17 16:00")
        held, stop = opened(MNQ, chicago("2025-07-17 14:00")), order(7, MNQ, SELL)
        state = state_after(held, stop)
        self.assertEqual(checked(state, settings, now, stop).commands, ())
        flat = opened(MNQ, chicago("2025-07-17 16:00"), size=0)
        state = state_after(flat, state=state)
        (rejection,) = checked(state, settings, now, flat).commands
        assert isinstance(rejection, RejectOrder)
        self.assertEqual(rejection.order_id, 7)

    def test_no_order_is_canceled_beside_a_lock(self) -> None:
        now = chicago("2025-07-17 16:00")
        state = state_after(opened(MNQ, now), entry(7, ES))
        (command,) = checked(state, DAY, now).commands
        self.assertIsInstance(command, Flatten)


class SessionTests(SynchronousTestCase):
    """Hours of a root's own."""

    def result(self, moment: str, *events: Event, **settings: Any) -> RuleResult:
        table = settings_of(Settings, **{"sessions": ES_AT_NIGHT, **settings})
        return checked(state_after(*events), table, chicago(moment))

    def test_a_breach_closes_that_contract_without_a_lock(self) -> None:
        moment = "2025-07-17 10:00"
        held = [opened(ES, chicago(moment), 2), opened(MNQ, chicago(moment))]
        (closing,) = self.result(moment, *held).commands
        reason = (
            "2 ESU5 held outside trading hours"
            " (18:00 to 08:00 America/Chicago; closed until Thu 2025-07-17 18:00)"
        )
        self.assertEqual(closing, Flatten(reason=reason, keep={ES: 0}))

    def test_sessions_apply_to_all_expiries_in_any_case(self) -> None:
        moment = "2025-07-17 10:00"
        held = opened(ES_DEC, chicago(moment))
        sessions = {"es": ES_AT_NIGHT["ES"]}
        self.assertTrue(self.result(moment, held, sessions=sessions).commands)

    def test_the_accounts_hours_do_not_apply_to_a_root_with_its_own(self) -> None:
        moment = "2025-07-17 20:00"
        self.assertEqual(self.result(moment, opened(ES, chicago(moment))).commands, ())

    def test_the_rule_wakes_at_the_first_edge_of_all_contracts(self) -> None:
        moment = "2025-07-17 07:00"
        held = opened(ES, chicago(moment))
        self.assertEqual(self.result(moment, held).wake_at, chicago("2025-07-17 08:00"))
        both = self.result("2025-07-17 09:00", entry(7, MNQ), entry(8, ES))
        self.assertEqual(both.wake_at, chicago("2025-07-17 15:00"))

    def test_a_session_may_have_its_own_zone(self) -> None:
        sessions = {"ES": {"start": "09:00", "end": "10:00", "timezone": "America/New_York"}}
        for moment, expected in (("08:00", False), ("08:59", False), ("09:00", True)):
            held = opened(ES, chicago(f"2025-07-17 {moment}"))
            result = self.result(f"2025-07-17 {moment}", held, sessions=sessions)
            self.assertEqual(bool(result.commands), expected, moment)

    def test_a_breach_of_the_accounts_hours_locks_and_closes_everything(self) -> None:
        moment = "2025-07-17 16:00"
        held = [opened(ES, chicago(moment)), opened(MNQ, chicago(moment))]
        (closing,) = self.result(moment, *held).commands
        assert isinstance(closing, Flatten)
        self.assertIsNone(closing.keep)
        self.assertIsNotNone(closing.lock)

    def test_an_unknown_product_has_the_accounts_hours(self) -> None:
        held = opened(UNKNOWN, chicago("2025-07-17 10:00"))
        inside = self.result("2025-07-17 10:00", held)
        self.assertEqual(inside.commands, ())
        self.assertIn(UNKNOWN, inside.warnings[0])
        self.assertTrue(self.result("2025-07-17 15:00", held).commands)


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.allowed_hours.start, settings.allowed_hours.end, settings.timezone),
            ("08:30", "15:00", "America/Chicago"),
        )
        self.assertTrue(settings.close_positions_at_session_end)
        self.assertTrue(settings.lockout_outside_session)

    def test_invalid_tables_are_rejected(self) -> None:
        session = {"start": "08:30", "end": "15:00"}
        for table, words in (
            ({"allowed_hours": {"start": "8:30"}}, "start"),
            ({"allowed_hours": {"end": "24:00"}}, "end"),
            ({"allowed_hours": {"end": 900}}, "end"),
            ({"allowed_hours": {"end": "15:00:00"}}, "end"),
            ({"allowed_hours": {"end": "08:30"}}, "expected another time than start, got 08:30"),
            ({"allowed_hours": {"timezone": "UTC"}}, "timezone"),
            ({"timezone": "Chicago"}, "timezone: expected an IANA name"),
            ({"timezone": ""}, "timezone: expected an IANA name"),
            ({"timezone": "../UTC"}, "timezone: expected an IANA name"),
            ({"action": "CLOSE_POSITION"}, "action"),
            ({"sessions": {"E S": session}}, "sessions"),
            ({"sessions": {"ES": {"start": "08:30"}}}, "end"),
            ({"sessions": {"ES": {**session, "timezone": "CT"}}}, "timezone"),
            ({"sessions": {"ES": {**session, "end": "08:30"}}}, "another time"),
            ({"sessions": {"ES": session, "es": session}}, "each root once, got ES twice"),
            ({"holidays": ["2025-02-30"]}, "holidays"),
            ({"holidays": "NYSE"}, "holidays"),
            ({"lockout_outside_session": 1}, "lockout_outside_session"),
            ({"hours": {}}, "hours"),
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(words, str(error), table)


class GaugeTests(SynchronousTestCase):
    """Until when it is open or closed."""

    def test_the_gauge_has_the_hours_in_words(self) -> None:
        settings = settings_of(Settings, sessions=ES_AT_NIGHT)
        account, es = gauges(state_after(), settings, chicago("2025-07-18 10:00"))
        self.assertEqual(
            (account.name, account.words),
            ("trading hours", "open until Fri 2025-07-18 15:00 America/Chicago"),
        )
        self.assertEqual(
            (es.name, es.words),
            ("trading hours ES", "closed until Sun 2025-07-20 18:00 America/Chicago"),
        )
