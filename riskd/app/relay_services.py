"""The services of ``twistd riskd-relay``."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import Any, Final, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from riskd.app.daemon_file import DaemonFileService, daemon_record
from riskd.app.descriptors import DescriptorService
from riskd.app.launch import utc_now
from riskd.broadcast.server import BroadcastServerFactory, BroadcastService
from riskd.desk.certificate_end import CertificateWatch, certificate_end
from riskd.desk.connection import DeskConnection
from riskd.desk.desk_reader import DeskReader
from riskd.desk.relay_service import RelayService
from riskd.desk.revoked import Revoked
from riskd.desk.settings import DeskSettings
from riskd.host.disk_thread import DiskThread
from riskd.journal.daemon_file import write_daemon
from riskd.journal.gateway_identity import DESK
from riskd.journal.ownership import Owner
from riskd.journal.schema import PUBLISHED_NAME
from riskd.journal.service import JournalService
from riskd.journal.state_directory import StateDirectory
from riskd.journal.store import Store

MAX_CLIENTS: Final = 1000

_log = Logger()


def relay_services(
    reactor: Any,
    settings: DeskSettings,
    context: ssl.SSLContext,
    user: str,
    revoked: Revoked,
    sockets: list[socket.socket],
    state: StateDirectory,
) -> list[Service]:
    """Return the services of a relay, in the order in which they start.

    :param context: the TLS towards the desk's servers.
    :param user: the relay's name among their users.
    :param revoked: who has left the desk.
    :param sockets: listening, for consoles.
    :param state: claimed for the desk.
    """
    owner = cast(Owner, state.owner)
    journal = JournalService(reactor, Store(state.path, owner), DiskThread(reactor), utc_now, DESK)
    addresses = [listening.getsockname()[:2] for listening in sockets]
    record = partial(daemon_record, addresses[0], owner)

    def accounts_changed(accounts: tuple[int, ...]) -> None:
        try:
            write_daemon(state.path, record(accounts))
        except OSError as error:
            _log.warn("daemon.json cannot be written: {error}", error=error.strerror)

    factory = BroadcastServerFactory(
        reactor,
        gateway_name=DESK,
        addresses=addresses,
        state_file=state.path / PUBLISHED_NAME,
        instance=owner.instance,
        prepare=lambda: Deferred.fromCoroutine(relay.admit()),
        max_clients=MAX_CLIENTS,
    )
    relay = RelayService(
        reactor,
        settings.desk,
        state.path,
        revoked,
        journal,
        factory.broadcast,
        utc_now,
        accounts_changed,
    )
    reader = DeskReader(settings.desk, len(settings.servers), relay)

    # They stop in reverse order: the broadcast closes its clients, and the journal writes the final state.
    return [
        journal,
        BroadcastService(reactor, factory, sockets),
        relay,
        DeskConnection(settings, user, context, reader.use),
        CertificateWatch(
            reactor,
            certificate_end(context),
            utc_now,
            partial(relay.report_problem, "certificates"),
        ),
        DescriptorService(reactor, MAX_CLIENTS, relay.report_problem),
        DaemonFileService(state.path, partial(record, ()), relay.report_problem),
    ]
