"""A daemon that records, and ``riskctl replay`` in another process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import websocket

from tests.support.twistd import Twistd, twistd_command
from tests.support.waiting import DEADLINE_SECONDS, wait_until

Start = Callable[..., Twistd]
Completed = subprocess.CompletedProcess[bytes]


def replay(recording: Path, *arguments: str, seed: int = 0) -> Completed:
    return subprocess.run(
        [sys.executable, "-m", "riskd.app.riskctl.main", "replay", str(recording), *arguments],
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )


def start_recording(twistd: Start, directory: Path) -> Twistd:
    recording, state = directory / "day.jsonl", directory / "state"
    return twistd(
        "--port", "0", "--state", str(state), "--record", str(recording), "--practice-seed", "3"
    )


def test_a_replay_gives_the_bytes_that_a_client_received(twistd: Start, tmp_path: Path) -> None:
    recording = tmp_path / "day.jsonl"
    daemon = start_recording(twistd, tmp_path)
    assert stat.S_IMODE(recording.stat().st_mode) == 0o600
    stream = websocket.create_connection(f"ws://localhost:{daemon.port}", timeout=DEADLINE_SECONDS)
    seen: list[bytes] = []
    while not any(b"GatewayUserPosition" in message for message in seen):
        seen.append(stream.recv_data()[1])
    daemon.send_signal(signal.SIGTERM)
    while True:
        opcode, data = stream.recv_data()
        if opcode != websocket.ABNF.OPCODE_TEXT:
            break
        seen.append(data)
    stream.shutdown()
    assert daemon.wait() == 0
    (stopping,) = (message for message in seen if b"STOPPING" in message)

    # Another process, in which sets iterate in another order.
    first, second = (replay(recording, seed=seed) for seed in (1, 2))
    assert first.returncode == 0
    told = first.stdout.splitlines()
    # Events that waited for the disk may be broadcast after the client has disconnected.
    start = told.index(stopping) - seen.index(stopping)
    assert told[start : start + len(seen)] == seen
    assert first.stderr.endswith(b" broadcasts, all as recorded\n")
    assert (second.stdout, second.stderr) == (first.stdout, first.stderr)

    other = tmp_path / "other.toml"
    other.write_text("[rules.max_contracts]\nlimit = 1\n[[accounts]]\nid = 123\n")
    what_if = replay(recording, "--config", str(other))
    assert what_if.returncode == 0
    assert f"with {other}: ".encode() in what_if.stderr

    again = subprocess.run(
        twistd_command("--port", "0", "--state", str(tmp_path), "--record", str(recording)),
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert again.returncode == 1
    (line,) = again.stderr.splitlines()
    assert line.startswith(b"riskd: the recording ")
    assert b"exists already" in line


def test_the_recording_of_a_killed_daemon_replays_to_its_end(
    twistd: Start, tmp_path: Path
) -> None:
    recording = tmp_path / "day.jsonl"
    daemon = start_recording(twistd, tmp_path)
    wait_until(lambda: recording.read_bytes().count(b'{"told":') > 20)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    whole = recording.read_bytes()
    result = replay(recording)
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == whole.count(b'{"told":')
    lines = whole.count(b"\n")
    assert (
        f"breaks off after line {lines:,}: riskd was killed, or is still recording".encode()
        in (result.stderr)
    )
    # Also one that ends inside a line.
    recording.write_bytes(whole[:-7])
    assert replay(recording).returncode == 0
