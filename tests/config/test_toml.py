"""Reading TOML: the line on which each table and key begins."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.toml import key_lines


class LineTests(SynchronousTestCase):
    """Where keys stand."""

    def test_tables_keys_and_lists_of_tables(self) -> None:
        text = (
            'a = 1\n[b.c] # here\n"d e".f = 2\n[[g]]\nh=3\n[ g . i ]\nj=4\n[[g]]\n[[g.k]]\nl=5\n'
        )
        self.assertEqual(
            key_lines(text),
            {
                ("a",): 1,
                ("b", "c"): 2,
                ("b", "c", "d e", "f"): 3,
                ("g", 0): 4,
                ("g", 0, "h"): 5,
                ("g", 0, "i"): 6,
                ("g", 0, "i", "j"): 7,
                ("g", 1): 8,
                ("g", 1, "k", 0): 9,
                ("g", 1, "k", 0, "l"): 10,
            },
        )
