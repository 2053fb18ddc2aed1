"""The broker, for all parts of the engine that ask it or act through it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from riskd.gateway.interface import GatewayError, GatewayUnansweredError, IGateway
from riskd.gateway.timeouts import answer_in_time
from riskd.model.broker import BrokerNews

_log = Logger()
_T = TypeVar("_T")


class IApply(Protocol):
    """Applies what an answer says."""

    def __call__(
        self, account_id: int, news: BrokerNews, sent_at: float, *, is_evaluated: bool = True
    ) -> None:
        """See :meth:`riskd.engine.intake.Intake.apply_answer`."""


class Broker(NamedTuple):
    """A gateway, with a time limit for its answers and a place for what they say.

    :ivar gateway: the gateway.
    :ivar clock: times answers and repetitions.
    :ivar now: gives the broker's time, aware.
    :ivar apply: applies what an answer says of an account; see
        :meth:`riskd.engine.intake.Intake.apply_answer`.
    :ivar report_problem: takes a source and a sentence; an empty sentence ends the problem of that source.
    """

    gateway: IGateway
    clock: IReactorTime
    now: Callable[[], datetime]
    apply: IApply
    report_problem: Callable[[str, str], None]

    async def ask(self, request: str, answer: Deferred[_T]) -> _T:
        """Return the answer to a request; cancel the request when the time is up.

        :raises GatewayError: the gateway refused the request, did not answer it in time, or failed at the answer.
        """
        try:
            return await answer_in_time(request, answer, self.clock, self.gateway.answer_seconds)
        except (GatewayError, CancelledError):
            raise
        except Exception:  # noqa: BLE001  # who asks repeats the request, and says ERROR, only after a GatewayError
            _log.failure("{request}: internal error", request=request)
            raise GatewayUnansweredError(request, "internal error, see the log") from None
