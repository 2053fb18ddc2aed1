"""Find names in a rule's source that riskd has renamed.

A name that only a function uses raises no error until a trade comes, and then the rule guards nothing.
So the source is searched before the rule is loaded.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

from riskd.rules.registry import RULES

RENAMED: Final[dict[str, str]] = {
    "riskd.account": "riskd.model.account",
    "riskd.account.OpenPnl": "riskd.model.open_pnl.OpenPnl",
    "riskd.account.Touch": "riskd.model.account.BestBidAsk",
    "riskd.account.position_pnl": "riskd.model.open_pnl.position_pnl",
    "riskd.contracts": "riskd.model.contracts",
    "riskd.events": "riskd.model.events",
    **{
        f"riskd.events.{name}": f"riskd.model.wire.{name}"
        for name in (
            "MAX_MESSAGE_BYTES",
            "Envelope",
            "decode",
            "decode_data",
            "encode",
            "encode_data",
            "from_fields",
            "open_envelope",
        )
    },
    "riskd.lockouts": "riskd.model.lockouts",
    "riskd.lockouts.holds": "riskd.model.lockouts.is_in_force",
    "riskd.lockouts.lifted": "riskd.model.lockouts.ended_lock",
    "riskd.lockouts.next_end": "riskd.model.lockouts.locked_until",
    "riskd.lockouts.telling": "riskd.model.lockouts.lock_announcements",
    "riskd.model.account.OrderDetail": "riskd.model.broker.BrokerOrder",
    "riskd.model.descriptions": "riskd.model.formatting",
    "riskd.model.lockouts.OPERATOR": "riskd.model.events.OPERATOR",
    "riskd.model.merge": "riskd.model.account",
    "riskd.model.open_pnl.is_stale": "riskd.model.open_pnl.has_stale_quote",
    "riskd.money": "riskd.model.money",
    "riskd.rules.discovery": "riskd.rules.plugins",
    "riskd.rules.affected": "riskd.rules.positions",
    "riskd.rules.interface.Intent": "riskd.rules.interface.Command",
    "riskd.rules.interface.Occasion": "riskd.rules.interface.Trigger",
    "riskd.rules.interface.Verdict": "riskd.rules.interface.RuleResult",
    "riskd.rules.judge": "riskd.rules.evaluation",
    "riskd.rules.judge.Judgement": "riskd.rules.evaluation.Evaluation",
    "riskd.rules.judge.judge": "riskd.rules.evaluation.evaluate",
    "riskd.rules.marks": "riskd.model.open_pnl",
    "riskd.rules.marks.Scope": "riskd.rules.settings.Scope",
    "riskd.rules.marks.concerned": "riskd.rules.positions.affected_positions",
    "riskd.rules.marks.doubts": "riskd.model.open_pnl.pnl_warnings",
    "riskd.rules.memory": "riskd.rules.interface",
    "riskd.rules.orders": "riskd.rules.positions",
    "riskd.rules.orders.orders_concerned": "riskd.rules.positions.affected_orders",
    "riskd.rules.protection": "riskd.rules.positions",
    "riskd.rules.protection.order_detail": "riskd.model.broker.BrokerOrder",
    "riskd.rules.protection.remaining": "riskd.model.broker.BrokerOrder",
    "riskd.rules.protection.total_remaining": "riskd.rules.positions.contracts_left",
    "riskd.rules.reduction": "riskd.rules.positions",
    "riskd.rules.reduction.reduced": "riskd.rules.positions.reduce_largest",
    "riskd.rules.stops": "riskd.rules.positions",
    "riskd.rules.stops.detail": "riskd.model.broker.BrokerOrder",
    "riskd.rules.table": "riskd.rules.registry",
    "riskd.rules.words": "riskd.model.formatting",
    "riskd.rules.words.name_of": "riskd.model.formatting.contract_name",
    "riskd.trading_day": "riskd.model.trading_day",
    **{f"riskd.rules.{rule.key}": f"riskd.rules.builtin.{rule.key}" for rule in RULES},
}
"""The old name of each module and each public name of the model and the rules, with the new one."""

RENAMED_ATTRIBUTES: Final = {
    "intents": "commands",
    "risk.order_details": "orders",
    "risk.touches": "risk.best_bid_asks",
    "flattening.is_told": "flattening.is_announced",
}
"""The ends of expressions such as ``result.intents``, with the new ones."""

_RESULTS: Final = frozenset(
    f"riskd.rules.interface.{name}" for name in ("NOTHING", "RuleResult", "Verdict")
)
"""What can be called with ``intents=``, or passed with it to ``replace`` or ``partial``."""

_IMPORTERS: Final = frozenset({"__import__", "import_module", "importlib.import_module"})


class OldName(NamedTuple):
    """The use of a name that riskd has renamed."""

    line: int
    old: str
    new: str


def find_old_names(source: bytes) -> list[OldName]:
    """Return the first use of each old name in a module's source, by line.

    A source that Python cannot parse has none: loading it says what is wrong with it.
    """
    # Most plugins on a machine are other programs', and parsing takes longer than searching.
    if b"riskd" not in source:
        return []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return []
    imported = _imported_names(tree)
    first: dict[str, OldName] = {}
    for node in ast.walk(tree):
        for old, new in _old_names_of(node, imported):
            use = OldName(getattr(node, "lineno", 0), old, new)
            first[old] = min(use, first.get(old, use))
    return sorted(first.values())


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """Return the names that imports of riskd bind at any depth, as dotted names."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # Without a name of its own, an import of a.b binds a.
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            if node.names[0].name == "*":
                prefix = f"{node.module}."
                names |= {
                    old.removeprefix(prefix): old for old in RENAMED if old.startswith(prefix)
                }
    return {name: dotted for name, dotted in names.items() if f"{dotted}.".startswith("riskd.")}


def _old_names_of(node: ast.AST, imported: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the old names that ``node`` itself uses, each with its new name."""
    for dotted in _dotted_names_of(node, imported):
        known = [old for old in RENAMED if f"{dotted}.".startswith(f"{old}.")]
        if known:
            old = max(known, key=len)
            yield old, RENAMED[old]
    if isinstance(node, ast.Attribute) and imported:
        expression = ast.unparse(node)
        for old, new in RENAMED_ATTRIBUTES.items():
            if expression.endswith(f".{old}"):
                yield f".{old}", f".{new}"
    if (
        isinstance(node, ast.Call)
        and any(keyword.arg == "intents" for keyword in node.keywords)
        and any(_dotted_name(each, imported) in _RESULTS for each in (node.func, *node.args))
    ):
        yield "RuleResult(intents=...)", "RuleResult(commands=...)"


def _dotted_names_of(node: ast.AST, imported: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in _IMPORTERS:
        yield from (str(each.value) for each in node.args if isinstance(each, ast.Constant))
    elif isinstance(node, ast.expr):
        yield _dotted_name(node, imported)


def _dotted_name(node: ast.expr, imported: dict[str, str]) -> str:
    """Return the dotted name of an imported thing; an empty string for any other."""
    if isinstance(node, ast.Name):
        return imported.get(node.id, "")
    if isinstance(node, ast.Attribute):
        base = _dotted_name(node.value, imported)
        return f"{base}.{node.attr}" if base else ""
    return ""
