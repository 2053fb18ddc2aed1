"""Findings as lines, and the exit status for them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.doctor.findings import (
    Finding,
    Verdict,
    note,
    ok,
    quoted,
    warning,
    worst,
    wrong,
)


class FindingTests(SynchronousTestCase):
    def test_a_finding_is_a_line_and_its_mend_another(self) -> None:
        self.assertEqual(list(ok("port", "8765 is free").lines), ["ok       port: 8765 is free"])
        self.assertEqual(
            list(wrong("API key", "no", "chmod 600 key").lines),
            ["WRONG    API key: no", "         $ chmod 600 key"],
        )

    def test_a_command_names_the_programs_as_a_shell_here_finds_them(self) -> None:
        own = Path(sys.executable).parent
        self.patch(os, "environ", {"PATH": "/nowhere"})
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        mend = "vi riskctl && riskctl check-config riskd.toml"
        for directory, shown in ((own.parent, f"{own.name}/riskctl"), ("/", f"{own}/riskctl")):
            os.chdir(directory)
            expected = shown.removeprefix("/") if directory == "/" else shown
            self.assertEqual(
                list(wrong("a", "b", mend).lines)[1].split("$ ")[1],
                f"vi riskctl && {expected} check-config riskd.toml",
            )
        self.patch(os, "environ", {"PATH": os.fspath(own)})
        self.assertTrue(list(wrong("a", "b", mend).lines)[1].endswith(f"$ {mend}"))

    def test_the_exit_status_is_the_worst(self) -> None:
        good, unknown = ok("a", ""), note("b", "")
        self.assertEqual(worst([]), 0)
        self.assertEqual(worst([unknown]), 0)
        self.assertEqual(worst([good, unknown, warning("c", "")]), 1)
        self.assertEqual(worst([wrong("d", ""), warning("c", ""), good]), 2)

    @given(st.text(), st.text(), st.sampled_from(Verdict))
    def test_text_from_elsewhere_stays_in_its_line(
        self, says: str, mend: str, verdict: Verdict
    ) -> None:
        lines = list(Finding(what="x", verdict=verdict, says=says, mend=mend).lines)
        self.assertEqual(len(lines), 2 if mend else 1)
        self.assertTrue(all(line.isprintable() for line in lines))

    def test_a_path_is_one_word_of_a_shell(self) -> None:
        self.assertEqual(quoted("/home/my key; rm"), "'/home/my key; rm'")
