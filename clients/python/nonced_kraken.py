"""What the adapters for Kraken's REST API share: what to tell the daemon about a call, and how the call ended.

Needs `nonced.py` beside it, and no SDK.
"""

from __future__ import annotations

import hashlib
import re
import threading
from typing import Any, Callable, Iterable, Optional, Tuple, TypeVar

import nonced

__all__ = ['PrivateCalls', 'fingerprint', 'outcome_of_errors', 'outcome_of_exception', 'terms_of']

T = TypeVar('T')

# Calls that change orders go first. Kraken counts them with the pair's limiter, not with the key's counter. Calls that
# read the past can wait. Kraken counts ledgers and trade history double.
_TERMS = {
    **dict.fromkeys(('AddOrder', 'AddOrderBatch', 'AmendOrder', 'EditOrder'), ('urgent', 0)),
    **dict.fromkeys(('CancelOrder', 'CancelOrderBatch', 'CancelAll', 'CancelAllOrdersAfter'), ('urgent', 0)),
    **dict.fromkeys(('Ledgers', 'QueryLedgers', 'TradesHistory'), ('background', 2)),
    **dict.fromkeys(('QueryTrades', 'ClosedOrders', 'OrderAmends'), ('background', 1)),
    **dict.fromkeys(('Balance', 'BalanceEx', 'TradeBalance', 'CreditLines'), ('background', 1)),
    **dict.fromkeys(('AddExport', 'ExportStatus', 'RetrieveExport', 'RemoveExport'), ('background', 1)),
}

# The longest label. test/python-terms.test.ts compares it with `src/terms.ts`.
_MAX_TEXT_BYTES = 64

# The worst first: of several errors in one answer, the worst is reported.
_OUTCOMES = (
    (r'EGeneral:Temporary lockout', 'locked-out'),
    (r'EAPI:Invalid nonce', 'invalid-nonce'),
    # Not `EOrder:Rate limit exceeded`: that is the limiter of one pair, and the key's counter still has room.
    (r'E(API|Auth):Rate limit exceeded|E(General|Auth):Too many requests|EService:Throttled', 'rate-limited'),
    (r'EService:(Unavailable|Busy)', 'unavailable'),
    (r'EService:(Deadline elapsed|Timeout)', 'unsettled'),
    # Refused before the nonce was checked, or broken inside: this says nothing about the nonces or the exchange.
    (r'EAPI:Invalid (key|signature)|EAuth:|EGeneral:Internal error', 'unknown'),
)


def terms_of(method: str) -> Tuple[str, float]:
    """Returns priority and cost of a private method by its name in the URL (`AddOrder`). The default is normal, 1."""
    return _TERMS.get(method, ('normal', 1))


def fingerprint(public_key: str) -> str:
    """Returns the fingerprint of a public key. The daemon tells keys apart by it, and never sees the key."""
    return hashlib.sha256(public_key.encode()).hexdigest()[:16]


def outcome_of_errors(errors: Iterable[Any]) -> str:
    """Returns the outcome of a call that Kraken answered with these errors: `ok` if there are none, or none but about
    the order."""
    # Kraken writes `EService: Throttled` with a space, and the others without.
    written = [re.sub(r'^(\w+):\s+', r'\1:', str(error)) for error in errors]
    for pattern, outcome in _OUTCOMES:
        if any(re.match(pattern, error) for error in written):
            return outcome
    return 'ok'


def outcome_of_exception(error: BaseException) -> str:
    """Returns the outcome of a call for which an SDK on top of `requests` raised `error`."""
    names = [kind.__name__ for kind in type(error).__mro__]
    status = getattr(getattr(error, 'response', None), 'status_code', None)
    if isinstance(status, int):
        return 'unavailable' if status >= 500 else 'rate-limited' if status == 429 else 'unknown'
    if 'ConnectTimeout' in names or 'ConnectionRefusedError' in names:
        return 'unavailable'
    if 'ConnectionError' in names or any('timeout' in name.lower() for name in names):
        return 'unsettled'
    # A proxy's page with status 200.
    return 'unavailable' if 'JSONDecodeError' in names else 'unknown'


class PrivateCalls:
    """Makes the private calls of one API key one at a time, each with a nonce from the daemon.

    `unit` is the unit that the daemon must count in. If it counts in another one, the call is refused before the key
    has seen a nonce that it cannot go back from. `account` is the key's label. The default is the key's fingerprint.
    """

    def __init__(
        self,
        *,
        unit: str,
        client: Optional[nonced.Client] = None,
        account: Optional[str] = None,
        wait_ms: Optional[float] = None,
    ) -> None:
        self._exclusive: Callable[..., nonced.Exclusive] = client.exclusive if client else nonced.exclusive
        self._unit = unit
        self._account = account
        self._wait_ms = wait_ms
        # The grant for the call that this thread is making.
        self._granted = threading.local()

    def make(
        self,
        method: str,
        public_key: str,
        timeout_s: float,
        send: Callable[[float], T],
        outcome_of: Callable[[T], str],
        outcome_of_error: Callable[[BaseException], str],
    ) -> T:
        """Calls `send(timeout_s)` under a lease. Raises LEASE_LOST if it hangs."""

        def work(grant: nonced.Grant) -> T:
            self._granted.grant, self._granted.drawn = grant, False
            try:
                answer = send(min(timeout_s, grant.remaining_s()))
                grant.outcome = outcome_of(answer)
                return answer
            except nonced.NoncedError:
                raise
            except BaseException as error:
                grant.outcome = outcome_of_error(error)
                raise
            finally:
                self._granted.grant = None

        priority, cost = terms_of(method)
        exclusive = self._exclusive(
            account=self._account,
            key=fingerprint(public_key),
            unit=self._unit,
            priority=priority,
            cost=cost,
            # Longer than the call may take: for its holder, a lease is over a second before its end.
            ttl_ms=int(timeout_s * 1000) + 1_250,
            wait_ms=self._wait_ms,
            label=method[:_MAX_TEXT_BYTES],
        )
        return exclusive.run(work)

    def nonce(self) -> int:
        """Returns the nonce for the call that this thread is making. Each retry by the SDK gets a further one."""
        grant: Optional[nonced.Grant] = getattr(self._granted, 'grant', None)
        if grant is None:
            # Fail closed: with the SDK's own nonce, the key would have two sources of nonces.
            raise nonced.NoncedError('BAD_REQUEST', 'a nonce was requested without a lease; call a method of the SDK')
        if self._granted.drawn:
            return grant.next()
        self._granted.drawn = True
        return grant.nonce
