"""What must hold while riskd guards an account, by an oracle on the exchange and by riskd's own words.

riskd cannot force a broker that refuses its requests or does not answer.  So the time for which something
may stay that a rule forbids is counted only while the broker answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta

from riskd.gateway.fields import Payload
from riskd.model.events import (
    OPERATOR,
    Action,
    DaemonStatus,
    DailyReset,
    EnforcementAction,
    Event,
    GatewayUserOrder,
    GatewayUserPosition,
    LockoutCleared,
    LockoutSet,
    OrderState,
    Status,
)
from riskd.model.lockouts import ended_lock, is_in_force
from tests.support.account_view import direction, is_own_stop
from tests.support.balance_oracle import LONGEST, NET
from tests.support.exchange_oracle import (
    HOURS,
    NO_STOP,
    PRICED,
    REDUCE_ONLY,
    SOON_SECONDS,
    STOPS_TOO_MANY,
    Breach,
    ExchangeOracle,
)

UNANSWERED = frozenset(
    {
        *("refuse", "pending", "unanswered", "lost_requests", "failed_reads", "slow_seconds"),
        *("fill_while_cancelled", "requests_per_minute"),
    }
)
"""The faults for which riskd's requests may come to nothing."""

IN_TIME = frozenset(
    {
        *("refuse", "partial_fills", "split_fills", "binary_noise", "commissions"),
        *("positions_dated_ahead", "positions_without_date"),
    }
)
"""The faults with which riskd still knows in time what has happened."""

BAD_QUOTES = frozenset(
    {
        *("repeated_quotes", "old_quote_stamps", "zero_last_prices", "wild_last_prices"),
        *("quote_freezes", "freeze_seconds"),
    }
)

SOON_KNOWN = frozenset(
    {
        *("doubled_events", "late_events", "late_seconds", "swapped_events"),
        *("events_without_stamp", "searches_without_stamp", "ends_stamped_early"),
        *("searches_trail_seconds", "position_delay_seconds", "opening_half_again"),
        *("amended_trades", "voided_trades", "correction_seconds"),
        *(BAD_QUOTES | IN_TIME - UNANSWERED),
    }
)
"""The faults that riskd makes up for by asking the broker within a round of reconciliation or two."""

LATE_SECONDS = 5.0
"""The longest that an event is late."""

LADDER_SECONDS = 5 + 5 + 4
"""The longest wait between two tries, one round of reconciliation, and the first tries."""

SETTLING_SECONDS = 75
"""Long enough for reconciliation to find everything that was lost."""

WRONG_SECONDS = 2.0
"""A clock that is wrong by more is an ERROR."""

HELPLESS_SECONDS = 60.0
"""After so long without success riskd says ERROR."""

_OVER = timedelta(seconds=0.5)
"""A lock whose end is nearer than this may be over by riskd's idea of the exchange's time."""

_JUST_ENDED = 5.0
"""For so many seconds after an order has ended, a search or late news may still show it as working."""

NEVER = float("-inf")

OF_POSITIONS = (
    *("RULE-001", "RULE-002", "RULE-004", "RULE-005", "RULE-008", "RULE-009", "RULE-011"),
    *(NO_STOP, STOPS_TOO_MANY, REDUCE_ONLY, *NET),
)
CLOSING = ("RULE-001", "RULE-002", "RULE-008", "RULE-011")
"""The rules that close without a lock, by what the exchange had at some moment.

The others go by prices: riskd may see the price of now and the position of a moment ago, which were never there together.
"""

COOLDOWNS = ("RULE-006", "RULE-007")
BY_TRADES = ("RULE-003", *COOLDOWNS)
"""The rules whose locks a corrected trade may lift."""

LOCKING = (Action.CLOSE_ALL_AND_LOCKOUT, Action.COOLDOWN)


class Invariants:
    """Checks what riskd broadcasts and what stays at the exchange; keeps what does not hold.

    :param oracle: looks at the exchange when the caller says so.
    :param now: gives the exchange's time, aware.
    :param counts: receives how often each action and lock was broadcast.
    :ivar violations: what did not hold, each with the oracle's seconds.
    :ivar ends: the locks in force as broadcast, by rule id.
    :ivar status: the daemon's last status as broadcast.
    :ivar lost_at: when events may have been lost last, in the oracle's seconds.
    :ivar late_at: when riskd may have known something late.
    :ivar hidden_at: when something may have kept riskd for long from knowing what has happened.
    :ivar blind_at: when something other than the order of news may have kept it from that.
    :ivar is_flattening: whether an operator's flatten is not announced as done; it goes on while a trader trades.
    :ivar is_unlocking: whether an operator is ending all locks.
    """

    def __init__(
        self,
        oracle: ExchangeOracle,
        now: Callable[[], datetime],
        counts: Counter[str] | None = None,
    ) -> None:
        self._oracle = oracle
        self._now = now
        self.violations: list[tuple[object, ...]] = []
        self._counts: Counter[str] = Counter() if counts is None else counts
        self._exposed_since: float | None = None
        self.status: DaemonStatus | None = None
        self.ends: dict[str, LockoutSet] = {}
        self.is_flattening = self.is_unlocking = False
        self._locked: list[LockoutSet] = []
        self._locked_at: dict[str, float] = {}
        # When riskd told that an order had ended, by order id.
        self._ended_orders: dict[int, float] = {}
        # The positions whose end riskd has told.
        self._closed: set[int] = set()
        self._lifted: Counter[str] = Counter()
        self._lifted_at: dict[str, float] = {}
        self._ended: list[LockoutSet] = []
        # What is told once: when it was told, and when a trade was corrected last before that.
        self._told: dict[tuple[object, ...], tuple[float, float]] = {}
        self._announced: Counter[str] = Counter()
        self._forbidden_since: float | None = None
        self.lost_at = self.late_at = self._unanswered_at = self._bad_quotes_at = NEVER
        self.hidden_at = self.blind_at = NEVER
        # What the exchange has and what riskd knows, where these differ, and since when.
        self._differing: object = None
        self._differs_since = NEVER
        # The ids of the positions that the exchange has and riskd knows, by contract id.
        self._remembered: Mapping[str, int] = {}
        self._refused_at = self._silent_at = self._error_at = NEVER

    @property
    def seconds(self) -> float:
        return self._oracle.awake()

    # What may keep riskd from acting.

    def note_trouble(self, faults: Collection[str], *, late: bool = False) -> None:
        """Note what may keep riskd from acting at once, or acting at all.

        :param faults: the names of the faults in force.
        :param late: whether something else may be known late.
        """
        if not (faults or late):
            return
        now = self.seconds
        if not IN_TIME.issuperset(faults) or late:
            self.late_at = now
        if not IN_TIME.issuperset(faults):
            self.hidden_at = now
        if not SOON_KNOWN.issuperset(faults) or late:
            self.blind_at = now
        if not BAD_QUOTES.isdisjoint(faults):
            self._bad_quotes_at = now
        if "lost_events" in faults:
            self.lost_at = now
        if "refuse" in faults:
            self._refused_at = now
        if not UNANSWERED.isdisjoint(faults):
            self._unanswered_at = now

    def settle(self, over: Counter[str]) -> None:
        """Note that riskd has ended all flattens, and announced the breaches that were over some time ago.

        :param over: how often each rule was breached by then.
        """
        self.is_flattening = False
        self._announced |= over

    def note_silence(self) -> None:
        """Note that what riskd does is announced late."""
        self._silent_at = self.seconds

    def forget_trouble(self) -> None:
        """Note that riskd knows all that the exchange knows."""
        self.lost_at = self.late_at = self._unanswered_at = self._bad_quotes_at = NEVER
        self._refused_at = NEVER

    def forgive(self) -> None:
        """Let every breach begin now: until now nothing could be done about it."""
        self._oracle.forgive()
        self._forbidden_since = None

    def reach(self) -> float:
        """Return for how many seconds back a breach may be that riskd acts on."""
        # What is refused is tried again, and again.
        trouble = max(self.late_at, self._refused_at)
        return SOON_SECONDS if self.seconds - trouble > SETTLING_SECONDS else 150.0

    @property
    def _is_known_late(self) -> bool:
        return self.seconds - self.late_at < SETTLING_SECONDS

    @property
    def _lateness(self) -> float:
        """For how many seconds more riskd may not know something."""
        return SETTLING_SECONDS if self._is_known_late else 0

    def under_way(self) -> float:
        """Return for how many seconds a close may be under way and meet the next position."""
        return self.reach() if self.seconds - self._unanswered_at < SETTLING_SECONDS else 3.0

    # What must hold.

    def check(self, holds: bool, *what: object) -> None:
        """Note what does not hold; riskd would log an exception that passes through it."""
        if not holds:
            self.violations.append((self.seconds, *what))

    def in_force(self) -> set[str]:
        """Return the rules whose locks are in force, as broadcast."""
        now = self._now()
        return {lock.rule_id for lock in self.ends.values() if is_in_force(lock, now)}

    def is_held_in_lock(self) -> bool:
        """Return whether the exchange has what no lock allows, while one is in force."""
        is_busy = bool(self._oracle.positions()) or self._oracle.holds_forbidden_order()
        return is_busy and bool(self.in_force())

    def check_sound(self, contract_id: str) -> None:
        """Check that what riskd ends is wanted ended by some rule, or by a lock in force."""
        is_justified = self._oracle.is_justified(contract_id, self.reach(), self.under_way())
        if self.seconds - self._refused_at < SETTLING_SECONDS:
            # A position whose stop the broker does not take is closed.
            within = self.reach()
            is_justified |= self._oracle.was_breached(NO_STOP, within, contract_id)
        is_justified |= self._oracle.may_be_reduced(contract_id, self._near_for())
        is_justified |= self.is_flattening or bool(self.in_force()) or self._was_locked_just_now()
        self.check(is_justified, "closed or canceled", contract_id)

    def _was_locked_just_now(self) -> bool:
        """Return whether what riskd did in a lock may still be under way."""
        before = self._now() - timedelta(seconds=self.under_way())
        return any(is_in_force(lock, before) for lock in self._locked[-10:])

    def check_cancel(self, order: Payload) -> None:
        """Check that an order that riskd cancels is wanted canceled, or is a stop of riskd's beside others."""
        is_rejected = self._oracle.may_be_rejected(order, self._near_for())
        if not is_rejected and (not is_own_stop(order) or self._oracle.is_needed(order)):
            self.check_sound(order["contractId"])

    def _near_for(self) -> float:
        """For how many seconds a loss may still count as near its limit: while the P&L is unknown, it does."""
        return self.reach() if self._has_prices else LONGEST

    def check_placed(self, order: Payload) -> None:
        """Check that what riskd places is a stop for what is held."""
        self.check(self._oracle.may_place(order), "placed", order)

    def check_modified(self, order: Payload, changes: Payload) -> None:
        """Check that riskd moves only stops of its own, and those never away from the market.

        A trader's stop is made smaller with its position.
        """
        price = changes.get("stopPrice") or order.get("stopPrice")
        if is_own_stop(order):
            is_right = (price - order["stopPrice"]) * direction(order) <= 0
        else:
            is_right = price == order.get("stopPrice") and changes["size"] <= order["size"]
            self.check_sound(order["contractId"])
        self.check(is_right, "modified", order, changes)

    def check_known(self, held: Mapping[str, int], known: Mapping[str, int]) -> None:
        """Check that riskd does not take something else for held for longer than its questions take.

        :param held: the contracts that the exchange has, by contract id.
        :param known: those that riskd knows.
        """
        now, differing = self.seconds, (held, known)
        is_blind = now - self.blind_at < SETTLING_SECONDS
        if is_blind or held == known or differing != self._differing:
            self._differing, self._differs_since = differing, now
            return
        longest = LADDER_SECONDS + LATE_SECONDS
        self.check(now - self._differs_since <= longest, "taken for held", held, known)

    def check_remembered(self, held: Mapping[str, int], known: Mapping[str, int]) -> None:
        """Check that riskd does not take a position for closed that it has known and the exchange still has.

        :param held: the ids of the exchange's positions, by contract id.
        :param known: those of the positions that riskd knows.
        """
        for contract_id, position_id in held.items():
            is_forgotten = self._remembered.get(contract_id) == position_id
            if contract_id not in known:
                self.check(not is_forgotten, "forgotten", contract_id, position_id)
        self._remembered = {name: key for name, key in held.items() if known.get(name) == key}

    def check_exposure(self) -> None:
        """Check that nothing stays for longer than the ladder that a rule or a lock forbids."""
        in_force = self.in_force()
        is_held_in_lock = bool(in_force) and self.is_held_in_lock()
        if not is_held_in_lock:
            self._forbidden_since = None
        elif self._forbidden_since is None:
            self._forbidden_since = self.seconds
        self._check_helpless(is_held_in_lock)
        if self.seconds - self._unanswered_at < LADDER_SECONDS:
            self.forgive()
            return
        longest = LADDER_SECONDS + self._lateness
        if self._forbidden_since is not None:
            held_for = self.seconds - self._forbidden_since
            self.check(held_for <= longest, "held in a lock", in_force)
        self._check_positions(longest)
        self._check_fall()
        if self.seconds - self._silent_at < LADDER_SECONDS:
            return
        for rule_id, seconds, executed in self._oracle.locks_due():
            if rule_id in NET and not self._has_prices:
                continue
            if executed is None:
                # In any lock nothing is held outside the hours, so that rule has nothing to lock for.
                is_locked = rule_id in in_force or (rule_id == "RULE-009" and bool(in_force))
                self.check(seconds <= longest or is_locked, "not locked", rule_id)
            elif seconds > longest and not in_force:
                self.check(self._was_locked(executed), "not locked", rule_id)

    def _check_fall(self) -> None:
        """Check that a breach of a limit on equity costs no more than the price moves within the latency."""
        balances = self._oracle.balances
        if balances is not None:
            self.check(balances.lost_more is None, "lost more", balances.lost_more)

    def _check_helpless(self, is_held_in_lock: bool) -> None:
        """Check that riskd says ERROR while it cannot end for long what may not stay."""
        if self._says_error:
            self._error_at = self.seconds
        if not (is_held_in_lock or any(self._held())):
            self._exposed_since = None
        elif self._exposed_since is None:
            self._exposed_since = self.seconds
        else:
            exposed = self.seconds - self._exposed_since
            # What became possible just now may be done within the ladder.
            says_error = self.seconds - self._error_at <= LADDER_SECONDS
            longest = HELPLESS_SECONDS + self._lateness
            self.check(says_error or exposed <= longest, "no ERROR told", exposed)

    @property
    def _says_error(self) -> bool:
        return self.status is not None and self.status.status is Status.ERROR

    def check_error(self, why: str) -> None:
        """Check that riskd says ERROR."""
        self.check(self._says_error, "no ERROR while", why)

    def check_status(self, wall_ahead: float) -> None:
        """Check that the status is ERROR if this machine's clock is wrong, and RUNNING otherwise.

        :param wall_ahead: by how many seconds the machine's clock is ahead of the exchange's.
        """
        assert self.status is not None
        if not WRONG_SECONDS - 0.5 < abs(wall_ahead) < WRONG_SECONDS + 0.5:
            expected = Status.ERROR if abs(wall_ahead) > WRONG_SECONDS else Status.RUNNING
            self.check(self.status.status is expected, "status", self.status, wall_ahead)

    def _check_positions(self, longest: float) -> None:
        for breach, seconds in self._held():
            self.check(seconds <= longest, "held", breach, seconds)

    def _held(self) -> Iterator[tuple[Breach, float]]:
        """Yield what is held that a rule forbids, and for how long, as far as riskd can see it."""
        for breach, seconds in self._oracle.exposed().items():
            is_priced = breach.rule_id in (*PRICED, *NET, REDUCE_ONLY)
            if breach.rule_id in OF_POSITIONS and (self._has_prices or not is_priced):
                yield breach, seconds

    @property
    def _has_prices(self) -> bool:
        return self.seconds - self._bad_quotes_at > SETTLING_SECONDS

    def _was_locked(
        self, at: datetime, within: float = 5.0, but: LockoutSet | None = None
    ) -> bool:
        """Return whether a lock was in force, in which a trade begins no cooldown.

        :param within: so many seconds later it may have begun.
        :param but: a lock that does not count: a trade that begins two is in neither of them.
        """
        return any(
            lock != but
            and lock.locked_at - timedelta(seconds=within) < at
            and is_in_force(lock, at)
            for lock in reversed(self._locked)
        )

    # What riskd broadcasts.

    def unlock(self) -> None:
        """Note that an operator has ended all locks."""
        self._oracle.unlock({lock.rule_id for lock in self._ended})
        self._ended.clear()
        now = self._now()
        self._locked = [
            ended_lock(lock, lock.reason, now) if is_in_force(lock, now) else lock
            for lock in self._locked
        ]

    def restarted(self) -> None:
        """Note that riskd has ended, and begins anew.

        Late news of what ended just before may be all that it knows of it.
        """
        last = self.seconds - _JUST_ENDED
        self._ended_orders = {key: at for key, at in self._ended_orders.items() if at < last}
        self._closed.clear()
        self._remembered = {}

    def receive(self, event: Event) -> None:
        """Check an event that riskd has broadcast."""
        data = event.data
        if isinstance(data, LockoutSet):
            self.receive_lock(data)
        elif isinstance(data, LockoutCleared) or (
            isinstance(data, DailyReset) and data.lockouts_cleared
        ):
            self.end_locks()
            self._oracle.release()
        elif isinstance(data, EnforcementAction):
            self._check_action(data)
        elif isinstance(data, DaemonStatus):
            self.status = data
        elif isinstance(data, GatewayUserPosition):
            if data.size:
                self._closed.discard(data.id)
            else:
                self.check(data.id not in self._closed, "closed again", data)
                self._closed.add(data.id)
        elif isinstance(data, GatewayUserOrder):
            if data.state is not OrderState.ACTIVE:
                self._ended_orders[data.id] = self.seconds
            elif data.id in self._ended_orders:
                self.check(False, "works again", data)

    def receive_lock(self, lock: LockoutSet) -> None:
        """Check a lock that riskd has broadcast or published."""
        known, now = self.ends.get(lock.rule_id), self._now()
        if not is_in_force(lock, now + _OVER):
            # Lifted: the trade was voided or amended, or the broker lets the account trade again.
            if known is not None and is_in_force(known, now + _OVER):
                self._check_lifted(lock.rule_id)
            self.end_locks(lock.rule_id)
            return
        if known is not None and lock != known and is_in_force(known, now):
            self.check(
                known.locked_until is not None
                and (lock.locked_until is None or lock.locked_until >= known.locked_until),
                "shortened",
                known,
                lock,
            )
        if known is None and lock.rule_id != OPERATOR:
            within = self.reach() + 60
            may_lock = self._seen(lambda: self._oracle.may_lock(lock.rule_id, within))
            self.check(may_lock, "locked without a cause", lock)
        if lock.rule_id == "RULE-009":
            until = lock.locked_until
            self.check(until is not None and HOURS.start_at(until), "wrong end", lock)
        if known is None:
            self._locked_at[lock.rule_id] = self.seconds
        self.ends[lock.rule_id] = lock
        self._locked.append(lock)
        self._counts[f"lock {lock.rule_id}"] += 1

    def _check_lifted(self, rule_id: str) -> None:
        """Check that the broker has corrected a trade since the lock began that is lifted for that."""
        locked_at = self._locked_at.get(rule_id)
        if rule_id in BY_TRADES and locked_at is not None and not self.is_unlocking:
            is_corrected = self._oracle.corrected_at >= locked_at - self.reach()
            self.check(is_corrected, "lifted without a correction", rule_id)

    def end_locks(self, *rule_ids: str) -> None:
        """Forget the locks of these rules, or of all; note those whose time is not over."""
        now = self._now()
        for rule_id in rule_ids or tuple(self.ends):
            lock = self.ends.pop(rule_id, None)
            self._lifted[rule_id] += 1
            self._lifted_at[rule_id] = self.seconds
            if lock is not None and is_in_force(lock, now + _OVER):
                self._ended.append(lock)

    def check_ended(self) -> None:
        """Check that the breaches of the locks that ended early were taken back, or lock again."""
        ended, self._ended = self._ended, []
        in_force = self.in_force()
        for lock in ended:
            is_locked = lock.rule_id in in_force or (in_force and lock.rule_id in COOLDOWNS)
            is_due = any(
                rule_id == lock.rule_id
                and seconds > self.reach()
                and not (executed is not None and self._was_locked(executed, 0, but=lock))
                for rule_id, seconds, executed in self._oracle.locks_due()
            )
            self.check(is_locked or not is_due, "ended early", lock)

    def _check_action(self, action: EnforcementAction) -> None:
        """Check that a rule is breached that riskd says is, and that this is told once."""
        self._counts[f"{action.action} {action.rule_id}"] += 1
        if (
            action.rule_id == OPERATOR
            and action.action is Action.CLOSE_ALL_POSITIONS
            and action.success
        ):
            self.is_flattening = False
        contract_id = action.details.contract_id
        name = contract_id if isinstance(contract_id, str) else None
        rule_id = NO_STOP if action.action is Action.AUTO_STOP_LOSS else action.rule_id
        self.check(
            self._was_locked_by(action.rule_id)
            or self._seen(lambda: self._oracle.was_breached(rule_id, self.reach() + 60, name))
            or (action.rule_id == "RULE-012" and self.seconds - self._refused_at < 240)
            or (
                action.rule_id in NET
                and action.action not in LOCKING
                and self._oracle.was_breached(REDUCE_ONLY, self._near_for() + 60)
            ),
            "no breach",
            action,
        )
        if action.action in LOCKING and action.success:
            was_flat = self._seen(lambda: self.seconds - self._oracle.flat_at <= LADDER_SECONDS)
            # What the trader opens while riskd flattens is closed as the next breach.
            is_next = self._oracle.longest_held() <= SOON_SECONDS
            is_late = self.seconds - self._silent_at < LADDER_SECONDS
            self.check(was_flat or is_next or is_late, "announced as flat", action)
            longest = LADDER_SECONDS if self._is_known_late else SOON_SECONDS
            is_canceled = self._seen(lambda: self._oracle.longest_working() <= longest)
            self.check(is_canceled or is_late, "announced as canceled", action)
        self._check_told_once(action)

    def _seen(self, holds: Callable[[], bool]) -> bool:
        """Return what the oracle says; if it is no, once more after a look at this moment."""
        if holds():
            return True
        self._oracle.look()
        return holds()

    def _was_locked_by(self, rule_id: str) -> bool:
        """Return whether a lock of a rule is in force, or ended while its flatten was under way."""
        ended_at = self._lifted_at.get(rule_id, NEVER)
        return rule_id in self.ends or self.seconds - ended_at < SETTLING_SECONDS

    def _check_told_once(self, action: EnforcementAction) -> None:
        details, rule_id = action.details, action.rule_id
        key: tuple[object, ...] = (action.action, rule_id, self._lifted[rule_id])
        if action.action in LOCKING and rule_id != OPERATOR:
            # A lock of the day that the broker's correction lifted may be needed once more.
            is_cooldown = action.action is Action.COOLDOWN
            key += (action.timestamp, action.reason) if is_cooldown else (details.locked_until,)
        elif isinstance(details.order_id, int):
            key = (action.action, details.order_id, action.success)
        elif (
            action.action is Action.CLOSE_ALL_POSITIONS
            and rule_id in CLOSING
            # A position may end by itself while riskd closes it.
            and details.positions_closed
            and not self._is_known_late
        ):
            # What riskd announces may be about a breach before the present one, so they are counted.
            self._announced[rule_id] += 1
            announced, occurred = self._announced[rule_id], self._oracle.times[rule_id]
            self.check(announced <= occurred, "told again", action, announced, occurred)
            return
        else:
            return
        told = self._told.get(key)
        is_new = told is None or self._was_lifted_untold(rule_id, *told)
        self.check(is_new, "told again", action)
        self._told[key] = self.seconds, self._oracle.corrected_at

    def _was_lifted_untold(self, rule_id: str, told_at: float, corrected_at: float) -> bool:
        """Return whether no lock came of a breach that was told: a correction took it back meanwhile."""
        has_locked = rule_id in self.ends or self._locked_at.get(rule_id, NEVER) >= told_at
        is_corrected = told_at - corrected_at <= LADDER_SECONDS
        return rule_id in BY_TRADES and is_corrected and not has_locked
