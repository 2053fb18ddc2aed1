"""``twistd -n riskd`` on ``twistd practice-gateway`` over ProjectX, both as users run them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from riskd.journal.reader import read_published
from tests.integration.event_stream import EventStream
from tests.integration.practice_gateway import (
    ACCOUNT,
    OWN_KEY,
    Broker,
    Gateway,
    config,
    key_file,
)
from tests.support.twistd import Twistd
from tests.support.waiting import wait_until

Start = Callable[..., Twistd]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Start a practice gateway in which only the test trades."""
    directory = tmp_path / "gateway"
    directory.mkdir()
    key_file(tmp_path)
    started = Gateway(directory, "--quiet", "--key-file", str(tmp_path / "key"))
    yield started
    started.process.kill()
    started.process.wait()


TIGHT = """
[rules.max_contracts]
limit = 2
[rules.cooldown_after_loss]
loss_threshold = 1
cooldown_seconds = 3600
"""


def test_a_day_at_the_broker(
    gateway: Gateway, twistd: Start, tmp_path: Path, state_home: Path
) -> None:
    file = config(tmp_path, gateway.url, TIGHT)
    daemon = twistd("--port", "0", "--config", file)
    stream = EventStream(daemon.port)
    broker = Broker(gateway.port, OWN_KEY)
    mnq = broker.contract("MNQ")
    stream.next("MarketQuote", contractId=mnq)

    # A breach; the loss of closing it locks the account.
    broker.trade(ACCOUNT, mnq, side=0, size=3)
    assert stream.next("enforcement_action")["success"]
    assert broker.held(ACCOUNT) == {}
    stream.next("lockout_set", rule_id="RULE-007")

    # A kill does not unlock it.
    stream.close()
    daemon.process.kill()
    daemon.process.wait()
    broker.trade(ACCOUNT, mnq, side=0)
    daemon = twistd("--port", "0", "--config", file)
    wait_until(lambda: broker.held(ACCOUNT) == {})
    stream = EventStream(daemon.port)
    (state,) = state_home.glob("riskd/projectx-*")
    assert set(read_published(state).accounts[ACCOUNT].lockouts) == {"RULE-007"}

    # The broker goes away and comes back.
    assert gateway.end(signal.SIGKILL) != 0
    lost = stream.next("daemon_status", status="ERROR")
    assert "since" in lost["message"]
    gateway.start()
    stream.next("daemon_status", status="RUNNING")
    broker.trade(ACCOUNT, mnq, side=1)
    wait_until(lambda: broker.held(ACCOUNT) == {})

    daemon.send_signal(signal.SIGTERM)
    assert stream.next("daemon_status", status="STOPPING")
    assert daemon.wait() == 0
    stream.close()
    for log in (daemon.log, gateway.log):
        assert "Traceback" not in log
        for secret in (OWN_KEY, broker.token, "access_token=ey"):
            assert secret not in log


def test_a_refused_login_is_reported_and_can_be_mended_without_a_restart(
    gateway: Gateway, tmp_path: Path, twistd: Start
) -> None:
    key_file(tmp_path, mode=0o644)
    file = config(tmp_path, gateway.url)
    daemon = twistd("--port", "0", "--config", file, waits=False)
    wait_until(lambda: "chmod 600" in daemon.log)
    (tmp_path / "key").chmod(0o600)
    # riskd tries again in half a minute; a restart tries at once.
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert OWN_KEY not in daemon.log

    key_file(tmp_path, "another-key")
    daemon = twistd("--port", "0", "--config", file, waits=False)
    wait_until(lambda: "The broker refuses the login" in daemon.log)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert "another-key" not in daemon.log
    assert "Traceback" not in daemon.log


def test_a_daemon_that_starts_before_its_broker_waits_for_the_broker(
    gateway: Gateway, twistd: Start, tmp_path: Path
) -> None:
    gateway.end()
    daemon = twistd("--port", "0", "--config", config(tmp_path, gateway.url, TIGHT), waits=False)
    wait_until(lambda: "status ERROR" in daemon.log)
    gateway.start()
    wait_until(lambda: "status RUNNING" in daemon.log)
    assert "Traceback" not in daemon.log
