"""What the adapters for Kraken's REST API share: what to tell the daemon about a call, and how the call ended.

Needs `nonced.py` beside it, and no SDK.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple, TypeVar

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


def terms_of(method: str) -> Tuple[str, float]:
    """Returns priority and cost of a private method by its name in the URL (`AddOrder`). The default is normal, 1."""
    return _TERMS.get(method, ('normal', 1))


def fingerprint(public_key: str) -> str:
    """Returns the fingerprint of a public key. The daemon tells keys apart by it, and never sees the key."""
    return hashlib.sha256(public_key.encode()).hexdigest()[:16]


def outcome_of_errors(errors: Iterable[Any]) -> str:
    """Returns the outcome of a call that Kraken answered with these errors: `ok` if there are none, or none but about
    the order."""
    return nonced.outcome_of_kraken([str(error) for error in errors if str(error).startswith('E')]) or 'ok'


# What `requests` raises, and its causes, for a call that was never sent: bad input, no name, no trust, no proxy.
_NEVER_SENT = frozenset(
    ('InvalidURL', 'InvalidHeader', 'InvalidProxyURL', 'InvalidSchema', 'MissingSchema', 'LocationParseError')
    + ('NameResolutionError', 'gaierror', 'SSLCertVerificationError', 'ProxyError', 'UnicodeEncodeError')
)


def outcome_of_exception(error: BaseException) -> str:
    """Returns the outcome of a call for which an SDK on top of `requests` raised `error`."""
    status = getattr(getattr(error, 'response', None), 'status_code', None)
    if isinstance(status, int):
        return _outcome_of_status(status)
    names = {kind.__name__ for one in _causes(error) for kind in type(one).__mro__}
    if names & _NEVER_SENT:
        return 'unused'
    if names & {'ConnectTimeout', 'ConnectionRefusedError'}:
        return 'unavailable'
    if 'ConnectionError' in names or any('timeout' in name.lower() for name in names):
        return 'unsettled'
    # A proxy's page with status 200.
    return 'unavailable' if 'JSONDecodeError' in names else 'unknown'


def _outcome_of_status(status: int) -> str:
    # A gateway that has stopped waiting: the call may have arrived.
    if status in (408, 504, 524):
        return 'unsettled'
    if status in (418, 420, 429):
        return 'rate-limited'
    # An exchange that answers is not down. 511 is a proxy's.
    return 'unavailable' if status >= 500 and status != 511 else 'unknown'


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error and what led to it. `requests` and `urllib3` keep that in `args` and `reason`, too."""
    pending: List[Any] = [error]
    seen: List[BaseException] = []
    while pending and len(seen) < 20:
        one = pending.pop()
        if not isinstance(one, BaseException) or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        pending += [one.__cause__, getattr(one, 'reason', None), *one.args]


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
