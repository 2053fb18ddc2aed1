"""What is shipped for service managers and Grafana agrees with the programs: options, paths and metrics."""

from __future__ import annotations

import json
import plistlib
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from twisted.trial.unittest import SynchronousTestCase

from riskd.app import tap
from riskd.app.metrics import Metrics
from riskd.app.riskctl.main import parse
from riskd.broadcast.statistics import Statistics
from riskd.control import guard
from trader.alerts.arguments import make_parser

ROOT = Path(__file__).parents[1]
CONTRIB = ROOT / "contrib"
UNITS = sorted((CONTRIB / "systemd").glob("*/*.service"))
PLISTS = sorted((CONTRIB / "launchd").glob("*.plist"))


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield file and words of each command that starts a program."""
    for unit in UNITS:
        (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
        yield str(unit), shlex.split(line)
    for plist in PLISTS:
        shell, flag, line = plistlib.loads(plist.read_bytes())["ProgramArguments"]
        assert (shell, flag) == ("/bin/sh", "-c")
        words = shlex.split(line.replace(">>", " >>").partition(" >>")[0])
        assert words.pop(0) == "exec"
        yield str(plist), words
    fields = dict(
        re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    )
    yield "Dockerfile", json.loads(fields["ENTRYPOINT"]) + json.loads(fields["CMD"])


class CommandTests(SynchronousTestCase):
    """The commands that start riskd and trader-alerts."""

    def test_each_program_is_started_and_takes_its_options(self) -> None:
        self.patch(guard.grp, "getgrnam", lambda _name: type("Group", (), {"gr_gid": 0}))
        started = []
        for file, (program, *arguments) in commands():
            name = Path(program).name
            started.append(name)
            if name == "trader-alerts":
                make_parser().parse_args(arguments)
                continue
            self.assertEqual(name, "twistd", file)
            begin = arguments.index("riskd")
            of_twistd, of_riskd = arguments[:begin], arguments[begin + 1 :]
            # In the foreground: service managers watch the process that they have started.
            self.assertIn("-n", of_twistd, file)
            options = tap.Options()
            options.parseOptions(of_riskd)
            self.assertIsNotNone(options["config"], file)
        self.assertEqual(sorted(started), ["trader-alerts"] * 3 + ["twistd"] * 4)

    def test_the_health_check_of_the_container_is_a_command(self) -> None:
        (line,) = re.findall(
            r"^    CMD (\[\"riskctl.*\])$", (ROOT / "Dockerfile").read_text(), re.M
        )
        program, *arguments = json.loads(line)
        self.assertEqual(program, "riskctl")
        self.assertEqual(parse(arguments, datetime.now(UTC)).state, Path("/var/lib/riskd"))

    def test_each_unit_is_started_again_however_often_it_fails(self) -> None:
        for unit in UNITS:
            text = unit.read_text()
            for line in ("StartLimitIntervalSec=0", "Restart=always", "NoNewPrivileges=yes"):
                self.assertIn(f"\n{line}\n", text, unit)
        for unit in (each for each in UNITS if each.name == "riskd.service"):
            for line in ("Type=notify", "WatchdogSec=30"):
                self.assertIn(f"\n{line}\n", unit.read_text(), unit)

    def test_launchd_starts_each_again_too(self) -> None:
        for plist in PLISTS:
            fields = plistlib.loads(plist.read_bytes())
            self.assertEqual(fields["Label"], plist.stem)
            self.assertTrue(fields["RunAtLoad"] and fields["KeepAlive"], plist)


class DashboardTests(SynchronousTestCase):
    """The dashboard of the metrics."""

    def setUp(self) -> None:
        self.dashboard: Any = json.loads((CONTRIB / "grafana" / "riskd.json").read_text())

    def test_it_shows_each_metric_and_no_other(self) -> None:
        metrics = Metrics()
        metrics.read_from(
            Statistics(), type("Engine", (), {"is_reconciled": True, "clock_offset": None})()
        )
        page = generate_latest(metrics.registry).decode()
        known = set(re.findall(r"^# TYPE (\w+)", page, re.MULTILINE)) - set(
            re.findall(r"^# TYPE (\w+_created)", page, re.MULTILINE)
        )
        shown = set()
        for panel in self.dashboard["panels"]:
            for target in panel["targets"]:
                for name in re.findall(r"\briskd_\w+", target["expr"]):
                    metric = name if name in known else re.sub("_(bucket|count|sum)$", "", name)
                    self.assertIn(metric, known, panel["title"])
                    shown.add(metric)
        self.assertEqual(shown, known)

    def test_no_panel_hides_another(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in self.dashboard["panels"]:
            at = panel["gridPos"]
            cells = {
                (column, row)
                for column in range(at["x"], at["x"] + at["w"])
                for row in range(at["y"], at["y"] + at["h"])
            }
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24)
            taken |= cells
        ids = [panel["id"] for panel in self.dashboard["panels"]]
        self.assertEqual(len(set(ids)), len(ids))
