"""The mutants are still changes of the code as it is."""

from __future__ import annotations

import ast

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.mutants import MUTANTS, ROOT


class MutantTests(SynchronousTestCase):
    def test_each_change_is_in_one_place_and_leaves_python(self) -> None:
        for change in (change for mutant in MUTANTS for change in mutant.changes()):
            source = (ROOT / "riskd" / change.file).read_text(encoding="utf-8")
            self.assertEqual(source.count(change.right), 1, change)
            ast.parse(source.replace(change.right, change.wrong))
