"""Check whether this machine may fall asleep: then it guards nothing.

Each system keeps that in another place.  What cannot be read is a note, not a fault.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import suppress
from pathlib import Path
from typing import Final

from riskd.app.riskctl.doctor.findings import Finding, note, ok, warning

_WHAT: Final = "sleep"
_SECONDS: Final = 3
"""How long a program that knows of a setting may take."""

_LOGIND: Final = ("usr/lib/systemd", "run/systemd", "etc/systemd")
"""Where logind.conf may be; the last one counts.  Source: logind.conf(5)."""

_MASK: Final = (
    "sudo systemctl mask sleep.target suspend.target hibernate.target hybrid-sleep.target"
)
_GNOME: Final = ("org.gnome.settings-daemon.plugins.power", "sleep-inactive-ac-type")
_AWAKE: Final = frozenset(("", "ignore", "lock", "poweroff", "reboot", "halt", "kexec"))
"""What logind may do at an occasion without the machine sleeping."""

Run = Callable[[Sequence[str]], str | None]
"""Returns what a program writes; ``None`` if it is not there, or fails."""


def check_sleep(platform: str, root: Path, run: Run | None = None) -> Iterator[Finding]:
    """Yield what is to be said of sleep.

    :param platform: Python's name of the system.
    :param root: the directory that all files are below.
    """
    run = run or _output_of
    if platform == "darwin":
        return _check_macos(run)
    if "microsoft" in _text(root / "proc/version").lower():
        return iter(
            [note(_WHAT, "Windows decides when this machine sleeps: see its power settings")]
        )
    return _check_linux(root, run)


def _check_linux(root: Path, run: Run) -> Iterator[Finding]:
    masked = [_is_masked(root, target) for target in ("sleep.target", "suspend.target")]
    if any(masked):
        yield ok(_WHAT, "systemd lets this machine not sleep")
        return
    settings = _logind(root)
    found = []
    if settings is not None:
        if settings.get("idleaction", "ignore") not in _AWAKE:
            found.append(
                f"logind suspends it when it is idle (IdleAction={settings['idleaction']})"
            )
        lid = settings.get("handlelidswitch", "suspend")
        if _has_lid(root) and lid not in _AWAKE:
            found.append(f"logind suspends it when its lid is closed (HandleLidSwitch={lid})")
    for sentence in found:
        yield warning(_WHAT, f"this machine may sleep, and guards nothing then: {sentence}", _MASK)
    desktop = run(["gsettings", "get", *_GNOME])
    if desktop is not None and desktop.strip().strip("'") not in ("nothing", ""):
        found.append(desktop)
        yield warning(
            _WHAT,
            f"this machine may sleep, and guards nothing then: the desktop does {desktop.strip()} when idle",
            f"gsettings set {' '.join(_GNOME)} nothing",
        )
    if not found and settings is None and desktop is None:
        yield note(_WHAT, "this system's settings cannot be read: see to it that it stays awake")
    elif not found:
        yield ok(_WHAT, "logind and the desktop leave this machine awake")


def _is_masked(root: Path, target: str) -> bool:
    """Return whether a systemd unit is masked: it is a link to ``/dev/null``."""
    with suppress(OSError):
        return (root / "etc/systemd/system" / target).readlink() == Path("/dev/null")
    return False


def _logind(root: Path) -> dict[str, str] | None:
    """Return logind's settings by key in lower case; ``None`` without systemd.

    Source: sd_booted(3).
    """
    if not (root / "run/systemd/system").is_dir():
        return None
    places = [root / place for place in _LOGIND]
    files = [place / "logind.conf" for place in places]
    # Files of all directories are read in the order of their names.
    files += sorted(
        (file for place in places for file in place.glob("logind.conf.d/*.conf")),
        key=lambda file: file.name,
    )
    settings: dict[str, str] = {}
    for file in files:
        parser = ConfigParser(interpolation=None, strict=False)
        with suppress(OSError, UnicodeDecodeError, ConfigError):
            parser.read_string(file.read_text())
            settings |= {key: value.strip() for key, value in parser.items("Login")}
    return settings


def _has_lid(root: Path) -> bool:
    return any((root / "proc/acpi/button/lid").glob("*")) or any(
        (root / "sys/class/power_supply").glob("BAT*")
    )


def _check_macos(run: Run) -> Iterator[Finding]:
    """Yield what ``pmset`` says; written from its manual, not tried on a Mac."""
    text = run(["pmset", "-g"])
    minutes = re.search(r"^\s*sleep\s+(\d+)", text or "", re.MULTILINE)
    if minutes is None:
        yield note(_WHAT, "pmset does not say when this Mac sleeps")
    elif minutes[1] == "0":
        yield ok(_WHAT, "this Mac does not sleep by itself; it does when its lid is closed")
    else:
        yield warning(
            _WHAT,
            f"this Mac sleeps after {minutes[1]} idle minutes, and guards nothing then",
            "sudo pmset -a sleep 0   # or run riskd under caffeinate -s",
        )


def _output_of(command: Sequence[str]) -> str | None:
    try:
        return subprocess.run(  # noqa: S603  # one of the commands above
            command, capture_output=True, text=True, timeout=_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""
