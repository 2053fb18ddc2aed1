"""The site as bytes: Host and Origin, HTTP, negotiation and upgrades."""

from __future__ import annotations

import json

from twisted.logger import capturedLogs, formatEvent

from riskd.config.settings import Faults
from riskd.host.bounded_site import REQUEST_SECONDS
from riskd.practice.server.hub_sockets import token_of
from riskd.practice.server.site import MAX_BODY_BYTES, MAX_CONNECTIONS
from tests.support.practice_server import (
    HOST,
    MNQ,
    PORT,
    HubClient,
    PracticeServerTestCase,
    Wire,
    read_reply,
)


class SameHostTests(PracticeServerTestCase):
    """The check of Host and Origin."""

    def status(self, host: str, *headers: str) -> int:
        bearer = f"Authorization: Bearer {self.token}"
        rest = self.request("/api/Account/search", host=host, headers=(bearer, *headers)).status
        hub = HubClient(
            self.site, f"/hubs/user?access_token={self.token}", host=host, headers=headers
        ).answer
        self.assertEqual((rest, hub), (rest, 101 if rest == 200 else rest))
        return rest

    def test_this_machines_names_are_accepted_with_and_without_a_port(self) -> None:
        for host in ("localhost", HOST, f"127.0.0.1:{PORT}", f"[::1]:{PORT}", "127.0.0.1"):
            self.assertEqual(self.status(host), 200, host)

    def test_foreign_names_are_refused(self) -> None:
        """Even a foreign name that resolves to this machine."""
        for host in ("evil.example", f"evil.example:{PORT}", "localhost:80", "10.0.0.1"):
            self.assertEqual(self.status(host), 403, host)

    def test_only_pages_of_this_machine_are_accepted(self) -> None:
        for origin, status in (
            (f"http://localhost:{PORT}", 200),
            (f"http://127.0.0.1:{PORT}", 200),
            ("http://evil.example", 403),
            ("http://localhost:3000", 403),
            (f"https://localhost:{PORT}", 403),
            ("null", 403),
        ):
            self.assertEqual(self.status(HOST, f"Origin: {origin}"), status, origin)


class HttpTests(PracticeServerTestCase):
    """Requests and responses as HTTP."""

    def test_any_content_type_is_accepted(self) -> None:
        """Curl sends JSON under the content type of a form."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
            bearer = f"Authorization: Bearer {self.token}"
            body = b'{"accountId":123}'
            headers = (bearer, f"Content-Type: {kind}")
            reply = self.request("/api/Position/searchOpen", body, headers=headers)
            self.assertEqual((reply.status, reply.fields["positions"]), (200, []), kind)

    def test_replies_are_json(self) -> None:
        for path in ("/api/Account/search", "/api/nothing", "/hubs/user/negotiate"):
            self.assertEqual(self.request(path).headers["Content-Type"], "application/json")

    def test_a_ping_needs_no_token(self) -> None:
        self.token = ""
        reply = self.request("/api/Status/ping", method="GET")
        self.assertEqual((reply.status, reply.body), (200, b'"pong"'))

    def test_a_token_may_be_in_the_address_but_not_in_the_body(self) -> None:
        kind = "Content-Type: application/x-www-form-urlencoded"
        body = f"access_token={self.token}".encode()
        self.assertEqual(self.request("/api/Account/search", body, headers=(kind,)).status, 401)
        address = f"/api/Account/search?access_token={self.token}"
        self.assertEqual(self.request(address, headers=(kind,)).status, 200)

    def test_a_body_that_is_too_large_is_refused_and_not_kept(self) -> None:
        body = b'{"searchText":"' + b"x" * MAX_BODY_BYTES + b'"}'
        self.assertEqual(self.request("/api/Contract/search", body).status, 413)
        wire = Wire(self.site)
        wire.send(
            f"POST /api/Contract/search HTTP/1.1\r\nHost: {HOST}\r\n"
            f"Authorization: Bearer {self.token}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(20):
            wire.send(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
        wire.send(b"0\r\n\r\n")
        self.assertEqual(read_reply(wire.take()).status, 413)

    def test_the_largest_body_is_read(self) -> None:
        body = b'{"searchText":"MNQ"}'.ljust(MAX_BODY_BYTES)
        self.assertEqual(self.request("/api/Contract/search", body).status, 200)

    def test_an_unanswered_request_cuts_the_connection(self) -> None:
        self.gateway.faults = Faults(lost_requests=1)
        wire = Wire(self.site)
        body = json.dumps({"accountId": 123, "contractId": MNQ}).encode()
        wire.send(
            f"POST /api/Position/closeContract HTTP/1.1\r\nHost: {HOST}\r\n"
            f"Content-Length: {len(body)}\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()
            + body
        )
        self.assertEqual((wire.take(), wire.is_gone), (b"", True))

    def test_a_client_that_leaves_before_its_response_is_no_error(self) -> None:
        self.gateway.faults = Faults(slow_seconds=5)
        wires = [Wire(self.site) for _ in range(8)]
        for wire in wires:
            wire.send(
                f"POST /api/Account/search HTTP/1.1\r\nHost: {HOST}\r\n"
                f"Content-Length: 0\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()
            )
            wire.transport.loseConnection()
        with capturedLogs() as logged:
            self.clock.advance(6)
        self.assertEqual([formatEvent(event) for event in logged if "log_failure" in event], [])

    def test_an_internal_error_is_a_response_and_logged(self) -> None:
        def fail(_exchange: object) -> None:
            raise ZeroDivisionError

        self.patch(self.gateway, "ask", lambda _request, _look: fail(None))
        self.assertEqual(self.request("/api/Account/search").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ConnectionTests(PracticeServerTestCase):
    """The number of connections, of which each takes a file descriptor."""

    def half_a_body(self) -> Wire:
        wire = Wire(self.site)
        wire.send(f"POST /api/Auth/loginKey HTTP/1.1\r\nHost: {HOST}\r\n".encode())
        wire.send(b"Content-Length: 1000\r\n\r\nhalf")
        return wire

    def test_half_sent_bodies_keep_nobody_out_and_are_cut_soon(self) -> None:
        hub = self.hub()
        waiting = [self.half_a_body() for _ in range(300)]
        # The others are the hub's and the one that has logged in.
        self.assertEqual(sum(not wire.is_gone for wire in waiting), MAX_CONNECTIONS - 2)
        self.assertEqual(self.reply("Account/search").status, 200)
        self.assertEqual(self.hub("market").answer, 101)
        self.clock.advance(REQUEST_SECONDS)
        self.assertTrue(all(wire.is_gone for wire in waiting))
        hub.ping()
        self.assertTrue(hub.has_pong)

    def test_clients_of_the_hubs_count_and_are_not_cut(self) -> None:
        self.patch(self.site, "_max_connections", 8)
        hubs = [self.hub() for _ in range(8)]
        self.assertIsNone(self.site.buildProtocol(None))
        self.assertFalse(any(hub.is_gone for hub in hubs))
        hubs[0].transport.loseConnection()
        self.assertEqual(self.reply("Account/search").status, 200)

    def test_the_time_for_a_request_is_not_that_of_a_hub(self) -> None:
        hub = self.hub()
        self.clock.advance(REQUEST_SECONDS * 3)
        hub.ping()
        self.clock.advance(REQUEST_SECONDS * 3)
        self.assertFalse(hub.is_gone)


class NegotiationTests(PracticeServerTestCase):
    """The negotiation before a connection."""

    def test_negotiation_returns_what_clients_expect(self) -> None:
        for query, version in (("", 0), ("?negotiateVersion=1", 1), ("?negotiateVersion=0", 0)):
            reply = self.request(f"/hubs/market/negotiate{query}").fields
            self.assertEqual(
                list(reply),
                ["negotiateVersion", "connectionId", "connectionToken", "availableTransports"],
            )
            self.assertEqual(reply["negotiateVersion"], version)
            self.assertEqual(
                reply["availableTransports"],
                [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
            )

    def test_the_token_may_be_in_the_header_or_in_the_query(self) -> None:
        query = f"/hubs/user/negotiate?access_token={self.token}"
        self.assertEqual(self.request("/hubs/user/negotiate").status, 200)
        self.token = ""
        self.assertEqual(self.request(query).status, 200)
        self.assertEqual(self.request("/hubs/user/negotiate").status, 401)
        self.assertEqual(self.request("/hubs/user/negotiate?access_token=x.y.z").status, 401)

    def test_negotiation_is_a_post_at_a_hub(self) -> None:
        self.assertEqual(self.request("/hubs/user/negotiate", method="GET").status, 405)
        self.assertEqual(self.request("/hubs/chat/negotiate").status, 404)

    def test_any_connection_id_is_accepted_or_none(self) -> None:
        reply = self.request("/hubs/user/negotiate?negotiateVersion=1").fields
        for query in (
            f"id={reply['connectionToken']}&",
            f"id={reply['connectionToken']}&",
            f"id={reply['connectionId']}&",
            "",
        ):
            path = f"/hubs/user?{query}access_token={self.token}"
            self.assertEqual(HubClient(self.site, path).answer, 101, query)


class UpgradeTests(PracticeServerTestCase):
    """The upgrade to a WebSocket."""

    def test_the_token_may_be_in_the_header_or_in_the_query(self) -> None:
        bearer = (f"Authorization: Bearer {self.token}",)
        self.assertEqual(HubClient(self.site, "/hubs/user", headers=bearer).answer, 101)
        query = f"?access_token={self.token}"
        self.assertEqual(HubClient(self.site, f"/hubs/market{query}").answer, 101)
        for path in ("/hubs/user", "/hubs/market?access_token=x.y.z"):
            self.assertEqual(HubClient(self.site, path).answer, 401)

    def test_only_the_paths_of_hubs_accept_an_upgrade(self) -> None:
        query = f"?access_token={self.token}"
        self.assertEqual(self.request(f"/hubs/user{query}", method="GET").status, 426)
        self.assertEqual(self.request(f"/hubs/user{query}").status, 405)
        self.assertEqual(HubClient(self.site, f"/hubs/chat{query}").answer, 404)
        self.assertEqual(HubClient(self.site, f"/hubs/User{query}").answer, 404)

    def test_tokens_and_addresses_are_not_logged(self) -> None:
        with capturedLogs() as logged:
            client = self.hub()
            client.invoke("SubscribeOrders", 123)
            client.transport.loseConnection()
            HubClient(self.site, f"/hubs/user?access_token={self.token}x")
        said = "".join(f"{formatEvent(event)}{event!r}" for event in logged)
        self.assertIn("opened the user hub", said)
        self.assertNotIn(self.token, said)

    def test_the_token_in_the_header_comes_first(self) -> None:
        self.assertEqual(token_of("Bearer a", ["b"]), "a")
        self.assertEqual(token_of("bearer a", []), "a")
        self.assertEqual(token_of("Basic a", ["b"]), "b")
        self.assertEqual(token_of(None, []), "")
