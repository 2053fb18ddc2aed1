"""The sentences of a relay, by which programs tell what they are about."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.links import Link, LinkState, link_words
from riskd.model.desk_status import trader_in
from tests.support.desk_clock import moment


class TraderTests(SynchronousTestCase):
    """Whose riskd it is."""

    def test_it_is_in_each_sentence_about_a_link(self) -> None:
        link = Link(moment(0))
        for state in LinkState:
            link.state = state
            for accounts in ((), (101,), (-5, 101)):
                words = link_words(link, "ben-eval", accounts)
                if words:
                    self.assertEqual(trader_in(words), "ben-eval")

    def test_it_is_before_what_a_daemon_says(self) -> None:
        self.assertEqual(trader_in("ben: No prices of anna (account 5): x"), "ben")

    def test_other_sentences_name_nobody(self) -> None:
        for words in (
            "",
            "The relay: the journal cannot be written",
            "Limits of account 101 changed: max_contracts: limit 2 became 3",
            "3 events of anna (account 101) did not arrive",
        ):
            self.assertEqual(trader_in(words), "")
