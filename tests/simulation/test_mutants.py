"""The mutants are still changes of the code as it is."""

from __future__ import annotations

import ast

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.mutants import MUTANTS, ROOT


class MutantTests(SynchronousTestCase):
    def test_each_changes_one_place_and_leaves_python(self) -> None:
        for mutant in MUTANTS:
            source = (ROOT / "riskd" / mutant.file).read_text(encoding="utf-8")
            self.assertEqual(source.count(mutant.right), 1, mutant)
            ast.parse(source.replace(mutant.right, mutant.wrong))
