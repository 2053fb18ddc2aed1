"""Check the versions of Python and of the libraries against riskd's bounds."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from riskd.app.riskctl.doctor.findings import Finding, ok, quoted, warning, wrong

_NAME = "riskd"


def check_installation(python: str = "") -> Iterator[Finding]:
    """Yield a finding about Python, and one or more about the libraries.

    The bounds are those of the installed riskd, which are those of its ``setup.cfg``.

    :param python: Python's version; by default that of this one.
    """
    python = python or platform.python_version()
    try:
        riskd = distribution(_NAME)
    except PackageNotFoundError:
        yield warning(
            "libraries",
            "riskd is not installed here, so its libraries cannot be checked",
            _pip("install ."),
        )
        return
    needed = SpecifierSet(riskd.metadata["Requires-Python"] or "")
    if needed.contains(python):
        yield ok("Python", f"{python}, and riskd {riskd.version} needs {needed}")
    else:
        yield wrong(
            "Python",
            f"{python}, but riskd {riskd.version} needs {needed}",
            "python3 -m venv --upgrade .venv   # with a Python that is new enough",
        )
    bad = list(_check_libraries(riskd))
    yield from bad
    if not bad:
        yield ok("libraries", f"all that riskd {riskd.version} needs, in versions that it knows")


def _check_libraries(riskd: Distribution) -> Iterator[Finding]:
    for needed, is_optional in _requirements(riskd):
        try:
            found = distribution(needed.name)
        except PackageNotFoundError:
            if not is_optional:
                yield wrong(
                    "libraries",
                    f"{needed.name} is missing",
                    _pip(f"install {quoted(str(needed))}"),
                )
            continue
        if not needed.specifier.contains(found.version, prereleases=True):
            report = warning if is_optional else wrong
            yield report(
                "libraries",
                f"{needed.name} is {found.version}, but riskd {riskd.version} needs {needed.specifier}",
                _pip(f"install --upgrade {quoted(f'{needed.name}{needed.specifier}')}"),
            )
        # A library may need more for what riskd uses of it, as Twisted does for TLS.
        for more in _requirements_of_extras(found, needed.extras):
            try:
                distribution(more.name)
            except PackageNotFoundError:
                yield wrong(
                    "libraries",
                    f"{more.name} is missing, which {needed} needs",
                    _pip(f"install {quoted(str(needed))}"),
                )


def _requirements(riskd: Distribution) -> Iterator[tuple[Requirement, bool]]:
    """Yield what riskd requires, and whether only an extra of it does."""
    for text in riskd.requires or ():
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield needed, False
        else:
            yield needed, True


def _requirements_of_extras(found: Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    for text in found.requires or ():
        needed = Requirement(text)
        if (
            needed.marker is not None
            and not needed.marker.evaluate({"extra": ""})
            and any(needed.marker.evaluate({"extra": extra}) for extra in extras)
        ):
            yield needed


def _pip(arguments: str) -> str:
    return f"{quoted(sys.executable)} -m pip {arguments}"
