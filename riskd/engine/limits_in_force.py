"""The limits in force on an account: rules, strict mode, end of the trading day.

While an account is locked, limits that the settings loosen stay in force beside the new ones until the
lock ends, also over a restart: the journal has the limits in force.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec
from twisted.logger import Logger

from riskd.config.known_settings import DAY_NAME
from riskd.model.account import Limit
from riskd.model.settings_changes import RULE_PREFIX
from riskd.model.trading_day import DAY_LIMIT, ResetSchedule
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import IRule

_log = Logger()

# The name of strict mode among the limits in the journal.
_STRICT: Final = "STRICT"


class LimitsInForce(NamedTuple):
    """The limits in force on an account.

    :ivar rules: in the order in which they are evaluated.
    :ivar is_strict: whether every breach locks the account until an operator unlocks it.
    :ivar schedule: when its trading days end.
    """

    rules: tuple[RuleInForce, ...]
    is_strict: bool
    schedule: ResetSchedule

    @property
    def journaled(self) -> dict[str, Limit]:
        """The limits as the journal keeps them.

        Of two settings of one rule it keeps those that are held.
        """
        limits = {DAY_LIMIT: Limit("daily_reset", msgspec.json.encode(self.schedule).decode())}
        if self.is_strict:
            limits[_STRICT] = Limit("strict_mode", "true")
        # Of several the first that was asked to change comes last, and stays.
        for one in sorted(self.rules, key=lambda one: (one.is_held, -one.number)):
            limits[one.rule.rule_id] = one.limit
        return limits


def held_limits(new: LimitsInForce, old: LimitsInForce) -> LimitsInForce:
    """Return the limits of a locked account: all new ones, and old ones that differ.

    Of several old settings of one rule, the earliest stay in force.
    """
    known = [(one.rule, one.settings) for one in new.rules]
    kept = [
        RuleInForce(one.rule, one.settings, is_held=True)
        for one in sorted(old.rules, key=lambda one: not one.is_held)
        if (one.rule, one.settings) not in known
    ]
    held = {one.rule.rule_id: one for one in reversed(kept)}
    rules = sorted((*new.rules, *held.values()), key=lambda one: one.rule.rule_id)
    return LimitsInForce(tuple(rules), new.is_strict or old.is_strict, old.schedule)


def read_journaled(
    limits: Mapping[str, Limit],
    catalogue: Mapping[str, IRule],
    known: LimitsInForce,
    account_id: int,
) -> LimitsInForce:
    """Return the journaled limits of rules that still exist; log unreadable ones.

    :param catalogue: all rules there are, by key.
    :param known: the configured limits; they say when days end, if the journal does not.
    """
    schedule = known.schedule
    if DAY_LIMIT in limits:
        try:
            schedule = msgspec.json.decode(limits[DAY_LIMIT].settings, type=ResetSchedule)
        except (msgspec.MsgspecError, ValueError) as error:
            _log.error("the journaled end of the day cannot be read: {error}", error=error)
    rules = tuple(_read_rules(limits, catalogue, account_id))
    return LimitsInForce(rules, known.is_strict or _STRICT in limits, schedule)


def settings_of_limits(limits: Mapping[str, Limit]) -> dict[str, str]:
    """Return the settings that journaled limits had; empty if there are none.

    :return: as :func:`riskd.config.known_settings.known_settings` does, without those that are no limits.
    """
    if DAY_LIMIT not in limits:
        return {}
    # The ids of rules have a hyphen; the other names are not those of rules.
    rules = {
        f"{RULE_PREFIX}{each.key}": each.settings for name, each in limits.items() if "-" in name
    }
    is_strict = "true" if _STRICT in limits else "false"
    return {**rules, DAY_NAME: limits[DAY_LIMIT].settings, "strict_mode": is_strict}


def _read_rules(
    limits: Mapping[str, Limit], catalogue: Mapping[str, IRule], account_id: int
) -> Iterator[RuleInForce]:
    for rule_id, limit in limits.items():
        rule = catalogue.get(limit.key)
        if rule is None:
            continue
        try:
            settings = msgspec.json.decode(limit.settings, type=rule.settings_type)
            yield RuleInForce(rule, settings)
        except (msgspec.MsgspecError, ValueError) as error:
            _log.error(
                "{rule} has other settings now; what it held account {account} to is not known: {error}",
                rule=rule_id,
                account=account_id,
                error=error,
            )
