"""A desk as riskctl sets it up, at the real server: who is let in, and what each may do."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
from collections.abc import Coroutine, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Final

import pytest
from nats.aio.client import Client

from riskd.app.riskctl.main import main
from tests.integration.desk_members import (
    EVENTS,
    LAST,
    Member,
    connected,
    context_of,
    is_let_in,
    make_streams,
    member,
    stored,
)
from tests.integration.programs import riskctl, run
from tests.support.nats_server import Cluster, NatsServer, nats_program, new_desk
from tests.support.waiting import DEADLINE_SECONDS

TLS_1_2: Final = ssl.TLSVersion.TLSv1_2


def in_loop(test: Coroutine[Any, Any, None]) -> None:
    """Run a test on a loop of its own."""
    asyncio.run(asyncio.wait_for(test, DEADLINE_SECONDS))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nats_program()
    return tmp_path_factory.mktemp("desk")


@pytest.fixture
def server(base: Path) -> Iterator[NatsServer]:
    """Run the server of a desk with anna and ben."""
    shutil.rmtree(base / "alpha", ignore_errors=True)
    server = NatsServer(new_desk(base / "alpha", "anna", "ben") / "server")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def desk(server: NatsServer) -> Path:
    return server.directory.parent


def test_riskctl_writes_what_the_server_takes(base: Path, tmp_path: Path) -> None:
    """The program itself, and the server's own check of its configuration."""
    result = riskctl("desk", "init", "alpha", "-o", f"{tmp_path}/x", "--server=localhost")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"is installed here, as {nats_program()}." in result.stdout
    for name, servers in (("one", 1), ("three", 3)):
        path = new_desk(tmp_path / name, "anna", servers=servers)
        for each in path.glob("server*"):
            checked = run(str(nats_program()), "-t", "-c", "nats-server.conf", cwd=each)
            assert checked.returncode == 0, checked.stderr


def test_what_each_may_do(desk: Path) -> None:
    """One server, since each takes its time; the kinds of trouble are in functions of their own."""

    async def test() -> None:
        async with (
            member(desk / "relay") as relay,
            member(desk / "traders" / "anna") as anna,
            member(desk / "traders" / "ben") as ben,
        ):
            await make_streams(relay)
            await check_the_relay_reads(relay, anna)
            await check_nobody_publishes_as_another(relay, anna)
            await check_answers_go_to_oneself_alone(relay, anna, ben)
            await check_a_trader_reads_nothing(relay, anna, ben)
            await check_the_relay_does_no_more(relay)

    in_loop(test())


async def check_the_relay_reads(relay: Member, anna: Member) -> None:
    quotes = await relay.client.subscribe("risk.alpha.*.*.q.>")
    await relay.client.flush()
    await anna.publish("risk.alpha.anna.1.ev.lockout_set")
    await anna.publish("risk.alpha.anna.all.ev.daemon_status")
    await anna.publish("risk.alpha.anna.1.state")
    await anna.publish("risk.alpha.anna.1.state")
    await anna.client.publish("risk.alpha.anna.beat", b"{}")
    await anna.client.publish("risk.alpha.anna.1.q.MNQZ6", b"quote")
    assert (await quotes.next_msg(DEADLINE_SECONDS)).data == b"quote"

    events = await relay.streams.subscribe(
        "risk.alpha.*.*.ev.>", stream=EVENTS, ordered_consumer=True, idle_heartbeat=5
    )
    received = [(await events.next_msg(DEADLINE_SECONDS)).subject for _ in range(2)]
    assert received == ["risk.alpha.anna.1.ev.lockout_set", "risk.alpha.anna.all.ev.daemon_status"]
    await events.unsubscribe()
    pulled = await relay.streams.pull_subscribe("risk.alpha.>", "relay", stream=LAST)
    (state,) = await pulled.fetch(1, DEADLINE_SECONDS)
    await state.ack_sync(DEADLINE_SECONDS)
    last = await relay.streams.get_last_msg(LAST, "risk.alpha.anna.beat")
    assert last.data == b"{}"
    assert (await relay.streams.consumer_info(LAST, "relay")).num_pending == 1
    await relay.streams.delete_consumer(LAST, "relay")
    assert await stored(relay) == {
        "risk.alpha.anna.1.ev.lockout_set": 1,
        "risk.alpha.anna.all.ev.daemon_status": 1,
        "risk.alpha.anna.1.state": 1,
        "risk.alpha.anna.beat": 1,
    }
    assert await relay.says() == await anna.says() == []


async def check_nobody_publishes_as_another(relay: Member, anna: Member) -> None:
    before = await stored(relay)
    subjects = (
        *("risk.alpha.ben.1.ev.lockout_set", "risk.alpha.ben.1.state", "risk.alpha.ben.beat"),
        *("risk.alpha.ben.1.q.MNQZ6", "risk.beta.anna.beat", "risk.alpha.anna", "anything"),
        *("_INBOX.relay", "$JS.ACK.x", "$SYS.REQ.SERVER.PING", "$JS.API.INFO"),
        *(f"$JS.API.STREAM.{verb}.{EVENTS}" for verb in ("PURGE", "DELETE", "INFO", "MSG.GET")),
        f"$JS.API.CONSUMER.CREATE.{EVENTS}",
    )
    for subject in subjects:
        await anna.client.publish(subject, b"{}")
        (said,) = await anna.says()
        assert f'permissions violation for publish to "{subject.lower()}"' in said.lower()
    assert await stored(relay) == before


async def check_answers_go_to_oneself_alone(relay: Member, anna: Member, ben: Member) -> None:
    """The server checks no answer's subject: in an account with others it would publish on anna's behalf."""
    await ben.publish("risk.alpha.ben.1.state")
    before = await stored(relay)
    targets = (
        *("risk.alpha.ben.1.state", "risk.alpha.ben.beat", "risk.alpha.ben.1.ev.lockout_set"),
        *(f"$JS.API.STREAM.{verb}.{EVENTS}" for verb in ("PURGE", "DELETE", "UPDATE")),
        *(f"$JS.API.STREAM.MSG.DELETE.{EVENTS}", f"$JS.API.STREAM.SNAPSHOT.{EVENTS}"),
    )
    for target in targets:
        await anna.client.publish("risk.alpha.anna.1.ev.order_update", b"{}", reply=target)
    await anna.publish("risk.alpha.anna.1.ev.order_update")
    await ben.publish("risk.alpha.ben.1.ev.order_update")
    expected = {
        "risk.alpha.anna.1.ev.order_update": len(targets) + 1,
        "risk.alpha.ben.1.ev.order_update": 1,
    }
    assert await stored(relay) == before | expected
    assert (await relay.streams.get_last_msg(LAST, "risk.alpha.ben.1.state")).data == b"{}"


async def check_a_trader_reads_nothing(relay: Member, anna: Member, ben: Member) -> None:
    for subject in (
        *(
            ">",
            "*",
            "risk.>",
            "risk.alpha.>",
            "risk.alpha.ben.>",
            "risk.alpha.anna.>",
            "risk.alpha.*.beat",
        ),
        *("$JS.>", "$SYS.>", "$JS.API.>", "_R_.>", "_INBOX.>", "_INBOX_ben.>"),
    ):
        for queue in ("", "together"):
            await anna.client.subscribe(subject, queue=queue)
            (said,) = await anna.says()
            assert f'permissions violation for subscription to "{subject.lower()}"' in said.lower()
    heard = await anna.client.subscribe("_INBOX_anna.>")
    await anna.client.flush()
    # Answers to others, which hers alone would look like.
    await ben.publish("risk.alpha.ben.1.ev.order_update")
    await relay.streams.stream_info(EVENTS)
    await anna.publish("risk.alpha.anna.1.ev.order_update")
    only = await heard.next_msg(DEADLINE_SECONDS)
    assert json.loads(only.data)["stream"] == EVENTS
    assert heard.pending_msgs == 0


async def check_the_relay_does_no_more(relay: Member) -> None:
    before = await stored(relay)
    for subject in (
        *("risk.alpha.anna.1.ev.lockout_set", "risk.alpha.anna.beat", "anything"),
        *(
            f"$JS.API.STREAM.{verb}.{EVENTS}"
            for verb in ("PURGE", "DELETE", "MSG.DELETE", "RESTORE")
        ),
        *("$JS.API.STREAM.CREATE.another", "$JS.API.CONSUMER.CREATE.another"),
    ):
        await relay.client.publish(subject, b"")
        (said,) = await relay.says()
        assert f'permissions violation for publish to "{subject.lower()}"' in said.lower()
    assert await stored(relay) == before


def test_who_has_no_certificate_of_the_desk_is_refused(desk: Path, server: NatsServer) -> None:
    anna = desk / "traders" / "anna"
    foreign = new_desk(desk.parent / "foreign" / "alpha", "anna")

    assert is_let_in(anna)
    # The names are the same; the authority is not.
    theirs = foreign / "traders" / "anna"
    assert not is_let_in(anna, context_of(theirs, anna / "ca.pem"))
    # Nor is a server of another authority trusted.
    assert not is_let_in(anna, context_of(anna, theirs / "ca.pem"))
    # No certificate, an old TLS, and a certificate that is a server's.
    assert not is_let_in(anna, ssl.create_default_context(cafile=anna / "ca.pem"))
    old = context_of(anna)
    old.maximum_version = TLS_1_2
    assert not is_let_in(anna, old)
    posing = ssl.create_default_context(cafile=anna / "ca.pem")
    posing.load_cert_chain(desk / "server" / "server.pem", desk / "server" / "server.key")
    assert not is_let_in(anna, posing)
    shutil.rmtree(foreign.parent)
    assert answer_in_plain_text(anna) == b""


def answer_in_plain_text(directory: Path) -> bytes:
    """Return what the server answers to commands in plain text."""
    with connected(directory) as plain:
        plain.sendall(b'CONNECT {"verbose": true}\r\nPING\r\n')
        try:
            return plain.recv(1024)
        except ConnectionResetError:
            return b""


def test_a_revoked_trader_is_out_and_a_new_one_in(desk: Path, server: NatsServer) -> None:
    anna, ben = desk / "traders" / "anna", desk / "traders" / "ben"

    def step(name: str, trader: str) -> None:
        with redirect_stdout(StringIO()) as said:
            assert main(["desk", name, str(desk), trader]) == 0
        for _ in range(said.getvalue().count("kill -HUP")):
            server.reload()

    async def test() -> None:
        async with member(desk / "relay") as relay, member(anna) as old, member(ben) as other:
            await make_streams(relay)
            await old.publish("risk.alpha.anna.1.ev.order_update")
            step("revoke", "anna")
            await wait_for_end(old.client)
            step("add", "anna")
            step("add", "carol")
            # Those who stay notice nothing.
            await other.publish("risk.alpha.ben.1.ev.order_update")
            async with member(anna) as new, member(desk / "traders" / "carol") as carol:
                await new.publish("risk.alpha.anna.1.ev.order_update")
                await carol.publish("risk.alpha.carol.1.ev.order_update")
            assert (await stored(relay))["risk.alpha.anna.1.ev.order_update"] == 2
            assert await other.says() == await relay.says() == []
        (revoked,) = (desk / "revoked").iterdir()
        assert not is_let_in(revoked)

    in_loop(test())


async def wait_for_end(client: Client) -> None:
    while not client.is_closed:
        await asyncio.sleep(0.01)


def test_three_servers_are_one_and_let_no_trader_among_them(base: Path) -> None:
    desk = new_desk(base / "three" / "alpha", "anna", servers=3)
    anna, relay = desk / "traders" / "anna", desk / "relay"
    cluster = Cluster(desk)

    async def test() -> None:
        async with (
            member(relay, server=0) as reader,
            member(anna, server=1) as one,
            member(anna, server=2) as other,
        ):
            await make_streams(reader, replicas=3)
            quotes = await reader.client.subscribe("risk.alpha.*.*.q.>")
            await reader.client.flush()
            for each in (one, other):
                await each.publish("risk.alpha.anna.1.ev.order_update")
            wanted = {"risk.alpha.anna.1.ev.order_update": 2}
            assert await stored(reader) == wanted
            # Until the interest of the relay has reached her server, a quote is nobody's.
            while not quotes.pending_msgs:
                await one.client.publish("risk.alpha.anna.1.q.MNQZ6", b"quote")
                await asyncio.sleep(0.01)

    try:
        cluster.start()
        in_loop(test())
        assert answer_among_servers(desk, context_of(anna)) == b""
        member_of_it = ssl.create_default_context(cafile=desk / "server-1" / "cluster-ca.pem")
        member_of_it.load_cert_chain(
            desk / "server-2" / "cluster.pem", desk / "server-2" / "cluster.key"
        )
        assert answer_among_servers(desk, member_of_it).startswith(b"INFO ")
    finally:
        cluster.stop()


def answer_among_servers(desk: Path, context: ssl.SSLContext) -> bytes:
    """Return what a server says first to one that comes as another server; empty if it refuses the certificate."""
    port = json.loads((desk / "desk.json").read_text())["servers"][0]["cluster_port"]
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as plain:
        # The one who is asked here may be anybody: what counts is whom the server takes.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with context.wrap_socket(plain) as secure:
                return secure.recv(1024)
        except OSError:
            return b""
