"""The rights of docs/services.md, tried by its users: run by test_services on a machine of its own, as root.

    two_users.py REPOSITORY DIRECTORY

The recipe's commands are run as they stand, but for pip's and systemctl's.  riskd is started as its unit says.
"""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import re
import shlex
import shutil
import socket
import stat
import struct
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

# Once for all processes that riskctl is forked into; they install the reactor.
from riskd.app.riskctl import main as riskctl_main
from tests.support.service_manager import ReceivedNotices

STATE, CONFIGURATION = Path("/var/lib/riskd"), Path("/etc/riskd")
OF_ALERTS = Path("/etc/riskd-alerts")
BIN = Path(sys.prefix) / "bin"
CONFIG = """
[[accounts]]
id = 123
[[accounts]]
id = 456
"""
KEY = "not-a-real-key"


def raise_loopback() -> None:
    """Switch on the network's only interface.  Source: netdevice(7)."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))


def recipe(document: Path) -> list[str]:
    """Return the commands for the machine's riskd and trader-alerts."""
    section = document.read_text().split("\n## For the machine")[1].split("\n## ")[0]
    return re.findall(r"^sudo (.*)$", section, re.MULTILINE)


def install(repository: Path) -> None:
    """Run the recipe in the current directory."""
    Path("riskd.toml").write_text(CONFIG)
    Path("broker.key").write_text(KEY)
    Path("alerts.toml").touch()
    Path("alert-targets").write_text("ntfys://a-topic\n")
    # The users of the machine before.
    for name in ("jane", "bob"):
        subprocess.run(["useradd", "--no-create-home", "--user-group", name], check=True)
    Path("/opt/riskd").symlink_to(sys.prefix)
    for command in recipe(repository / "docs" / "services.md"):
        if not re.match(r"python3 -m venv|/opt/riskd/bin/pip|systemctl", command):
            subprocess.run(
                shlex.split(command.replace("PATH-TO-RISKD", str(repository))), check=True
            )


def unit() -> dict[str, str]:
    """Return the settings of the installed unit's service; of a repeated one, the last."""
    parser = ConfigParser(interpolation=None, strict=False, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read("/etc/systemd/system/riskd.service")
    return dict(parser["Service"])


def start(notices: ReceivedNotices) -> subprocess.Popen[bytes]:
    """Start riskd as systemd does; return once it is ready and RUNNING."""
    service = unit()
    user, group = service["User"], service["Group"]
    STATE.mkdir()
    shutil.chown(STATE, user, group)
    STATE.chmod(int(service["StateDirectoryMode"], 8))
    settings = ["--reuid", user, "--regid", group, "--init-groups", "--no-new-privs"]
    settings += ["--bounding-set=-all", "--inh-caps=-all"]
    daemon = subprocess.Popen(
        ["setpriv", *settings, *shlex.split(service["ExecStart"])],
        cwd=service["WorkingDirectory"],
        umask=int(service["UMask"], 8),
        env={"PATH": os.defpath, "NOTIFY_SOCKET": notices.variable},
    )
    notices.wait_for("READY")
    notices.wait_for_status("RUNNING")
    return daemon


class User:
    """A user of the machine, who does things in processes of their own.

    :param groups: the names of groups that a unit gives beside the user's own.
    """

    def __init__(self, name: str, *groups: str) -> None:
        self._entry = pwd.getpwnam(name)
        own = os.getgrouplist(name, self._entry.pw_gid)
        self._groups = [*own, *(grp.getgrnam(group).gr_gid for group in groups)]

    def riskctl(self, *arguments: str) -> tuple[int, str]:
        """Run riskctl; return its exit status and all that it wrote."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(write, 1)
            os.dup2(write, 2)
            self._become()
            os._exit(_status_of(arguments))
        os.close(write)
        with open(read, "rb") as output:  # noqa: PTH123  # a descriptor
            written = output.read().decode()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), written

    def may(self, act: str) -> bool:
        """Return whether a Python statement succeeds; it may only fail for want of permission."""
        child = os.fork()
        if child == 0:
            self._become()
            try:
                exec(act, {"os": os, "socket": socket, "Path": Path})  # noqa: S102
            except PermissionError:
                os._exit(1)
            except Exception as error:  # noqa: BLE001  # the parent fails
                sys.stderr.write(f"{act}: {error!r}\n")
                os._exit(2)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 1), act
        return status == 0

    def output(self, program: str, *arguments: str, until: str) -> str:
        """Run a program beside this Python until it has written a text; return what it wrote."""
        name = self._entry.pw_name
        command = ["setpriv", "--reuid", name, "--regid", name, "--init-groups"]
        with subprocess.Popen(
            [*command, str(BIN / program), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.defpath, "HOME": "/nonexistent"},
        ) as running:
            assert running.stdout is not None
            written = ""
            # A program that never writes it ends the test by the limit of its time.
            while until not in written and (line := running.stdout.readline()):
                written += line
            running.terminate()
        assert until in written, written
        return written

    def _become(self) -> None:
        os.setgroups(self._groups)
        os.setgid(self._entry.pw_gid)
        os.setuid(self._entry.pw_uid)
        os.environ.clear()
        os.environ["HOME"] = "/nonexistent"


def _status_of(arguments: tuple[str, ...]) -> int:
    try:
        status = riskctl_main.main(arguments)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def mode_and_owner(path: Path) -> tuple[int, str, str]:
    status = path.lstat()
    owner, group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
    return stat.S_IMODE(status.st_mode), owner, group


def connects(path: Path) -> str:
    return f"socket.socket(socket.AF_UNIX).connect({str(path)!r})"


def check_files(
    jane: User, bob: User, riskd: User, alerts: User, daemon: subprocess.Popen[bytes]
) -> None:
    """Check who may read, write and replace which file."""
    assert mode_and_owner(STATE) == (0o750, "riskd", "riskd")
    assert mode_and_owner(STATE / "riskd.sock") == (0o600, "riskd", "riskd")
    assert mode_and_owner(STATE / "guard.sock") == (0o660, "riskd", "riskd")
    public = {STATE / "last-known.db", STATE / "daemon.json", CONFIGURATION / "riskd.toml"}
    files = {path for path in (*STATE.iterdir(), *CONFIGURATION.iterdir()) if path.is_file()}
    assert files > public, files
    assert {STATE / "riskd.db", CONFIGURATION / "broker.key"} < files - public
    for path in files:
        assert jane.may(f"Path({str(path)!r}).read_bytes()") is (path in public), path
        for act in (f"open({str(path)!r}, 'r+b')", f"os.unlink({str(path)!r})"):
            assert not jane.may(act), act
        assert not bob.may(f"Path({str(path)!r}).read_bytes()"), path
    for path in (OF_ALERTS / "alerts.toml", OF_ALERTS / "alert-targets"):
        act = f"Path({str(path)!r}).read_bytes()"
        assert (alerts.may(act), jane.may(act), riskd.may(act)) == (True, False, False), path
    assert alerts.may(f"Path({str(STATE / 'last-known.db')!r}).read_bytes()")
    assert not alerts.may(f"Path({str(CONFIGURATION / 'broker.key')!r}).read_bytes()")
    for directory in (STATE, CONFIGURATION):
        assert jane.may(f"os.listdir({str(directory)!r})")
        assert not jane.may(f"Path({str(directory / 'new')!r}).touch()")
        assert not bob.may(f"os.listdir({str(directory)!r})")
    assert not jane.may(connects(STATE / "riskd.sock"))
    assert jane.may(connects(STATE / "guard.sock"))
    assert not bob.may(connects(STATE / "guard.sock"))
    assert not jane.may(f"os.kill({daemon.pid}, 9)")


def check_commands(jane: User, bob: User, riskd: User, root: User) -> None:
    """Check who may give which command, and what the others read."""
    reason = ("--reason", "enough for today")
    status, said = jane.riskctl("lock", "123", *reason)
    assert (status, "is locked until it is unlocked" in said) == (0, True), said
    for arguments in (("unlock", "123", *reason), ("floor", "123", "48500")):
        status, said = jane.riskctl(*arguments)
        assert (status, f"only riskd and root may use riskctl {arguments[0]}" in said) == (
            1,
            True,
        ), said
    # A shorter lock takes nothing from the longer one.
    jane.riskctl("lock", "123", *reason, "--minutes", "1")
    assert "until it is unlocked" in jane.riskctl("status")[1]
    assert jane.riskctl("rules", "123")[0] == 0
    assert jane.riskctl("flatten", "456")[0] == 0
    jane.output("trader-console", "123", "--plain", until="enough for today")

    status, said = bob.riskctl("status")
    assert status == 1
    assert "members of the group riskd may ask the riskd in /var/lib/riskd" in said, said
    # Even where the modes have been opened for everybody.
    STATE.chmod(0o755)
    (STATE / "guard.sock").chmod(0o666)
    status, said = bob.riskctl("lock", "456", *reason)
    assert (status, "bob is not in the group riskd" in said) == (1, True), said

    status, said = jane.riskctl("journal", "123")
    assert (status, "Traceback" in said) == (1, False), said
    sys.stdout.write(said)
    status, said = root.riskctl("journal", "123")
    assert re.search(r"lock.*jane", said), said
    assert "unlock by" not in said, said
    for user in (riskd, root):
        assert jane.riskctl("lock", "123", *reason)[0] == 0
        status, said = user.riskctl("unlock", "123", *reason)
        assert status == 0, said


def main() -> None:
    """Install riskd, start it, and check the rights of each user."""
    repository, directory = map(Path, sys.argv[1:])
    os.chdir(directory)
    raise_loopback()
    install(repository)
    notices = ReceivedNotices()
    daemon = start(notices)
    try:
        jane, bob, riskd, root = map(User, ("jane", "bob", "riskd", "root"))
        # Without --state: riskctl finds the machine's riskd.
        jane.output("riskctl", "status", until="123")
        check_files(jane, bob, riskd, User("riskd-alerts", "riskd"), daemon)
        check_commands(jane, bob, riskd, root)
    finally:
        daemon.terminate()
    notices.wait_for("STOPPING")
    assert daemon.wait() == 0


if __name__ == "__main__":
    main()
