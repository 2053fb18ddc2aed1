"""Which daemon a console follows, and where that daemon publishes its state.

Accounts with the same number at two gateways are two accounts.  So the daemon's handshake says where its
published copy is and which instance the copy must be of, and a console that shows a broker's account never
turns to a daemon that trades paper.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from riskd.host.errors import UserError
from riskd.journal.contents import published_copies
from riskd.journal.daemon_file import read_daemon
from riskd.journal.discovery import (
    USUAL_PORT,
    RunningDaemon,
    SeveralDaemonsError,
    choose_daemon,
    gateway_words,
    none_follows,
    running_daemons,
    state_directories,
)
from riskd.journal.gateway_identity import PRACTICE
from riskd.journal.reader import Snapshot, StateFileError, published_mark, read_published
from riskd.journal.schema import PUBLISHED_NAME
from trader.client import DEFAULT_URL, Handshake


class FollowedDaemon:
    """The daemon of one account: its URL, its state directory and its instance.

    :param account_id: ``None`` for the daemon of any account.
    :param url: the URL that the trader named; ``None`` finds the daemon, in ``state`` if that is named.
    :param state: the state directory that the trader named; ``None`` finds it.
    :param root: the directory that holds the state directories of this user's daemons.
    :ivar url: the URL of the next attempt to connect, or of the last one.
    """

    def __init__(
        self, account_id: int | None, url: str | None, state: Path | None, root: Path
    ) -> None:
        self._account_id = account_id
        self._is_found_by_file = url is None and state is None
        self._has_named_url = url is not None
        self._named_state = state
        self._root = root
        self._directory = state
        self._handshake: Handshake | None = None
        # The kind of gateway of what is on the screen.
        self._kind: str | None = None
        self.url = url or DEFAULT_URL

    @property
    def origin(self) -> tuple[str | None, str]:
        """The kind of gateway and the instance that the last handshake named."""
        handshake = self._handshake
        return (None, "") if handshake is None else (handshake.gateway_name, handshake.instance)

    @property
    def directory(self) -> Path | None:
        """The daemon's state directory, as far as it is known."""
        return self._directory

    def locate(self) -> str:
        """Return the URL for an attempt to connect.

        :raises SeveralDaemonsError: several daemons would do, or none of those that run.
        """
        if self._is_found_by_file:
            daemons = self._daemons()
            daemon = self._of_account(daemons)
            if daemon is not None:
                self.url = daemon.record.url
            elif any(each.record.port == USUAL_PORT for each in daemons):
                # Otherwise a daemon that no file names may serve at the usual port.
                raise SeveralDaemonsError(none_follows(daemons, self._account_id))
        elif self._named_state is not None and not self._has_named_url:
            record = read_daemon(self._named_state)
            # After a kill it serves at the same port, as a rule.
            if record is not None:
                self.url = record.url
        return self.url

    def admit(self, handshake: Handshake) -> None:
        """Follow the daemon that has answered.

        :raises UserError: it trades paper, and the screen shows a broker's account.
        """
        # A trader who has named the URL has chosen the daemon, whatever file was shown before.
        is_chosen = self._has_named_url and self._handshake is None
        if handshake.gateway_name == PRACTICE and self._is_real and not is_chosen:
            raise UserError(
                f"the riskd at {self.url} trades paper on the PRACTICE gateway, and this program shows "
                f"{self._account} of {self._kind}; start another one for it"
            )
        self._handshake = handshake
        self._kind = handshake.gateway_name
        if self._named_state is None:
            # An earlier riskd names no file; its state is where all gateways shared one directory.
            self._directory = (
                self._root if handshake.state_file is None else handshake.state_file.parent
            )

    def read(self, only: Collection[int] | None = None) -> Snapshot:
        """Return the content of the published copy.

        :param only: the accounts to read; ``None`` for all.
        :raises StateFileError: there is none, it cannot be read, or it is another daemon's.
        """
        directory = self._directory
        if directory is None:
            directory = self._find_directory()
        snapshot = read_published(directory, only)
        self._check(snapshot, directory)
        self._directory, self._kind = directory, snapshot.gateway_name or self._kind
        return snapshot

    def version(self) -> object:
        """Return a value that changes when :meth:`read` may return something else."""
        if self._directory is not None:
            return self._directory, published_mark(self._directory)
        return tuple(map(published_mark, state_directories(self._root)))

    @property
    def _account(self) -> str:
        return "any account" if self._account_id is None else f"account {self._account_id}"

    @property
    def _is_real(self) -> bool:
        return self._kind not in (None, PRACTICE)

    def _check(self, snapshot: Snapshot, directory: Path) -> None:
        """Check that the copy is of the daemon that was connected last.

        :raises StateFileError: it is not.
        """
        kind, instance = self.origin
        is_other_kind = None not in (kind, snapshot.gateway_name) and kind != snapshot.gateway_name
        if not is_other_kind and instance in ("", snapshot.instance):
            return
        where = ""
        if self._handshake is not None and self._handshake.state_file is not None:
            where = f", whose own is {self._handshake.state_file}"
        raise StateFileError(
            f"the last known state in {directory / PUBLISHED_NAME} is of another riskd, on "
            f"{gateway_words(snapshot.gateway_name)} (instance {snapshot.instance or 'unknown'}), and not "
            f"of the one at {self.url}, on {gateway_words(kind)} (instance {instance or 'unknown'}){where}"
        )

    def _daemons(self) -> list[RunningDaemon]:
        """Return the daemons that run and may be connected to."""
        return [
            each
            for each in running_daemons(self._root)
            if not (self._is_real and each.record.kind == PRACTICE)
        ]

    def _of_account(self, daemons: list[RunningDaemon]) -> RunningDaemon | None:
        """Return the daemon to connect to; ``None`` if none follows the account.

        :raises SeveralDaemonsError: several would do.
        """
        for each in daemons:
            # A restarted daemon may listen on another port.
            if each.record.instance == self.origin[1]:
                return each
        try:
            chosen = choose_daemon(daemons, self._account_id)
        except SeveralDaemonsError as error:
            raise SeveralDaemonsError(f"{error}; choose one with --url") from None
        return chosen if chosen is not None and chosen.serves(self._account_id) else None

    def _find_directory(self) -> Path:
        """Return the state directory to read while no daemon has been connected.

        :raises StateFileError: none is known.
        """
        if self._is_found_by_file:
            try:
                daemon = self._of_account(self._daemons())
            except SeveralDaemonsError as error:
                raise StateFileError(str(error)) from None
            if daemon is not None:
                return daemon.directory
        elif self._has_named_url:
            directory = self._directory_of_port()
            if directory is not None:
                return directory
        copies = published_copies(self._root)
        for copy in copies:
            if self._account_id is None or self._account_id in copy.snapshot.accounts:
                return copy.directory
        known = [
            f"{account_id} ({gateway_words(copy.snapshot.gateway_name)})"
            for copy in copies
            for account_id in sorted(copy.snapshot.accounts)
        ]
        if known:
            raise StateFileError(
                f"{self._account} is in no last known state under {self._root}; "
                f"they know {', '.join(known)}"
            )
        raise StateFileError(f"no last known state: there is none under {self._root}")

    def _directory_of_port(self) -> Path | None:
        """Return the directory whose daemon serves, or was killed, at the named URL."""
        port = urlsplit(self.url).port
        for directory in state_directories(self._root):
            record = read_daemon(directory)
            if record is None or record.port != port:
                continue
            if self._account_id is None or self._account_id in record.accounts:
                return directory
        return None
