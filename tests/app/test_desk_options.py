"""What the two programs of a desk share on their command lines."""

from __future__ import annotations

import sys

from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from riskd.app import relay_tap, uplink_tap


class ReactorTests(SynchronousTestCase):
    """They run on a reactor of their own choice."""

    def test_another_reactor_is_refused_in_one_line(self) -> None:
        patcher = MonkeyPatcher(
            (sys, "modules", {**sys.modules, "twisted.internet.reactor": object()})
        )
        patcher.patch()
        self.addCleanup(patcher.restore)
        for options in (relay_tap.Options(), uplink_tap.Options()):
            refusal = self.assertRaises(SystemExit, options.parseOptions, [])
            self.assertEqual(
                str(refusal.code),
                f"{options.program}: this runs on Twisted's asyncio reactor; leave out twistd's --reactor",
            )
