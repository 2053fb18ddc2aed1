"""The directory that a program was started in: deleted, or not to be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from riskd.host.errors import UserError


@contextmanager
def explain_deleted_directory() -> Iterator[None]:
    """Make a sentence of a failure whose reason is a deleted working directory.

    A program that needs no such directory is not kept from its work.

    :raises UserError: it was deleted, and something relative to it was asked for.
    """
    try:
        yield
    except FileNotFoundError:
        check_directory_exists()
        raise


def check_directory_exists() -> None:
    """Check that the working directory has not been deleted.

    :raises UserError: it has.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working directory has been deleted; change to another one") from None


def check_writable(path: Path) -> None:
    """Check that a file can be written, and leave it as it is.

    :raises UserError: it cannot.
    """
    try:
        if path.exists():
            with path.open("ab"):
                pass
        else:
            # By trying, because root passes the check of rights also where nothing can be written.
            with TemporaryFile(dir=path.absolute().parent):
                pass
    except OSError as error:
        raise UserError(f"{path.absolute()} cannot be written: {error.strerror}") from None
