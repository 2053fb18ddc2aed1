"""``twistd practice-gateway``: its command line and its parts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from twisted.python.usage import Options as BaseOptions
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.launch import Daemon
from riskd.app.practice_tap import Options, PracticeGatewayService, makeService
from riskd.host.directories import default_directory
from riskd.practice.server.site import PracticeServer
from tests.support.clocks import has_steady_clock, keep_clock


class DirectoryTestCase(SynchronousTestCase):
    """Tests with a directory that is removed afterwards."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def parse(self, *arguments: str) -> Options:
        options = Options()
        options.parent = BaseOptions()
        options.parent.update({"nodaemon": True, "logfile": None})
        options.parseOptions(list(arguments))
        return options


class OptionsTests(DirectoryTestCase):
    """The command line."""

    def test_options_have_defaults(self) -> None:
        options = self.parse()
        self.assertEqual(
            {name: options[name] for name in ("port", "interface", "config", "state", "quiet")},
            {"port": 5000, "interface": None, "config": None, "state": None, "quiet": 0},
        )
        self.assertEqual((options["user-name"], options["key-file"]), ("practice", None))

    def test_mistakes_are_one_line_with_the_value(self) -> None:
        for arguments, word in (
            (("--port", "http"), "'http'"),
            (("--interface", "0.0.0.0"), "not a loopback address"),
            (("--practice-seed", "luck"), "'luck'"),
            (("--log-format", "xml"), "'xml'"),
            # What stands in the list of processes is no secret.
            (("--api-key", "x"), "api-key"),
        ):
            refusal = self.assertRaises(SystemExit, self.parse, *arguments)
            sentence = str(refusal.code)
            self.assertTrue(sentence.startswith("practice-gateway: "), sentence)
            self.assertIn("(see twistd practice-gateway --help)", sentence)
            self.assertEqual(len(sentence.splitlines()), 1)
            self.assertIn(word, sentence)

    def test_the_state_directory_differs_from_riskds(self) -> None:
        self.patch(os, "environ", {"XDG_STATE_HOME": "/state"})
        self.assertEqual(default_directory("practice-gateway"), Path("/state/practice-gateway"))
        self.assertNotEqual(default_directory("practice-gateway"), default_directory())


class ServiceTestCase(DirectoryTestCase):
    def make_service(self, *arguments: str) -> Daemon:
        keep_clock(self)
        state = str(self.directory / "state")
        service = makeService(self.parse("--port", "0", "--state", state, *arguments))
        (server,) = (part for part in service if isinstance(part, PracticeServer))
        for listening in server._sockets:
            self.addCleanup(listening.close)
        assert service.state is not None
        self.addCleanup(service.state.release)
        return service


class ClockTests(ServiceTestCase):
    def test_the_reactor_has_a_steady_clock(self) -> None:
        self.make_service()
        self.assertTrue(has_steady_clock())


class ServiceTests(ServiceTestCase):
    """The service that twistd runs."""

    def test_the_port_and_the_directory_are_held_before_the_start(self) -> None:
        service = self.make_service()
        (server,) = (part for part in service if isinstance(part, PracticeServer))
        port = str(server._sockets[0].getsockname()[1])
        for arguments, words in (
            (("--port", port), "is already in use"),
            ((), "uses the state directory"),
        ):
            refusal = self.assertRaises(SystemExit, self.make_service, *arguments)
            self.assertIn(words, str(refusal.code))

    def test_the_market_opens_and_closes_with_the_service(self) -> None:
        service = self.make_service()
        (gateway,) = (part for part in service if isinstance(part, PracticeGatewayService))
        gateway.startService()
        inside = gateway._gateway
        self.assertTrue(inside._loop.running)
        self.successResultOf(gateway.stopService())
        self.assertFalse(inside._loop.running)

    def gateway(self, config: str = "", *arguments: str) -> Any:
        if config:
            path = self.directory / "riskd.toml"
            path.write_text(config)
            arguments = ("--config", str(path), *arguments)
        state = tempfile.mkdtemp(dir=self.directory)
        service = self.make_service("--state", state, *arguments)
        (gateway,) = (part for part in service if isinstance(part, PracticeGatewayService))
        return gateway._gateway

    def test_without_a_file_exits_are_reported_twice_as_by_the_broker(self) -> None:
        self.assertTrue(self.gateway().faults.opening_half_again)

    def test_a_file_has_the_accounts_and_the_faults(self) -> None:
        accounts = '[[accounts]]\nid = 7\nwatch = ["MNQ"]\n'
        gateway = self.gateway(accounts + "[practice.faults]\nrefuse = 0.5\n")
        self.assertEqual([each["id"] for each in gateway.exchange.store.accounts()], [7])
        self.assertEqual((gateway.faults.refuse, gateway.faults.opening_half_again), (0.5, False))
        self.assertEqual(list(gateway._traders), [7])

    def test_quiet_means_no_practice_traders(self) -> None:
        self.assertEqual(sorted(self.gateway()._traders), [123, 456])
        self.assertEqual(self.gateway("", "--quiet")._traders, {})

    def test_a_run_with_a_seed_keeps_no_ledger(self) -> None:
        self.assertIsNotNone(self.gateway()._ledger)
        self.assertIsNone(self.gateway("", "--practice-seed", "7")._ledger)
        accounts = "[[accounts]]\nid = 7\n"
        self.assertIsNone(self.gateway("[practice]\nseed = 7\n" + accounts)._ledger)


class KeyTests(ServiceTestCase):
    """The file of the API key."""

    def login(self, service: Daemon, key: str) -> bool:
        (server,) = (part for part in service if isinstance(part, PracticeServer))
        return bool(server._factory.resource._api._tokens.log_in("practice", key))

    def test_the_files_one_line_is_the_key(self) -> None:
        path = self.directory / "key"
        path.write_text("secret\n")
        path.chmod(0o600)
        service = self.make_service("--key-file", str(path))
        self.assertEqual(
            [self.login(service, key) for key in ("secret", "practice")], [True, False]
        )

    def test_a_key_file_that_others_may_read_is_refused(self) -> None:
        path = self.directory / "key"
        path.write_text("secret\n")
        path.chmod(0o644)
        refusal = self.assertRaises(SystemExit, self.make_service, "--key-file", str(path))
        self.assertIn("chmod 600", str(refusal.code))
        self.assertNotIn("secret", str(refusal.code))
