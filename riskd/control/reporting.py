"""Make the reports of an account and of its rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from riskd.control.reports import (
    AccountReport,
    FlatteningReport,
    FloorReport,
    GaugeReport,
    OrderReport,
    PositionReport,
    ReduceOnlyReport,
    RuleReport,
    WaitReport,
)
from riskd.model.account import AccountState
from riskd.model.commitment import commitment_of
from riskd.model.equity import equity, net_pnl
from riskd.model.events import GatewayUserOrder, GatewayUserPosition, plain_number
from riskd.model.formatting import contract_name
from riskd.model.lockouts import locks_in_force
from riskd.model.money import ZERO
from riskd.model.open_pnl import position_pnl
from riskd.model.reduce_only import reduce_only_stage
from riskd.model.unlocks import last_unlock
from riskd.rules.builtin.maximum_loss import RULE as MAXIMUM_LOSS
from riskd.rules.builtin.maximum_loss import Floor, nearest_floor
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import Gauge


def report_account(
    state: AccountState,
    now: datetime,
    rules: Sequence[RuleInForce] = (),
    *,
    is_reported: bool = True,
) -> AccountReport:
    """Return the report of an account.

    :param rules: its rules in force.
    :param is_reported: see :class:`AccountReport`.
    """
    positions = tuple(_report_position(state, position) for position in state.open_positions)
    known = [position.open_pnl for position in positions if position.open_pnl is not None]
    is_known = is_reported and len(known) == len(positions)
    plan, unlock = state.risk.flattening, last_unlock(state)
    commitment = commitment_of(state)
    return AccountReport(
        account=state.account_id,
        realized_pnl=state.realized_pnl,
        open_pnl=sum(known, ZERO) if is_known else None,
        trades=state.trade_count,
        can_trade=state.risk.can_trade,
        positions=positions,
        orders=tuple(_report_order(state, order) for order in state.working_orders),
        locks=locks_in_force(state, now),
        flattening=None
        if plan is None
        else FlatteningReport(rule_id=plan.rule_id, reason=plan.reason, begun=plan.begun),
        unlocked_beyond=unlock.beyond if unlock else (),
        reduce_only=_report_reduce_only(state),
        net_pnl=net_pnl(state) if is_known else None,
        balance=state.balance.counted if is_reported else None,
        equity=equity(state) if is_known else None,
        brokers_balance=state.balance.other,
        floor=_report_floor(nearest_floor(state, rules), is_known=is_known),
        has_floor=any(each.rule.rule_id == MAXIMUM_LOSS.rule_id for each in rules),
        is_reported=is_reported,
        commitment=commitment.terms,
        waits=tuple(
            WaitReport(
                what=each.sentence,
                until=each.until,
                is_over=each.is_over,
                operator=each.operator,
            )
            for each in commitment.waits
        ),
    )


def _report_floor(floor: Floor | None, *, is_known: bool) -> FloorReport | None:
    if floor is None:
        return None
    return FloorReport(
        amount=floor.amount,
        source=floor.source,
        headroom=floor.headroom if is_known else None,
        after_close=floor.after_close if is_known else None,
    )


def _report_reduce_only(state: AccountState) -> ReduceOnlyReport | None:
    stage = reduce_only_stage(state)
    if stage is None:
        return None
    held = {contract_name(state, contract_id): size for contract_id, size in stage.held.items()}
    return ReduceOnlyReport(since=stage.since, reasons=dict(stage.reasons), held=held)


def _report_position(state: AccountState, position: GatewayUserPosition) -> PositionReport:
    return PositionReport(
        contract=contract_name(state, position.contract_id),
        side=position.type.name.lower(),
        size=position.size,
        average_price=position.average_price,
        open_pnl=position_pnl(state, position).amount,
    )


def _report_order(state: AccountState, order: GatewayUserOrder) -> OrderReport:
    return OrderReport(
        id=order.id,
        contract=contract_name(state, order.contract_id),
        type=order.type.name.lower().replace("_", " "),
        side=order.side.name.lower(),
        size=order.size,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
    )


def report_rule(
    in_force: RuleInForce, state: AccountState, now: datetime, *, is_reported: bool = True
) -> RuleReport:
    """Return the report of a rule.

    A rule that raises must not hide the others, so its error is shown.

    :param is_reported: see :class:`AccountReport`; until then current values are unknown.
    """
    rule, settings = in_force.rule, in_force.settings
    try:
        gauges = tuple(
            _report_gauge(
                gauge if is_reported else msgspec.structs.replace(gauge, current=None, floor=None)
            )
            for gauge in rule.gauges(state, settings, now)
        )
        trouble = ""
    except Exception as error:  # noqa: BLE001  # a rule of the user's own may raise anything
        gauges, trouble = (), f"{type(error).__name__}: {error}"
    # A locked account keeps its earlier limits beside loosened ones; the key tells the two apart.
    key = f"{rule.key} (until unlocked)" if in_force.is_held else rule.key
    if in_force.waits:
        key = f"{rule.key} (its change waits)"
    return RuleReport(rule_id=rule.rule_id, key=key, gauges=gauges, trouble=trouble)


def _report_gauge(gauge: Gauge) -> GaugeReport:
    limit, current = _figure(gauge.limit), _figure(gauge.current)
    return GaugeReport(
        name=str(gauge.name),
        limit=limit,
        current=current,
        headroom=None if limit is None or current is None else limit - current,
        unit=str(gauge.unit),
        words=str(gauge.words),
        floor=_figure(gauge.floor),
    )


def _figure(value: Decimal | None) -> Decimal | None:
    # Raises for NaN and infinity, which JSON cannot express.
    return None if value is None else plain_number(value)
