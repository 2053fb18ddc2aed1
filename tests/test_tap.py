"""``twistd riskd``: its command line, its log and its end."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IService
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.usage import Options as BaseOptions
from twisted.trial.unittest import SynchronousTestCase

from riskd.broadcast import BroadcastService
from riskd.tap import Daemon, Options, Signals, makeService


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def parse(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(list(arguments))
        return options

    def test_defaults(self) -> None:
        options = self.parse()
        self.assertEqual(
            {name: options[name] for name in ("port", "interface", "log-format", "practice-seed")},
            {"port": 8765, "interface": None, "log-format": "text", "practice-seed": None},
        )

    def test_values(self) -> None:
        options = self.parse("-p", "0", "--interface", "127.0.0.2", "--practice-seed", "-7")
        self.assertEqual((options["port"], options["practice-seed"]), (0, -7))
        self.assertEqual(options["interface"], "127.0.0.2")

    def test_mistakes_are_one_line_with_the_value(self) -> None:
        for arguments, words in (
            (("--port", "http"), ("port", "'http'")),
            (("--port", "65536"), ("port", "'65536'")),
            (("--port", "-1"), ("port", "'-1'")),
            (("--interface", "0.0.0.0"), ("0.0.0.0", "not a loopback address")),
            (("--interface", "eth0"), ("'eth0'",)),
            (("--log-format", "xml"), ("'xml'", "text, json")),
            (("--practice-seed", "luck"), ("practice seed", "'luck'")),
            (("--colour",), ("colour",)),
            (("surplus",), ()),
        ):
            refusal = self.assertRaises(SystemExit, self.parse, *arguments)
            sentence = str(refusal.code)
            self.assertTrue(sentence.startswith("riskd: "), sentence)
            self.assertEqual(len(sentence.splitlines()), 1)
            for word in words:
                self.assertIn(word, sentence)

    def test_help_explains_every_option(self) -> None:
        text = str(Options())
        for word in (
            "--port",
            "--interface",
            "--log-format",
            "--practice-seed",
            "practice gateway",
        ):
            self.assertIn(word, text)


class ServiceTests(SynchronousTestCase):
    """What twistd is given."""

    def make_service(self, *arguments: str, **twistd: Any) -> Daemon:
        options = Options()
        options.parent = BaseOptions()
        options.parent.update({"nodaemon": True, "logfile": None, **twistd})
        state = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        options.parseOptions(["--port", "0", "--state", state, *arguments])
        service = makeService(options)
        for listening in sockets_of(service):
            self.addCleanup(listening.close)
        assert service.state is not None
        self.addCleanup(service.state.release)
        return service

    def test_it_is_a_service_that_holds_its_port_already(self) -> None:
        service = self.make_service()
        self.assertTrue(IService.providedBy(service))
        port = sockets_of(service)[0].getsockname()[1]
        refusal = self.assertRaises(SystemExit, self.make_service, "--port", str(port))
        self.assertIn(f"port {port}", str(refusal.code))

    def test_a_state_directory_in_use_is_refused(self) -> None:
        service = self.make_service()
        assert service.state is not None
        refusal = self.assertRaises(
            SystemExit, self.make_service, "--state", str(service.state.path)
        )
        self.assertIn("another riskd uses the state directory", str(refusal.code))

    def observer_of(self, service: Daemon) -> Any:
        application = Application("riskd")
        service.setServiceParent(application)
        return application.getComponent(ILogObserver)

    def test_a_text_log_is_left_to_twistd(self) -> None:
        self.assertEqual(self.observer_of(self.make_service()), None)

    def test_a_json_log_is_an_object_a_line_in_the_log_file(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name, "riskd.log")
        service = self.make_service("--log-format", "json", logfile=str(path))
        observer = self.observer_of(service)
        self.addCleanup(observer._outFile.close)
        log = Logger(namespace="riskd.test", observer=observer)
        log.info("client {peer}", peer="tcp4:127.0.0.1:1")
        log.warn("more")
        first, second = (json.loads(line) for line in path.read_text().splitlines())
        self.assertEqual(
            (first["peer"], first["log_namespace"]), ("tcp4:127.0.0.1:1", "riskd.test")
        )
        self.assertEqual(second["log_level"]["name"], LogLevel.warn.name)


def sockets_of(service: Daemon) -> list[socket.socket]:
    (broadcast,) = (part for part in service if isinstance(part, BroadcastService))
    return broadcast._sockets


class StoppableReactor(MemoryReactorClock):
    """Counts how often it is stopped."""

    stops = 0

    def callFromThread(self, act: Callable[..., object], *arguments: object) -> None:
        act(*arguments)

    def stop(self) -> None:
        self.stops += 1


class SignalsTests(SynchronousTestCase):
    """Signals end the daemon in order, with exit status 0."""

    def test_the_first_signal_stops_the_reactor_and_others_do_nothing(self) -> None:
        reactor = StoppableReactor()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number, handler in before.items():
            self.addCleanup(signal.signal, number, handler)
        Signals(reactor).startService()
        for act, arguments, keywords in reactor.whenRunningHooks:
            act(*arguments, **keywords)
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        self.assertEqual(reactor.stops, 1)
