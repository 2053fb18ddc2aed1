"""``riskctl doctor``: each planted fault is found, with the command that mends it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from twisted.internet import reactor

from riskd.app.riskctl.arguments import make_parser
from riskd.app.riskctl.doctor import broker, examination
from riskd.app.riskctl.doctor import port as port_check
from riskd.app.riskctl.doctor.examination import Examination, Machine
from riskd.app.riskctl.doctor.findings import Finding, Verdict
from riskd.config import presets
from riskd.journal.daemon_file import DaemonRecord
from riskd.journal.discovery import RunningDaemon
from riskd.journal.gateway_identity import gateway_identity
from tests.integration.practice_gateway import ACCOUNT, KEY, Gateway
from tests.integration.programs import riskctl, run
from tests.support.twistd import Twistd
from tests.support.waiting import DEADLINE_SECONDS, until


class Usage(NamedTuple):
    """The usage of a disk."""

    free: int


PLENTY = Usage(10**12)


class Patient(NamedTuple):
    """A machine on which all is well, until a test plants a fault.

    :ivar directory: holds the configuration and the key.
    :ivar state: the state directory.
    """

    directory: Path
    state: Path
    machine: Machine

    @property
    def config(self) -> Path:
        return self.directory / "riskd.toml"

    def edit(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    async def examine(
        self, shown: list[Finding] | None = None, **changed: Any
    ) -> tuple[int, list[Finding]]:
        """Run all checks; return the exit status, and what is not ok.

        :param shown: takes all findings.
        """
        found: list[Finding] = [] if shown is None else shown
        options = make_parser().parse_args(["doctor", "--config", os.fspath(self.config)])
        fields = {name: getattr(self.machine, name) for name in Machine.__struct_fields__}
        machine = Machine(**(fields | changed))
        status = await Examination(reactor, options, machine, found.append).run()
        return status, [each for each in found if each.verdict != Verdict.OK]

    async def fault_of(self, what: str, **changed: Any) -> Finding:
        """Return the fault of one check; on a busy machine others may be late, too."""
        _status, found = await self.examine(**changed)
        (fault,) = [each for each in found if each.what == what]
        return fault

    async def only_fault(self, **changed: Any) -> Finding:
        """Return the one fault that is found; the exit status is that of its verdict."""
        status, (fault,) = await self.examine(**changed)
        assert status == max(fault.verdict, Verdict.OK)
        return fault


@pytest.fixture
def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def patient(
    gateway: Gateway,
    tmp_path: Path,
    state_home: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> Patient:
    # The broker's time is known to a second after one answer; more take a second each.
    monkeypatch.setattr(broker, "CLOCK_REPORTS", 0)
    monkeypatch.setattr(broker, "WARNING", timedelta(seconds=1.9))
    # A busy machine is slow.
    monkeypatch.setattr(broker, "SLOW_SECONDS", 60)
    monkeypatch.delenv("RISKD_API_KEY", raising=False)
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    key.chmod(0o600)
    (tmp_path / "riskd.toml").write_text(
        f"""
enforce = false
[gateway]
kind = "projectx"
user_name = "practice"
key_file = "key"
rest_url = "{gateway.url}"
user_hub_url = "{gateway.url}/hubs/user"
market_hub_url = "{gateway.url}/hubs/market"
[[accounts]]
id = {ACCOUNT}
preset = "topstep-50k"
"""
    )
    state = state_home / "riskd" / gateway_identity("projectx", gateway.url, "practice").key
    root = tmp_path / "root"
    (root / "run/systemd/system").mkdir(parents=True)
    (root / "etc/systemd").mkdir(parents=True)
    machine = Machine(platform="linux", root=root, port=free_port, usage=lambda _: PLENTY)
    return Patient(tmp_path, state, machine)


@pytest_twisted.ensureDeferred
async def test_nothing_is_found_where_all_is_well(patient: Patient) -> None:
    assert await patient.examine() == (0, [])
    # It has changed nothing: not even the state directory is made.
    assert not patient.state.exists()


# Planted faults.


@pytest_twisted.ensureDeferred
async def test_a_python_that_is_too_old(patient: Patient) -> None:
    fault = await patient.only_fault(python="3.10.12")
    assert "3.10.12, but riskd" in fault.says
    assert "python3 -m venv --upgrade" in fault.mend


@pytest_twisted.ensureDeferred
async def test_a_library_that_is_too_old(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = patient.directory / "packages" / "msgspec-0.1.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: msgspec\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(os.fspath(old.parent))
    fault = await patient.only_fault()
    assert fault.verdict == Verdict.WRONG
    assert "msgspec is 0.1.0, but riskd" in fault.says
    assert fault.mend.endswith("-m pip install --upgrade 'msgspec>=0.20'")


@pytest_twisted.ensureDeferred
async def test_a_mistake_in_the_configuration(patient: Patient) -> None:
    patient.edit("enforce = false", "enforce = maybe")
    _status, (fault,) = await patient.examine()
    assert fault.what == "configuration"
    assert "riskd.toml" in fault.says
    assert "riskctl check-config" in fault.mend
    patient.edit("enforce = maybe", "enforced = false")
    fault = await patient.only_fault()
    assert "enforced" in fault.says


@pytest_twisted.ensureDeferred
async def test_a_preset_that_is_outdated(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "MOST_DAYS", -99999)
    fault = await patient.only_fault()
    assert (fault.verdict, fault.what) == (Verdict.WARNING, "presets")
    assert "compare them with the firm's page" in fault.says
    assert fault.mend == "riskctl presets topstep-50k"


@pytest_twisted.ensureDeferred
async def test_a_key_file_that_others_may_read(patient: Patient) -> None:
    key = patient.directory / "key"
    key.chmod(0o640)
    status, (fault, login) = await patient.examine()
    assert (status, fault.what, fault.mend) == (2, "API key", f"chmod 600 {key}")
    assert (login.verdict, login.says) == (Verdict.NOTE, "not tried without an API key")


@pytest_twisted.ensureDeferred
async def test_a_key_that_was_revoked(patient: Patient) -> None:
    (patient.directory / "key").write_text("another-key-that-was-revoked\n")
    fault = await patient.only_fault()
    assert "practice no login: the user name or the API key is wrong" in fault.says
    assert fault.mend.startswith(f"cat > {patient.directory / 'key'} ")
    assert "another-key" not in fault.says + fault.mend


@pytest_twisted.ensureDeferred
async def test_an_account_that_the_login_does_not_have(patient: Patient) -> None:
    patient.edit(f"id = {ACCOUNT}", "id = 99")
    fault = await patient.only_fault()
    assert fault.says == "the login has no account 99, but 123 (PRACTICE-123), 456 (PRACTICE-456)"
    assert fault.mend == f"${{EDITOR:-vi}} {patient.config}"


@pytest_twisted.ensureDeferred
async def test_an_api_that_is_not_reached(
    patient: Patient, gateway: Gateway, free_port: int
) -> None:
    patient.edit(f'rest_url = "{gateway.url}"', f'rest_url = "http://127.0.0.1:{free_port}"')
    status, (fault, login, clock) = await patient.examine()
    assert status == 2
    assert fault.says == f"http://127.0.0.1:{free_port} is not reached: no connection"
    assert fault.mend.startswith("curl ")
    assert (login.verdict, clock.verdict) == (Verdict.NOTE, Verdict.NOTE)


@pytest_twisted.ensureDeferred
async def test_a_hub_at_a_wrong_address(patient: Patient) -> None:
    patient.edit("/hubs/user", "/hubs/users")
    fault = await patient.only_fault()
    assert fault.what == "user hub"
    assert "HTTP 404" in fault.says
    assert fault.mend.endswith("riskd.toml   # user_hub_url")


@pytest_twisted.ensureDeferred
async def test_a_hub_that_never_answers(
    patient: Patient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "HUB_SECONDS", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        patient.edit(f"{gateway.url}/hubs/market", url)
        fault = await patient.fault_of("market hub")
    assert fault.says == f"{url} is not reached: nothing in 0.3 s"
    assert fault.mend.startswith(f"curl -sSv -o /dev/null {url} ")


@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_wrong(patient: Patient) -> None:
    fault = await patient.only_fault(now=lambda: datetime.now(UTC) + timedelta(seconds=30))
    assert fault.verdict == Verdict.WRONG
    assert "s ahead of the broker's" in fault.says
    assert fault.mend == "sudo timedatectl set-ntp true"


@pytest_twisted.ensureDeferred
async def test_a_port_that_another_program_has(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_check, "ANSWER_SECONDS", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        fault = await patient.only_fault(port=port)
    assert fault.verdict == Verdict.WRONG
    assert f"{port} is taken by another program" in fault.says
    assert f"process {os.getpid()})" in fault.says
    assert f"riskd --port {port + 1} --config {patient.config}" in fault.mend


@pytest_twisted.ensureDeferred
async def test_a_state_directory_that_everybody_may_write(patient: Patient) -> None:
    patient.state.mkdir(parents=True)
    patient.state.chmod(0o777)
    fault = await patient.only_fault()
    assert "mode 0777" in fault.says
    assert fault.mend == f"chmod go-w {patient.state}"


@pytest_twisted.ensureDeferred
async def test_a_disk_that_is_full(patient: Patient) -> None:
    fault = await patient.only_fault(usage=lambda _path: Usage(50_000_000))
    assert fault.verdict == Verdict.WRONG
    assert "0.05 GB are free" in fault.says
    assert fault.mend.startswith("du ")


@pytest_twisted.ensureDeferred
async def test_a_machine_that_suspends_when_it_is_idle(patient: Patient) -> None:
    (patient.machine.root / "etc/systemd/logind.conf").write_text("[Login]\nIdleAction=suspend\n")
    fault = await patient.only_fault()
    assert "IdleAction=suspend" in fault.says
    assert fault.mend.startswith("sudo systemctl mask sleep.target suspend.target")


@pytest_twisted.ensureDeferred
async def test_a_riskd_that_cannot_be_looked_for_is_not_risked(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login could end that of a riskd which runs."""

    def fail(_directory: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(examination, "running_daemon", fail)
    shown: list[Finding] = []
    fault = await patient.only_fault(shown=shown)
    assert (fault.what, fault.verdict) == ("riskd", Verdict.WRONG)
    assert "Input/output error" in fault.says
    assert not {"login", "user hub"} & {each.what for each in shown}


@pytest_twisted.ensureDeferred
async def test_a_riskd_with_another_state_directory_is_not_disturbed(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "daemons_of", lambda _path: [77])
    fault = await patient.only_fault()
    assert (fault.what, fault.verdict) == ("login", Verdict.NOTE)
    assert "process 77 is a riskd with a riskd.toml, perhaps this one" in fault.says


@pytest_twisted.ensureDeferred
async def test_a_riskd_that_announces_another_gateway_is_none_of_this_configuration(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = DaemonRecord(port=1, instance="", kind="practice", pid=77)
    other = RunningDaemon(directory=patient.directory, record=record)
    monkeypatch.setattr(examination, "daemons_of", lambda _path: [77])
    monkeypatch.setattr(examination, "running_daemons", lambda _directory: [other])
    shown: list[Finding] = []
    await patient.examine(shown)
    assert [each.verdict for each in shown if each.what == "login"] == [Verdict.OK]


@pytest_twisted.ensureDeferred
async def test_a_disk_that_does_not_answer(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "CHECK_SECONDS", 1.0)
    ended = Event()

    def usage(_path: Path) -> object:
        ended.wait(DEADLINE_SECONDS)
        raise OSError

    try:
        fault = await patient.fault_of("disk space", usage=usage)
    finally:
        ended.set()
    assert "not known after 1 s" in fault.says


# With a riskd that runs.


@pytest_twisted.ensureDeferred
async def test_a_riskd_that_runs_is_asked_and_not_disturbed(
    patient: Patient,
    gateway: Gateway,
    twistd: Callable[..., Twistd],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daemon = twistd("--port", "0", "--config", os.fspath(patient.config))
    assert await patient.examine() == (0, [])
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        # The usual port does not matter to a riskd that listens on another one.
        assert await patient.examine(port=taken.getsockname()[1]) == (0, [])
    # Another user, here the root of the machine, is sent to the one who runs it, and learns how it is.
    with monkeypatch.context() as stranger:
        stranger.setattr(os, "geteuid", lambda: 54321)
        fault = await patient.only_fault()
    assert fault.what == "user"
    # No login, no logout, no hub that ended.
    assert daemon.log.count("logged in") == 1
    assert daemon.log.count("hub: connected") == 2
    gateway.end(signal.SIGKILL)
    try:
        await until(lambda: "status ERROR" in daemon.log)
        status, found = await patient.examine()
    finally:
        gateway.start()
    assert status == 2
    (fault,) = [each for each in found if each.what == "riskd"]
    assert "is ERROR: The broker" in fault.says
    assert fault.mend == "riskctl status"


# The program.


def test_the_program_writes_a_line_for_each_check_and_exits_with_the_worst(
    patient: Patient,
) -> None:
    (patient.directory / "key").chmod(0o644)
    result = riskctl("doctor", "--config", os.fspath(patient.config))
    assert (result.returncode, result.stderr) == (2, "")
    lines = result.stdout.splitlines()
    bad = next(
        number for number, line in enumerate(lines) if line.startswith("WRONG    API key: ")
    )
    assert lines[bad + 1] == f"         $ chmod 600 {patient.directory / 'key'}"
    for what in ("Python", "libraries", "configuration", "presets", "disk space", "user hub"):
        assert any(line.startswith(f"ok       {what}: ") for line in lines), what


def test_the_program_ends_though_a_check_still_waits_for_its_disk(tmp_path: Path) -> None:
    script = """
import sys, time
from riskd.app.riskctl.doctor import examination
from riskd.app.riskctl.main import main
examination.CHECK_SECONDS = 1
examination.check_disk = lambda *_: time.sleep(3600)
sys.exit(main(["doctor"]))
"""
    result = run(sys.executable, "-c", script, cwd=tmp_path)
    assert result.returncode == 2
    assert "WRONG    disk space: not known after 1 s" in result.stdout
