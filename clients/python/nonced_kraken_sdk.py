"""python-kraken-sdk with nonces from nonced. Import its REST clients for spot trading from here.

    from nonced_kraken_sdk import User

    user = User(key=key, secret=secret, unit='ns', account='MASTER')
    balance = user.get_account_balance()

Needs `nonced.py` and `nonced_kraken.py` beside it, and python-kraken-sdk 2 or 3. Its asynchronous clients are not
covered. Futures needs no nonce.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

import kraken.spot  # type: ignore[import-not-found]
import nonced
from nonced_kraken import PrivateCalls, outcome_of_errors, outcome_of_exception

__all__ = ['Earn', 'Funding', 'NoncedCalls', 'Trade', 'User']


class NoncedCalls:
    """A base class to put before a client of the SDK: `class Mine(NoncedCalls, kraken.spot.User)`.

    `unit` is the daemon's unit. The SDK's own nonces have 18 digits, between `us` and `ns`. Raises what the SDK raises,
    and NoncedError.
    """

    def __init__(
        self,
        *sdk: Any,
        unit: str,
        client: Optional[nonced.Client] = None,
        account: Optional[str] = None,
        wait_ms: Optional[float] = None,
        **more: Any,
    ) -> None:
        super().__init__(*sdk, **more)
        self._calls = PrivateCalls(unit=unit, client=client, account=account, wait_ms=wait_ms)

    def request(
        self,
        method: str,
        uri: str,
        params: Optional[Dict[str, Any]] = None,
        timeout: int = 10,
        *,
        auth: bool = True,
        **more: Any,
    ) -> Any:
        request = super().request  # type: ignore[misc]
        if not auth:
            return request(method, uri, params, timeout, auth=False, **more)
        # A copy: the SDK writes the nonce into its argument.
        copy = dict(params or {})
        # The SDK uses its own TIMEOUT for any value other than 10.
        timeout_s = float(timeout if timeout == 10 else self.TIMEOUT)  # type: ignore[attr-defined]
        return self._calls.make(
            uri.rsplit('/', 1)[-1],
            self._key,  # type: ignore[attr-defined]
            timeout_s,
            lambda _timeout_s: request(method, uri, copy, timeout, auth=True, **more),
            self._outcome_of,
            _outcome_of_error,
        )

    def get_nonce(self) -> str:
        return str(self._calls.nonce())

    def _outcome_of(self, _answer: Any) -> str:
        # Without its exceptions the SDK returns the response unread.
        return 'ok' if getattr(self, '_use_custom_exceptions', True) else 'unknown'


def _outcome_of_error(error: BaseException) -> str:
    answer = error.args[0] if error.args else None
    if isinstance(answer, dict) and isinstance(answer.get('error'), list):
        return outcome_of_errors(answer['error'])
    return outcome_of_exception(error)


class User(NoncedCalls, kraken.spot.User):  # type: ignore[misc]
    """`kraken.spot.User`."""


class Trade(NoncedCalls, kraken.spot.Trade):  # type: ignore[misc]
    """`kraken.spot.Trade`."""


class Funding(NoncedCalls, kraken.spot.Funding):  # type: ignore[misc]
    """`kraken.spot.Funding`."""


class Earn(NoncedCalls, kraken.spot.Earn):  # type: ignore[misc]
    """`kraken.spot.Earn`."""
