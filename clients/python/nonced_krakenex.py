"""krakenex with nonces from nonced: `from nonced_krakenex import API` instead of `from krakenex import API`.

    api = API(key, secret, unit='ms', account='MASTER')
    balance = api.query_private('Balance')

Needs `nonced.py` and `nonced_kraken.py` beside it, and krakenex 2.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

import krakenex  # type: ignore[import-not-found]
import nonced
from nonced_kraken import PrivateCalls, outcome_of_errors, outcome_of_exception

__all__ = ['API']

_TIMEOUT_S = 10.0


class API(krakenex.API):
    """krakenex's class. Makes its private calls one at a time, each with a nonce from the daemon.

    `unit` is the daemon's unit. krakenex's own nonces are milliseconds. A call without a `timeout` has 10 s; krakenex
    would wait for ever. Raises what krakenex raises, and NoncedError.
    """

    def __init__(
        self,
        key: str = '',
        secret: str = '',
        *,
        unit: str,
        client: Optional[nonced.Client] = None,
        account: Optional[str] = None,
        wait_ms: Optional[float] = None,
    ) -> None:
        super().__init__(key, secret)
        self._calls = PrivateCalls(unit=unit, client=client, account=account, wait_ms=wait_ms)

    def query_private(self, method: str, data: Optional[Dict[str, Any]] = None, timeout: Optional[float] = None) -> Any:
        # A copy: krakenex writes the nonce into its argument.
        copy = dict(data or {})
        return self._calls.make(
            method,
            self.key,
            _TIMEOUT_S if timeout is None else timeout,
            lambda timeout_s: super(API, self).query_private(method, copy, timeout_s),
            lambda answer: outcome_of_errors(answer.get('error') or ()),
            outcome_of_exception,
        )

    def _nonce(self) -> int:
        return self._calls.nonce()
