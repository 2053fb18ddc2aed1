"""The mix of a desk's messages: what is counted, and what becomes of it."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.incoming import Kind
from riskd.desk.messages import PublishedState, decode_state, encode_state
from riskd.model.event_number import Number
from tests.benchmarks.desk import PAPER, SERVER, add_mix, add_paper, shows_all
from tests.benchmarks.desk_mix import FIRST_ACCOUNT, Message, Mix, mix_of, settings
from tests.benchmarks.desk_player import Prepared, state_written_for
from tests.benchmarks.outcome import Outcome


def message(at: float, kind: Kind, place: int | None = 0, payload: bytes = b"x") -> Message:
    return Message(at, kind, place, "", payload)


def mix() -> Mix:
    """Return ten seconds of two accounts."""
    found = [
        message(-3, Kind.STATE, 0, b"older"),
        message(-1, Kind.STATE, 0, b"first"),
        message(-2, Kind.STATE, 1, b"other"),
        message(-1, Kind.EVENT),
        message(2, Kind.BEAT, None),
        message(1, Kind.STATE, 0, b"later"),
        *(message(second, Kind.EVENT, second % 2) for second in range(5)),
    ]
    return mix_of(found, 10, 2)


class MixTests(SynchronousTestCase):
    """A recording of two accounts."""

    def test_what_was_before_is_not_counted_but_its_last_states_are_the_first(self) -> None:
        self.assertEqual(mix().first, [b"first", b"other"])
        self.assertEqual([each.at for each in mix().messages], [0, 1, 1, 2, 2, 3, 4])

    def test_rates_are_those_of_an_account_and_of_heartbeats_an_instances(self) -> None:
        rates = {kind: mix().rate(kind) for kind in Kind}
        self.assertEqual(
            rates, {Kind.EVENT: 0.25, Kind.STATE: 0.05, Kind.QUOTE: 0, Kind.BEAT: 0.1}
        )
        self.assertEqual(mix().size(Kind.QUOTE), 0)

    def test_the_paper_multiplies_them(self) -> None:
        outcome = Outcome()
        add_mix(outcome, mix())
        for kind in Kind:
            outcome.add(SERVER, f"{kind.value}/s", "100", 1.0)
        outcome.add(SERVER, "KB/s", "100", 1.0)
        add_paper(outcome, mix(), 100)
        paper = {
            row: columns["paper"] for row, columns in outcome.tables[PAPER.format(100)].items()
        }
        # A heartbeat for ten accounts.
        kinds = {f"{kind.value}/s": paper[f"{kind.value}/s"] for kind in Kind}
        self.assertEqual(kinds, {"ev/s": [25], "state/s": [5], "q/s": [0], "beat/s": [1]})

    def test_each_account_has_a_number_of_the_same_length(self) -> None:
        text = settings(3)
        for place in range(3):
            self.assertIn(f"\nid = {FIRST_ACCOUNT + place}\n", text)
        self.assertEqual(text.count("[[accounts]]"), 3)


class PlayedTests(SynchronousTestCase):
    """A state is played for another account."""

    def test_it_is_the_state_of_that_account_with_the_number_of_its_trader(self) -> None:
        recorded = PublishedState(
            schema=7, epoch=1, seq=2, facts={}, tables={"accounts": [[FIRST_ACCOUNT + 1, "1.5"]]}
        )
        found = [Message(-1, Kind.STATE, place, "", encode_state(recorded)) for place in (0, 1)]
        prepared = Prepared(mix_of(found, 10, 2))
        played = decode_state(state_written_for(prepared.first[1], 7_654_321, Number(5, 6)))
        expected = msgspec.structs.replace(
            recorded, epoch=5, seq=6, tables={"accounts": [[7_654_321, "1.5"]]}
        )
        self.assertEqual(played, expected)


class ScreenTests(SynchronousTestCase):
    """Whether a console shows all accounts."""

    def test_none_may_be_unknown(self) -> None:
        self.assertTrue(shows_all(" 1 locked  199 ok  200 accounts", 200))
        self.assertFalse(shows_all(" 1 unknown  199 ok  200 accounts", 200))
        self.assertFalse(shows_all("20 accounts", 200))
