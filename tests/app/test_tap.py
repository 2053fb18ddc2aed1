"""``twistd riskd``: its command line, its log and its end."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IService
from twisted.internet.defer import Deferred, execute
from twisted.logger import ILogObserver, Logger, LogLevel, capturedLogs, formatEvent
from twisted.python.usage import Options as BaseOptions
from twisted.trial.unittest import SynchronousTestCase

from riskd.app import tap
from riskd.app.daemon_file import DaemonFileService
from riskd.app.launch import Daemon, open_state
from riskd.app.tap import Options, Reloader, check_ports, gateway_of, makeService
from riskd.config import presets
from riskd.config.settings import GatewaySettings, Settings
from riskd.engine.service import EngineService
from riskd.host.errors import UserError
from riskd.host.loopback import LoopbackServer
from riskd.model.events import DaemonStatus, Status
from riskd.practice.server.site import PracticeServer
from riskd.recording.recording_engine import RecordingEngine
from tests.support.clocks import has_steady_clock, keep_clock
from tests.support.directories import temporary_directory
from tests.support.plugins import PluginFolder
from tests.support.practice_daemon import ACCOUNT, CATALOGUE, PracticeDaemon
from tests.support.state_directories import PAPER, REAL, URL, write_state


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def parse(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(list(arguments))
        return options

    def test_options_have_defaults(self) -> None:
        options = self.parse()
        self.assertEqual(
            {name: options[name] for name in ("port", "interface", "log-format", "practice-seed")},
            {"port": 8765, "interface": None, "log-format": "text", "practice-seed": None},
        )

    def test_values_are_converted(self) -> None:
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
            (("--metrics-port", "web"), ("port", "'web'")),
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
            "--record",
            "--metrics-port",
            "practice gateway",
        ):
            self.assertIn(word, text)


class ServiceTests(SynchronousTestCase):
    """The service that twistd runs."""

    def setUp(self) -> None:
        self.forbidden: list[str] = []

    def make_service(self, *arguments: str, **twistd: Any) -> Daemon:
        options = Options()
        options.parent = BaseOptions()
        options.parent.update({"nodaemon": True, "logfile": None, **twistd})
        state = str(temporary_directory(self))
        options.parseOptions(["--port", "0", "--state", state, *arguments])
        keep_clock(self)
        # Not of these tests, wherever the reactor runs already.
        self.patch(tap, "freeze_garbage", lambda: None)
        self.patch(tap, "forbid_core_dumps", lambda: self.forbidden.append("core dumps"))
        service = makeService(options)
        for listening in sockets_of(service):
            self.addCleanup(listening.close)
        self.addCleanup(service.state.release)
        return service

    def test_an_old_preset_is_a_warning_in_the_log(self) -> None:
        self.patch(presets, "MOST_DAYS", -99999)
        path = temporary_directory(self) / "riskd.toml"
        path.write_text('[[accounts]]\nid = 123\npreset = "topstep-50k"\n')
        with capturedLogs() as logged:
            self.make_service("--config", str(path))
        said = [formatEvent(event) for event in logged]
        self.assertTrue(any("preset topstep-50k were read on" in line for line in said), said)

    def test_a_rule_with_an_old_name_is_refused_with_a_sentence(self) -> None:
        path = PluginFolder(self).add("mine", "import riskd.account")
        refusal = self.assertRaises(SystemExit, self.make_service)
        self.assertEqual(
            str(refusal),
            f"riskd: plugin {path}, line 1: riskd.account is now riskd.model.account",
        )

    def test_the_reactor_has_a_steady_clock(self) -> None:
        self.make_service()
        self.assertTrue(has_steady_clock())

    def test_core_dumps_are_forbidden_unless_they_are_wanted(self) -> None:
        self.make_service("--debuggable")
        self.assertEqual(self.forbidden, [])
        self.make_service()
        self.assertEqual(self.forbidden, ["core dumps"])

    def test_garbage_is_frozen_when_the_program_runs(self) -> None:
        from twisted.internet import reactor  # noqa: PLC0415

        wanted: list[tuple[object, ...]] = []
        self.patch(reactor, "callWhenRunning", lambda *wish: wanted.append(wish))
        self.make_service()
        self.assertEqual([wish[-1] for wish in wanted], [tap.freeze_garbage])

    def test_the_port_is_held_before_the_start(self) -> None:
        service = self.make_service()
        self.assertTrue(IService.providedBy(service))
        port = sockets_of(service)[0].getsockname()[1]
        refusal = self.assertRaises(SystemExit, self.make_service, "--port", str(port))
        self.assertIn(f"port {port}", str(refusal.code))

    def test_a_state_directory_in_use_is_refused(self) -> None:
        service = self.make_service()
        refusal = self.assertRaises(
            SystemExit, self.make_service, "--state", str(service.state.path)
        )
        self.assertIn("another riskd uses the state directory", str(refusal.code))

    def test_the_state_of_another_gateway_is_refused_and_released(self) -> None:
        state = temporary_directory(self)
        write_state(state, REAL)
        for _ in range(2):
            refusal = self.assertRaises(SystemExit, self.make_service, "--state", str(state))
            (line,) = str(refusal.code).splitlines()
            self.assertTrue(line.startswith(f"riskd: the state directory {state} belongs to"))
            self.assertIn(f"{REAL}, by its riskd.db, and not to the practice gateway", line)

    def test_without_state_each_gateway_has_a_directory(self) -> None:
        home = temporary_directory(self)
        self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": str(home)})
        for gateway in (PAPER, REAL):
            state = open_state(None, gateway)
            self.assertEqual(state.path, home / "riskd" / gateway.key)
            state.release()

    def test_what_the_settings_say_is_the_gateway(self) -> None:
        self.assertEqual(gateway_of(GatewaySettings()), PAPER)
        settings = GatewaySettings(kind="projectx", user_name="jane", rest_url=URL)
        self.assertEqual(gateway_of(settings), REAL)

    def test_the_daemon_announces_itself_last_and_leaves_first(self) -> None:
        self.assertEqual(type(list(self.make_service())[5]), DaemonFileService)

    def test_without_a_recording_the_engine_is_the_plain_one(self) -> None:
        self.assertEqual([type(part) for part in self.make_service()][2], EngineService)

    def test_a_recording_is_created_at_once_and_refused_where_a_file_exists(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name, "day.jsonl")
        service = self.make_service("--record", str(path))
        engine = list(service)[2]
        self.assertEqual(type(engine), RecordingEngine)
        self.assertTrue(path.exists())
        engine._writer.close()
        refusal = self.assertRaises(SystemExit, self.make_service, "--record", str(path))
        self.assertEqual(
            refusal.code,
            f"riskd: the recording {path} exists already (--record takes another file)",
        )

    def test_the_practice_gateway_may_have_a_port_too(self) -> None:
        service = self.make_service("--practice-port", "0", "--interface", "127.0.0.1")
        (server,) = (part for part in service if isinstance(part, PracticeServer))
        (listening,) = server._sockets
        port = listening.getsockname()[1]
        refusal = self.assertRaises(
            SystemExit,
            self.make_service,
            *("--practice-port", str(port), "--interface", "127.0.0.1"),
        )
        self.assertIn("choose another port with --practice-port", str(refusal.code))

    def test_a_practice_port_needs_the_practice_gateway(self) -> None:
        options = Options()
        options.parseOptions(["--practice-port", "0"])
        error = self.assertRaises(UserError, check_ports, options, "projectx")
        self.assertIn("the gateway is projectx", str(error))

    def test_metrics_are_off_without_a_port(self) -> None:
        self.assertFalse([part for part in self.make_service() if type(part) is LoopbackServer])
        service = self.make_service("--metrics-port", "0", "--interface", "127.0.0.1")
        (page,) = (part for part in service if type(part) is LoopbackServer)
        (listening,) = page._sockets
        host, port = listening.getsockname()
        self.assertEqual(host, "127.0.0.1")
        refusal = self.assertRaises(
            SystemExit,
            self.make_service,
            *("--metrics-port", str(port), "--interface", "127.0.0.1"),
        )
        self.assertIn("choose another port with --metrics-port", str(refusal.code))

    def test_metrics_without_their_library_are_refused_with_a_sentence(self) -> None:
        self.patch(tap, "find_spec", lambda _name: None)
        refusal = self.assertRaises(SystemExit, self.make_service, "--metrics-port", "0")
        self.assertEqual(
            refusal.code,
            "riskd: --metrics-port needs prometheus_client; install it with pip install 'riskd[metrics]'",
        )

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
        log.warn("more \x7f\x9b")
        lines = path.read_text().splitlines()
        self.assertTrue(all(line.isprintable() for line in lines))
        first, second = map(json.loads, lines)
        self.assertEqual(
            (first["peer"], first["log_namespace"]), ("tcp4:127.0.0.1:1", "riskd.test")
        )
        self.assertEqual(second["log_level"]["name"], LogLevel.warn.name)


def sockets_of(service: Daemon) -> list[socket.socket]:
    return [
        listening
        for part in service
        if isinstance(part, LoopbackServer)
        for listening in part._sockets
    ]


class StoppedThread:
    """Stands in for a thread: calls are made when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Settings], Deferred[Settings]]] = []

    def call_later(self, read: Callable[[], Settings]) -> Deferred[Settings]:
        self.waiting.append((read, Deferred()))
        return self.waiting[-1][1]

    def run_next(self) -> None:
        read, done = self.waiting.pop(0)
        execute(read).chainDeferred(done)


class ReloaderTests(SynchronousTestCase):
    """Reading the configuration again, in a running daemon."""

    def setUp(self) -> None:
        self.daemon = PracticeDaemon(limit(2))
        self.addCleanup(self.daemon.close)
        self.path = Path(self.daemon.directory, "riskd.toml")
        self.write(limit(2))
        self.reload = self.reloader(execute)

    def reloader(self, in_thread: Callable[..., Deferred[Settings]]) -> Reloader:
        daemon = self.daemon
        return Reloader(self.path, CATALOGUE, daemon.settings, daemon.engine, in_thread)

    def write(self, text: str) -> None:
        self.path.write_text(f"{text}[[accounts]]\nid = {ACCOUNT}\n")

    def limit_in_force(self) -> int:
        settings = json.loads(self.daemon.state.limits["RULE-001"].settings)
        number: int = settings["limit"]
        return number

    def last_word(self) -> DaemonStatus:
        status: DaemonStatus = self.daemon.news(DaemonStatus)[-1]
        return status

    def test_a_changed_file_is_in_force(self) -> None:
        self.write(limit(5))
        self.reload()
        self.assertEqual(self.limit_in_force(), 5)
        self.assertIs(self.last_word().status, Status.RUNNING)

    def test_a_wrong_file_changes_nothing_and_is_a_problem_until_it_is_right(self) -> None:
        self.write("[rules.max_contracts]\nlimt = 5\n")
        self.reload()
        self.assertEqual(self.limit_in_force(), 2)
        self.assertIs(self.last_word().status, Status.ERROR)
        self.assertIn("rules.max_contracts.limt", self.last_word().message)
        self.assertIn("the old one stays in force", self.last_word().message)
        self.write(limit(5))
        self.reload()
        self.assertEqual(self.limit_in_force(), 5)
        self.assertIs(self.last_word().status, Status.RUNNING)

    def test_a_missing_file_changes_nothing(self) -> None:
        self.path.unlink()
        self.reload()
        self.assertEqual(self.limit_in_force(), 2)
        self.assertIn(str(self.path), self.last_word().message)

    def test_of_several_mistakes_the_first_and_the_number_of_others_are_reported(self) -> None:
        self.write("colour = 1\n[rules.max_contracts]\nlimt = 5\n")
        self.reload()
        self.assertIn("(and 1 more, see the log)", self.last_word().message)

    def test_a_reload_during_a_reading_reads_once_more(self) -> None:
        """The file may have been changed after it was read."""
        thread = StoppedThread()
        reload = self.reloader(thread.call_later)
        for _ in range(3):
            reload()
        self.assertEqual(len(thread.waiting), 1)
        self.write(limit(5))
        thread.run_next()
        self.assertEqual((len(thread.waiting), self.limit_in_force()), (1, 5))
        self.write(limit(7))
        thread.run_next()
        self.assertEqual((len(thread.waiting), self.limit_in_force()), (0, 7))

    def test_an_internal_error_does_not_prevent_the_next_reload(self) -> None:
        failing = self.patch(self.daemon.engine, "reload", fail_to_reload)
        self.reload()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        failing.restore()
        self.write(limit(5))
        self.reload()
        self.assertEqual(self.limit_in_force(), 5)

    def test_a_change_that_needs_a_restart_is_logged(self) -> None:
        for change in (
            "[server]\nmax_clients = 3\n",
            "enforce = false\n",
            '[gateway]\nkind = "projectx"\nuser_name = "jane"\n',
        ):
            self.write(change)
            with capturedLogs() as logged:
                self.reload()
            said = [formatEvent(event) for event in logged]
            self.assertTrue(any("need a restart" in line for line in said), said)

    def test_an_old_preset_is_a_warning_at_each_reading(self) -> None:
        self.patch(presets, "MOST_DAYS", -99999)
        self.path.write_text(f'[[accounts]]\nid = {ACCOUNT}\npreset = "topstep-50k"\n')
        with capturedLogs() as logged:
            self.reload()
        warnings = [formatEvent(each) for each in logged if each["log_level"] is LogLevel.warn]
        self.assertIn("the limits of preset topstep-50k were read on", "".join(warnings))

    def test_a_looser_key_beside_a_preset_changes_nothing(self) -> None:
        self.path.write_text(
            f'[rules.maximum_loss]\ndrawdown = 2500\n[[accounts]]\nid = {ACCOUNT}\npreset = "topstep-50k"\n'
        )
        self.reload()
        self.assertEqual(self.limit_in_force(), 2)
        self.assertIn("expected 2000 or less beside preset topstep-50k", self.last_word().message)

    def test_a_preset_that_is_removed_holds_a_locked_account_until_it_is_unlocked(self) -> None:
        account = self.daemon.engine.accounts[ACCOUNT]
        self.path.write_text(f'[[accounts]]\nid = {ACCOUNT}\npreset = "topstep-50k"\n')
        self.reload()
        account.lock("lunch", "jane", None)
        self.daemon.advance(2)
        self.write("")
        self.reload()
        self.assertEqual([each.rule.key for each in account.rules], ["maximum_loss"])
        account.unlock("back", "jane")
        self.assertEqual(account.rules, ())


def limit(number: int) -> str:
    return f"[rules.max_contracts]\nlimit = {number}\n"


def fail_to_reload(_settings: Settings) -> str:
    raise ZeroDivisionError
