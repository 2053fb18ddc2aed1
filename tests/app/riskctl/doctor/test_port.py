"""The port of the stream: free, riskd's own, or taken, and by what."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.doctor import port as port_check
from riskd.app.riskctl.doctor.findings import Finding, Verdict
from riskd.app.riskctl.doctor.port import check_port
from riskd.journal.daemon_file import DaemonRecord
from riskd.journal.discovery import RunningDaemon

CONFIG = Path("riskd.toml")


class PortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(port_check, "ANSWER_SECONDS", 0.2)

    def listen(self, host: str = "127.0.0.1") -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        taken = socket.create_server((host, 0), family=family)
        self.addCleanup(taken.close)
        return int(taken.getsockname()[1])

    def daemon(self, port: int, pid: int = 77) -> RunningDaemon:
        record = DaemonRecord(port=port, instance="", kind="practice", pid=pid)
        return RunningDaemon(directory=Path("state"), record=record)

    def fault(self, port: int, *others: RunningDaemon) -> Finding:
        (finding,) = check_port(port, CONFIG, None, others)
        return finding

    def test_a_port_that_is_not_used_is_free(self) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = taken.getsockname()[1]
        self.assertEqual(self.fault(port).verdict, Verdict.OK)

    def test_a_riskd_that_announces_its_port_is_not_connected_to(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            taken.setblocking(False)
            self.assertEqual(self.fault(port, self.daemon(port)).verdict, Verdict.WARNING)
            self.assertRaises(BlockingIOError, taken.accept)

    def test_a_port_is_taken_on_either_address_of_localhost(self) -> None:
        for host in ("127.0.0.1", "::1"):
            try:
                port = self.listen(host)
            except OSError:
                # A machine without IPv6.
                continue
            fault = self.fault(port)
            self.assertEqual(fault.verdict, Verdict.WRONG, host)
            self.assertIn(f"{port} is taken by another program", fault.says)
            self.assertIn(f"process {os.getpid()})", fault.says)
            self.assertEqual(
                fault.mend, f"twistd -n --pidfile= riskd --port {port + 1} --config riskd.toml"
            )

    def test_a_port_that_is_bound_and_does_not_listen_is_taken(self) -> None:
        with closing(socket.socket()) as bound:
            bound.bind(("127.0.0.1", 0))
            self.assertEqual(self.fault(bound.getsockname()[1]).verdict, Verdict.WRONG)

    def test_another_riskd_is_named_with_its_gateway(self) -> None:
        port = self.listen()
        fault = self.fault(port, self.daemon(port + 5), self.daemon(port))
        self.assertEqual(fault.verdict, Verdict.WARNING)
        self.assertEqual(fault.says, f"{port} is taken by the riskd of PRACTICE, process 77")

    def test_a_riskd_that_announces_itself_elsewhere_is_known_by_its_answer(self) -> None:
        class Answer(BaseHTTPRequestHandler):
            server_version, sys_version = "riskd/9.9", ""

            def do_GET(self) -> None:
                self.send_error(426)

            def log_message(self, *_arguments: object) -> None:
                """Log nothing."""

        server = HTTPServer(("127.0.0.1", 0), Answer)
        self.addCleanup(server.server_close)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.patch(port_check, "ANSWER_SECONDS", 5.0)
        fault = self.fault(server.server_port)
        self.assertEqual(fault.verdict, Verdict.WARNING)
        self.assertIn("another --state directory", fault.says)

    def test_the_riskd_of_the_configuration_has_its_port(self) -> None:
        port = self.listen()
        (finding,) = check_port(port, CONFIG, self.daemon(port + 1), ())
        self.assertEqual(finding.verdict, Verdict.OK)
