"""The packages of the extra ``report``, which the page alone needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from riskd.host.errors import UserError

if TYPE_CHECKING:
    # A program that writes no page does without them.
    from riskd.report.journaled import Journaled, TradingDay

    WritePage = Callable[[Journaled, Sequence[TradingDay], Sequence[TradingDay]], str]

_PACKAGES: Final = ("jinja2", "leather", "markupsafe")


def page_writer() -> WritePage:
    """Return :func:`riskd.report.page.write_page`.

    :raises UserError: a package of the extra is not installed.
    """
    try:
        from riskd.report.page import write_page  # noqa: PLC0415  # needs the extra
    except ImportError as error:
        if error.name not in _PACKAGES:
            raise
        raise UserError(
            f"{error.name} is not installed; run: pip install 'riskd[report]'"
        ) from None
    return write_page
