"""A client of nonced, the daemon that gives each bot on a host its next nonce and the exclusive right to use it.

    import nonced

    with nonced.exclusive(account='MASTER', unit='ns') as grant:
        answer = private_call('Balance', nonce=grant.nonce, timeout=grant.remaining_s())

One file that needs only the standard library. Python 3.9 or later, Linux and macOS. Copy it beside your bot.

It fails closed: without a daemon it raises `NoncedError` with the code `UNAVAILABLE`. It never makes up a nonce.
"""

from __future__ import annotations

import atexit
import collections
import contextvars
import errno
import functools
import itertools
import json
import logging
import os
import random
import re
import secrets
import signal
import socket
import stat
import sys
import threading
import time
import weakref
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple, TypeVar, Union

__all__ = [
    'Client',
    'ERROR_CODES',
    'Exclusive',
    'Grant',
    'NoncedError',
    'OUTCOMES',
    'PRIORITIES',
    'UNITS',
    'acquire',
    'exclusive',
    'nonce',
    'status',
]
__version__ = '0.2.0'

# --- Terms. A copy of `src/terms.ts`, the codes in `src/errors.ts` and `src/protocol/minor.ts`.
# test/python-terms.test.ts compares them.

UNITS = ('ns', 'us', 'ms', 's', 'counter')
PRIORITIES = ('urgent', 'normal', 'background')
OUTCOMES = (
    'unknown',
    'ok',
    'unsettled',
    'unavailable',
    'invalid-nonce',
    'rate-limited',
    'locked-out',
    'unused',
)
ERROR_CODES = (
    'BAD_REQUEST',
    'UNKNOWN_METHOD',
    'TOO_LARGE',
    'CANCELLED',
    'WAIT_TIMEOUT',
    'LIMIT',
    'PACED',
    'NESTED_LANE',
    'LEASE_LOST',
    'NOT_DURABLE',
    'PAUSED',
    'DRAINING',
    'QUARANTINED',
    'EXCHANGE_DOWN',
    'UNIT_MISMATCH',
    'KEY_MISMATCH',
    'FORBIDDEN',
    'SHUTTING_DOWN',
    'UNAVAILABLE',
    'UNSUPPORTED',
)
_EXCLUSION_POLICIES = ('global', 'account', 'off')
_DEFAULT_ACCOUNT = 'default'
_DEFAULT_PRIORITY = 'normal'
# The daemon's defaults, to compare `max_hold_ms` with.
_DEFAULT_TTL_MS = {'urgent': 30_000, 'normal': 20_000, 'background': 10_000}
_DEFAULT_WAIT_MS = {'urgent': 15_000.0, 'normal': 30_000.0, 'background': 30_000.0}
_DEFAULT_NONCE_WAIT_MS = 30_000.0
_MAX_MESSAGE_BYTES = 4096
_MAX_WITHIN = 16
_PROTOCOL = 1
_MINOR = 1
# Method, field, first minor version that has it, purpose. What `informs` is left out for an older daemon. What `protects`
# is refused here: left out, the mistake that it guards against would go unnoticed. Without a field, the method is new.
_ADDITIONS = (
    ('acquire', 'within', 1, 'informs'),
    ('next', 'unit', 1, 'protects'),
    ('next', 'key', 1, 'protects'),
    ('policy', None, 1, 'protects'),
    ('refusals', None, 1, 'protects'),
    ('report', None, 1, 'informs'),
    ('refuse', None, 1, 'informs'),
)

_GLOBAL, _ACCOUNT, _OFF = _EXCLUSION_POLICIES

T = TypeVar('T')

_log = logging.getLogger('nonced')

_SERVICE_SOCKET = '/run/nonced/nonced.sock'
# One of these is there if a service is installed, whether or not it runs.
_SERVICE_UNIT_FILES = (
    '/etc/systemd/system/nonced.service',
    '/usr/local/lib/systemd/system/nonced.service',
    '/usr/lib/systemd/system/nonced.service',
    '/lib/systemd/system/nonced.service',
)
# The kernel's limit, without the byte that ends the path.
_MAX_PATH_BYTES = 107
# Only the answer to `status` comes near this. It lists at most a hundred of a kind.
_MAX_ANSWER_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16

_CONNECT_TIMEOUT_MS = 5_000.0
# A daemon that has not answered this long after the requested wait will never answer.
_ANSWER_GRACE_S = 2.0
# How long a release may delay its caller, whose call is over. After that the keeper delivers it.
_RELEASE_WAIT_S = 1.0
# No message is larger than a page. A daemon that does not take one in this time hangs.
_SEND_WAIT_S = 1.0
# The daemon keeps a lane closed for 2 s after a restart. The holder of its lease must be back well before.
_KEEPER_TICK_S = 0.2
_KEEPER_IDLE_TICKS = 10
# A keeper that has not been seen for this long has ended or is stuck.
_KEEPER_STALLED_S = 1.0
# Longer than `_RELEASE_WAIT_S`.
_BUSY_TICKS = 10
# How long a lease lasts after its grant from `acquire` was dropped without a release: as long as a call may take.
_DROPPED_GRANT_S = 30.0
# How often a nested block checks whether the one before it has ended.
_NESTED_TICK_S = 0.005
_LONGEST_REST_S = 0.25
# How long the daemon keeps a lane closed after its restart, for the holder to come back. docs/protocol.md.
_RETURN_S = 2.0
_LONGEST_MARGIN_S = 1.0
_MARGIN_SHARE = 0.1
# The daemon has 1,024 places for all programs of the host. One that needs more at once connects again.
_MOST_IDLE_CONNECTIONS = 4
# Those that were idle for so long are closed after the next use of another one. No thread is kept for that.
_LONGEST_IDLE_S = 30.0

# If a script has reset SIGPIPE to its default, a daemon that goes away must not end the bot.
_SEND_FLAGS = getattr(socket, 'MSG_NOSIGNAL', 0)

_DOWN, _GREETING, _UP = 'down', 'greeting', 'up'

# Why a lease is over if this client closed its connection.
_INTERRUPTED = 'the program was interrupted while it talked to the daemon, so the lease was given up'
_LEFT = 'the block was left before its end could run, so the lease was given up'
_NOT_NEEDED = 'the connection was no longer needed'


class NoncedError(Exception):
    """An expected "no". Check `code`, never the text.

    `sent` is False if nothing went to the exchange because of this request, so that it may be repeated. It is 'unknown'
    if a lease ended that had begun: what was sent by then may have arrived. `retry_after_ms` says when a repetition may
    succeed, or is None.
    """

    code: str
    message: str
    sent: Union[bool, str]
    retry_after_ms: Optional[float]

    def __init__(
        self,
        code: str,
        message: str,
        sent: Union[bool, str] = False,
        retry_after_ms: Optional[float] = None,
    ) -> None:
        # All four are args, so that the error can be pickled and cross from one process to another.
        super().__init__(code, message, sent, retry_after_ms)
        self.code = code
        self.message = message
        self.sent = sent
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f'{self.code}: {self.message}'


def _lease_lost(message: str) -> NoncedError:
    return NoncedError('LEASE_LOST', message, 'unknown')


def _waited_too_long() -> NoncedError:
    return NoncedError(
        'WAIT_TIMEOUT', 'not granted in time (wait_ms, max_age_ms); see `nonced status` for who holds the lane'
    )


def _bad_request(message: str) -> NoncedError:
    return NoncedError('BAD_REQUEST', message)


# --- Time.

# Seconds since boot, without steps. Unlike time.monotonic() it also counts what the machine has slept: what was asked for
# or granted before a suspend is as old as that afterwards. macOS has no such clock.
_CLOCK = getattr(time, 'CLOCK_BOOTTIME', None)


def _now() -> float:
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class _Age:
    """How old a request is. The time since boot counts, and the wall clock if that says more: while a virtual machine is
    paused, all its clocks stand still, and afterwards its wall clock is set."""

    __slots__ = ('_since', '_since_wall')

    def __init__(self) -> None:
        self._since = _now()
        self._since_wall = time.time()

    def seconds(self) -> float:
        return max(_now() - self._since, time.time() - self._since_wall)

    def is_over(self, max_age_ms: Optional[float]) -> bool:
        return max_age_ms is not None and self.seconds() * 1000 > max_age_ms


# --- Where the daemon is. Every client searches the same places in the same order, or two could find two daemons.


class _Place(NamedTuple):
    path: str
    # Only this user may be able to write to it. None if an administrator or the caller vouches for the path.
    own_directory: Optional[str]


def _find_socket(asked: Optional[str]) -> _Place:
    explicit = asked if asked is not None else os.environ.get('NONCED_SOCKET') or None
    if explicit is not None:
        _check_form(explicit)
        # Absolute, and once: the process may change its directory, and must find its way back to the same daemon.
        return _checked_length(_Place(os.path.abspath(explicit), None))
    service = _Place(_SERVICE_SOCKET, None)
    # A daemon that root starts by hand uses the service's socket too. And while an installed service is down, a daemon of
    # the user's own would be a second authority for the same keys.
    if os.getuid() == 0 or _exists(_SERVICE_SOCKET) or any(map(_exists, _SERVICE_UNIT_FILES)):
        return service
    own = _own_places()
    found = next((place for place in own if _exists(place.path)), None)
    if found is None and _exists(os.path.dirname(_SERVICE_SOCKET)):
        # In a container, the directory of the host's service is all that there is to see of it while it is down.
        return service
    return _checked_length(found or own[0])


def _check_form(given: str) -> None:
    """Raises UNAVAILABLE for what cannot be a socket's path but is easily written for one."""
    where = '(NONCED_SOCKET or the argument socket)'
    if os.path.isdir(given):
        raise NoncedError(
            'UNAVAILABLE', f'{given} is a directory; the socket in it is {os.path.join(given, "nonced.sock")} {where}'
        )
    if _exists(given):
        return
    meant = re.sub(r'^unix:(//)?', '', re.sub(r'^(["\'])(.*)\1$', r'\2', given.strip())).strip()
    if meant != given:
        # Quoted, so that a blank or a carriage return at its end shows.
        raise NoncedError('UNAVAILABLE', f'{json.dumps(given)} is not the path of a socket; write it as {meant} {where}')


def _program_name() -> str:
    """Returns what a bot is called that gives itself no name: its program."""
    path = os.path.abspath((getattr(sys, 'argv', None) or [''])[0] or 'python')
    directory, file = os.path.split(path)
    # These say nothing without their directory.
    if file in ('__main__.py', 'main.py'):
        file = f'{os.path.basename(directory)}/{file}'
    return re.sub(r'[^\x20-\x7e]', '?', file)[:64] or 'python'


def _own_places() -> List[_Place]:
    temporary = _own_place(os.path.join(_temporary_directory(), f'nonced-{os.getuid()}'))
    told = os.environ.get('XDG_RUNTIME_DIR')
    # cron does not set XDG_RUNTIME_DIR, and its bots must find a daemon that was started in a shell.
    runtime = told or f'/run/user/{os.getuid()}'
    if not _exists(runtime):
        return [temporary]
    xdg = _own_place(os.path.join(runtime, 'nonced'))
    return [xdg, temporary] if told else [temporary, xdg]


def _own_place(directory: str) -> _Place:
    return _Place(os.path.join(directory, 'nonced.sock'), directory)


def _temporary_directory() -> str:
    # Not tempfile.gettempdir(), which searches for a writable directory: the daemon uses only these variables.
    for name in ('TMPDIR', 'TMP', 'TEMP'):
        directory = os.environ.get(name)
        if directory:
            return directory.rstrip('/') or '/'
    return '/tmp'


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        # Any other error, such as EACCES, does not mean that nothing is there. Connecting will say what is wrong.
        if not _ours(error):
            raise
        return error.errno not in (errno.ENOENT, errno.ENOTDIR)
    return True


def _checked_length(place: _Place) -> _Place:
    size = len(os.fsencode(place.path))
    if size <= _MAX_PATH_BYTES:
        return place
    raise NoncedError(
        'UNAVAILABLE',
        f'socket path {place.path} is {size} bytes long and the system takes {_MAX_PATH_BYTES}; '
        'set NONCED_SOCKET to a shorter one',
    )


def _check_owner(place: _Place) -> None:
    """Raises UNAVAILABLE if another user could pose as the daemon."""
    if place.own_directory is None:
        return
    try:
        stats = os.lstat(place.own_directory)
    except FileNotFoundError:
        return  # Connecting will fail anyway.
    if stat.S_ISDIR(stats.st_mode) and stats.st_uid == os.getuid() and not stats.st_mode & 0o022:
        return
    raise NoncedError(
        'UNAVAILABLE',
        f'{place.own_directory} is not a directory that only user {os.getuid()} can write to; remove it, or set '
        "NONCED_SOCKET to the daemon's socket",
    )


def _named(trouble: Optional[BaseException]) -> str:
    return errno.errorcode.get(getattr(trouble, 'errno', None) or 0) or str(trouble or 'no answer in time')


# What Kraken says, the worst first: of several errors in one answer, the worst is reported. No other exchange has words
# of this form. test/python-terms.test.ts compares them with those of the client for Node.
_KRAKEN_OUTCOMES = (
    (r'\bEGeneral:\s*Temporary lockout', 'locked-out'),
    (r'\bEAPI:\s*Invalid nonce', 'invalid-nonce'),
    # Not `EOrder:Rate limit exceeded`: that is the limiter of one pair, and the key's counter still has room.
    (
        r'\bE(API|Auth):\s*Rate limit exceeded|\bE(General|Auth):\s*Too many requests|\bEService:\s*Throttled',
        'rate-limited',
    ),
    (r'\bEService:\s*(Unavailable|Busy)', 'unavailable'),
    (r'\bEService:\s*(Deadline elapsed|Timeout)', 'unsettled'),
    # Refused before the nonce was checked, or broken inside: this says nothing about the nonces or the exchange.
    (r'\bEAPI:\s*Invalid (key|signature)|\bEAuth:|\bE(General|Database):\s*Internal error', 'unknown'),
)
# Words for a low nonce that mean nothing else, whatever exchange says them.
_LOW_NONCE = (
    r'\binvalid nonce\b|\bnonce:? (is )?(too )?(small|low)\b|\bnonce must be (higher|greater|bigger|incremented|increasing)'
    r'|\bnonce (is )?not (bigger|greater|higher|incremented)|out-of-sequence nonce|\bInvalidNonce\b'
)


def outcome_of_kraken(texts: Sequence[str]) -> Optional[str]:
    """Returns the outcome of a call that Kraken answered with these errors. None: they are not about the nonce, the rate
    or the service."""
    for pattern, outcome in _KRAKEN_OUTCOMES:
        if any(re.search(pattern, text) for text in texts):
            return outcome
    return None


def _outcome_of(error: Optional[BaseException]) -> str:
    """Returns the outcome of a block that says none: what raised it counts if its words are unmistakably an exchange's."""
    if error is None:
        return 'ok'
    if isinstance(error, NoncedError):
        return 'unknown'  # Its messages speak of nonces too.
    texts = []
    one: Optional[BaseException] = error
    while one is not None and len(texts) < 4:
        texts.append(f'{type(one).__name__} {one}'[:4096])
        one = one.__cause__  # Not the context, which may be an error that was handled before the block.
    told = outcome_of_kraken(texts)
    if told is not None:
        return told
    if any(re.search(r'\bE(General|Order|Query|Funding|Trade|Service):\s*[A-Z]', text) for text in texts):
        return 'ok'  # Another refusal of Kraken's: it took the nonce.
    return 'invalid-nonce' if any(re.search(_LOW_NONCE, text, re.IGNORECASE) for text in texts) else 'unknown'


def _unavailable(path: str, trouble: Optional[BaseException]) -> NoncedError:
    if isinstance(trouble, NoncedError) and trouble.code == 'UNAVAILABLE':
        return trouble
    name = _named(trouble)
    if name in ('EACCES', 'EPERM'):
        message = (
            f'may not connect to {path} ({name}); it is for another user or group, see ls -l; as a service: join the '
            'group nonced, then restart the bot'
        )
    else:
        hint = (
            'find out why with `sudo nonced doctor`, and start it with `sudo systemctl start nonced`'
            if path.startswith('/run/nonced/')
            else 'start it with `nonced serve`, or say where it is: NONCED_SOCKET'
        )
        message = f'no daemon answers at {path} ({name}); {hint}'
    return NoncedError('UNAVAILABLE', message)


# --- Interrupts. A signal handler may raise between any two instructions of the main thread, and more than once. Ctrl-C
# is one case. Wherever the exception arrives, it must not leave a lane closed:
#
# 1. Each use of a connection is on the keeper's list before anything is requested. It leaves the list when nothing is
#    held.
# 2. The keeper is a separate thread. Python runs signal handlers only in the main thread, so none interrupts it.
# 3. The keeper does not rely on any cleanup code. It checks whether the object that the lease is held for still exists.
#    For a block, only the `with` statement holds that object (see `_Statement`).
# 4. If an exception passes through code that uses a connection, the connection is closed and never used again. The
#    daemon then ends what it granted there. The interrupted code closes it at once; if that is interrupted too, the
#    keeper closes it.
# 5. There are no finalizers and no weak reference callbacks: Python prints what is raised in one, and drops it.


class _Exit:
    """The `__exit__` of a `_Statement`. Gives each `with` statement an object that nothing else holds."""

    def __get__(self, statement: Optional['_Statement'], kind: type) -> Callable[..., None]:
        if statement is None:
            # contextlib.ExitStack, for example, fetches it from the class and passes the instance itself.
            return kind._leave  # type: ignore[attr-defined, no-any-return]
        # Not a bound method: CPython drops those before the call is over.
        leave = functools.partial(type(statement)._leave, statement)
        statement._left = weakref.ref(leave)
        return leave


class _Statement:
    """A context manager. Another thread can see when its `with` statement is left, even if `__exit__` is interrupted.

    A `with` statement fetches `__exit__` before it calls `__enter__`. It drops it when it is left, even if `__exit__`
    is interrupted on its first instruction. `self` would not show that: a stored traceback keeps it alive.
    """

    _left: 'Optional[weakref.ref[Any]]' = None

    @property
    def holder(self) -> 'weakref.ref[Any]':
        """Is dead once the `with` statement has been left. Without a `with` statement: once this object is gone."""
        left = self._left
        return left if left is not None and left() is not None else weakref.ref(self)

    def __enter__(self) -> Any:
        return self

    def _leave(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        pass

    __exit__ = _Exit()


# The modules that raise what this client catches.
_LIBRARIES = ('eventlet', 'gevent', 'json', 'socket', 'threading')


def _ours(error: BaseException) -> bool:
    """False if a signal handler raised it during our call: an alarm may raise TimeoutError, which is an OSError."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_globals.get('__name__', '') if trace is not None else __name__
    return name == __name__ or name.partition('.')[0] in _LIBRARIES


# --- Processes. A forked child has copies of everything and owns nothing.


class _Process:
    def __init__(self) -> None:
        self.pid = os.getpid()


_process = _Process()
_clients: Dict[int, 'weakref.ref[Client]'] = {}
_client_numbers = itertools.count()


def _here() -> _Process:
    # A fork by C code runs no hooks.
    if _process.pid != os.getpid():
        _forked()
    return _process


def _forked() -> None:
    global _process
    process = _Process()
    for client in _living(_clients):
        client._forked(process)
    # Last: if this is interrupted before, the next call of `_here` does it again.
    _process = process


def _living(references: 'Dict[int, weakref.ref[T]]') -> List[T]:
    """Returns the objects that still exist, and removes the references to those that do not."""
    living = []
    for number, reference in list(references.items()):
        found = reference()
        if found is None:
            references.pop(number, None)
        else:
            living.append(found)
    return living


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forked)
    # If the first hook is interrupted, Python prints that and runs the second one.
    os.register_at_fork(after_in_child=_here)


@atexit.register
def _at_exit() -> None:
    for client in _living(_clients):
        client._close_idle()


# --- Incoming messages. The daemon may be newer: unknown fields are ignored. A known field of the wrong form breaks the
# connection.


class _Broken(Exception):
    """A message of the daemon makes no sense."""


def _integer(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r'[0-9]{1,20}', value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise _Broken


def _duration(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float('inf'):
        return value
    raise _Broken


def _fields(value: Any) -> Dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise _Broken


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _Broken


def _short_int(digits: str) -> int:
    # Python needs seconds for a million digits, or refuses them.
    if len(digits) > 20:
        raise ValueError('an integer is too long')
    return int(digits)


def _message(line: bytes) -> Dict[str, Any]:
    try:
        return _fields(json.loads(line.decode('utf-8'), parse_int=_short_int))
    except (ValueError, RecursionError) as error:
        if not _ours(error):
            raise
        raise _Broken from None


def _refusal(error: Any) -> NoncedError:
    """Returns the error that the daemon sent. An unknown code becomes BAD_REQUEST, which nothing retries."""
    outside = error if isinstance(error, dict) else {}
    data = outside.get('data')
    inside = data if isinstance(data, dict) else {}
    code = inside.get('code')
    message = next(
        (text for text in (inside.get('message'), outside.get('message')) if isinstance(text, str)),
        'the daemon gave no reason',
    )
    if code not in ERROR_CODES:
        message = f'{code}: {message}' if isinstance(code, str) else message
        code = 'BAD_REQUEST'
    try:
        retry_after_ms: Optional[float] = _duration(inside.get('retryAfterMs'))
    except _Broken:
        retry_after_ms = None
    return NoncedError(code, message, False, retry_after_ms)


class _Drawn(NamedTuple):
    nonce: int
    count: int


def _read_drawn(result: Any) -> _Drawn:
    fields = _fields(result)
    return _Drawn(_integer(fields.get('nonce')), int(_duration(fields.get('count'))))


class _Held(NamedTuple):
    token: int
    account: str
    id: Any
    ttl_s: float


def _read_held(held: Any) -> _Held:
    fields = _fields(held)
    return _Held(
        _integer(fields.get('token')),
        _text(fields.get('account')),
        fields.get('id'),
        _duration(fields.get('ttlMs')) / 1000,
    )


def _read_policy(result: Any) -> str:
    return _text(_fields(result).get('exclusive'))


def _read_status(result: Any) -> Dict[str, Any]:
    fields = _fields(result)
    sequences = fields.get('sequences')
    if not isinstance(sequences, list):
        raise _Broken
    _text(fields.get('exclusive'))
    read = []
    for sequence in sequences:
        each = _fields(sequence)
        read.append({**each, 'last': _integer(each.get('last')), 'ceiling': _integer(each.get('ceiling'))})
    return {**fields, 'sequences': read}


# --- Leases


class _Lease:
    """A lease as its holder sees it. It ends a little earlier than for the daemon."""

    def __init__(self, connection: '_Connection', token: int, account: str, ttl_s: float, ends_at: float) -> None:
        self.connection = connection
        self.use = connection.use
        self.process = connection.process
        self.token = token
        self.account = account
        self.ttl_s = ttl_s
        # On the monotonic clock, and never later than the daemon's deadline.
        self.ends_at = ends_at
        self.state = 'held'  # then 'lost' or 'released'
        self.renew_until: Optional[float] = None
        self.renew_at = float('inf')
        # How many renewals were sent and did not take effect here. The daemon may keep the lease for longer then.
        self.pending_renewals = 0
        self._margin_s = _margin_s(ttl_s)
        self._why = ''
        self._over = False

    def time_left_s(self) -> float:
        """Returns how long a call may still begin under it."""
        return self.ends_at - self._margin_s - _now()

    def ended(self) -> Optional[NoncedError]:
        """Returns why the lease cannot be used any more, or None."""
        if self.process is not _here():
            return _lease_lost('the lease belongs to the process that this one was forked from; acquire another one')
        if self.state == 'released':
            return _lease_lost('the lease was released; release it after the last call under it')
        gone = self.connection.client._ended
        if self.state == 'held' and gone is not None:
            self.lose(gone.message)
        if self.state == 'lost':
            return _lease_lost(self._why)
        # Once a caller has been told that it is about to end, a late renewal does not take that back.
        self._over = self._over or self.time_left_s() <= 0
        if self._over:
            return _lease_lost('the lease is about to end; ask for a longer ttl_ms, or renew it')
        return None

    def must_last(self) -> None:
        error = self.ended()
        if error is not None:
            raise error

    def lose(self, why: str) -> None:
        if self.state == 'held':
            self.state, self._why = 'lost', why

    def extend(self, ends_at: float, ttl_s: float) -> bool:
        """Moves the end. Returns False if that comes too late."""
        if self._over or self.state != 'held':
            return False
        self.ends_at = ends_at
        self._margin_s = _margin_s(ttl_s)
        self.plan_renewal()
        return True

    def plan_renewal(self) -> None:
        wanted = self.renew_until is not None and self.renew_until > self.ends_at
        # Half-way, so that there is time for a restart of the daemon.
        self.renew_at = self.ends_at - self.ttl_s / 2 if wanted else float('inf')


def _margin_s(ttl_s: float) -> float:
    return min(_LONGEST_MARGIN_S, ttl_s * _MARGIN_SHARE)


# --- The connection


class _Request:
    """A request that outlives its connection. It is sent again, with the same id, until it is answered."""

    def __init__(
        self,
        id: int,
        method: str,
        params: Callable[[float], Dict[str, Any]],
        read: Callable[[Any, '_Request'], Any],
        lease: Optional[_Lease] = None,
    ) -> None:
        self.id = id
        self.method = method
        self.params = params
        self.read = read
        self.lease = lease
        # When it was sent on this connection, or None.
        self.sent_at: Optional[float] = None
        self.done = False
        self.result: Any = None
        self.error: Optional[NoncedError] = None

    def answer(self, result: Any) -> None:
        self.result, self.done = result, True

    def refuse(self, error: NoncedError) -> None:
        if self.lease is not None and error.code == 'LEASE_LOST':
            # The daemon decides. A call under the lease may be under way.
            self.lease.lose(error.message)
            error = _lease_lost(error.message)
        self.error, self.done = error, True


class _Granted(NamedTuple):
    lease: _Lease
    # None if the answer with the nonce got lost.
    nonce: Optional[int]
    waited_ms: float


class _Use:
    """One use of a connection, from before anything is requested until nothing is held.

    Only one thread can take it off the keeper's list. That thread decides what happens to the connection.
    """

    def __init__(self, connection: '_Connection', holder: 'weakref.ref[Any]') -> None:
        self.connection = connection
        # What the lease is held for. Once that is gone, no code can use the lease or release it.
        self.holder = holder
        # How long a call may still be under way then.
        self.grace_s = 0.0
        # How many times in a row the keeper has found the connection in use.
        self.busy_ticks = 0
        self.in_trouble = False
        self._gone_at: Optional[float] = None

    def deserted(self) -> bool:
        if self.holder() is not None:
            self._gone_at = None
            return False
        now = _now()
        if self._gone_at is None:
            self._gone_at = now
        return now - self._gone_at >= self.grace_s


class _Connection:
    """A connection to the daemon for one lease at a time. It is made again when it breaks and is still needed.

    One lease only, so that closing it is always safe: if something goes wrong during a wait, the daemon then forgets
    the wait, and ends the lease if it had just granted one.
    """

    def __init__(self, client: 'Client', process: _Process) -> None:
        self.client = client
        self.number = next(client._numbers)
        self.process = process
        # Its owner and the keeper share it. Re-entrant, because a signal handler of the owner may use it too.
        self.lock = threading.RLock()
        self.state = _DOWN
        # Closed for good.
        self.spent = False
        self.kept_at = 0.0
        self.use: Optional[_Use] = None
        self.lease: Optional[_Lease] = None
        self.owed: Optional[_Request] = None
        self._owed_until = 0.0
        # One entry for each caller that has begun to use it and has not left it in order.
        self._inside: List[None] = []
        self._session = secrets.token_hex(16)
        self._ids = itertools.count(1)
        self._socket: Optional[socket.socket] = None
        self._buffer = bytearray()
        self._scanned = 0
        self._pending: Dict[int, _Request] = {}
        self._hello: Tuple[int, float] = (0, 0.0)
        # What the daemon has told of itself on this connection.
        self._version, self._minor = '', 0
        # The daemon is shutting down and takes no more requests.
        self._draining = False
        self._trouble: Optional[BaseException] = None
        self._refused: Optional[NoncedError] = None
        self._failures = 0
        self._eager_until = 0.0
        self._try_at = 0.0
        self._tried_at = 0.0
        # The last moment at which no daemon can have waited for the holder. None while connected.
        self._away_at: Optional[float] = None

    @property
    def idle(self) -> bool:
        """True if nothing is held, nothing is awaited, and each caller has left it in order."""
        if self.spent or self._inside or self.state != _UP:
            return False
        return self.lease is None and self.owed is None and not self._pending

    def request(
        self,
        method: str,
        params: Callable[[float], Dict[str, Any]],
        read: Callable[[Any, _Request], Any],
        lease: Optional[_Lease] = None,
    ) -> _Request:
        return _Request(next(self._ids), method, params, read, lease)

    def ask(self, request: _Request, give_up_at: float) -> Any:
        """Returns the answer, over as many connections as it takes.

        Raises the daemon's refusal, LEASE_LOST, UNAVAILABLE or WAIT_TIMEOUT.
        """

        def wait() -> None:
            try:
                self._pending[request.id] = request
                self._wait_for(request, give_up_at)
            except NoncedError:
                # A late answer could be a grant that no caller takes, so the connection is closed. Under a lease it is
                # at most a nonce.
                late = request.sent_at is not None and not request.done
                if late and request.lease is None and request is not self.owed:
                    self._break(None)
                raise
            finally:
                if request is not self.owed or request.done:
                    self._pending.pop(request.id, None)

        def locked() -> None:
            raise _waited_too_long()

        self._guarded(max(0.0, give_up_at - _now()), wait, locked)
        if request.error is not None:
            raise request.error
        return request.result

    def _guarded(self, wait_s: float, work: Callable[[], T], locked: Callable[[], T]) -> T:
        """Calls `work` with the lock held, or `locked` if the lock is not free in time.

        An interrupt closes the connection: half a message may have been sent, or the lock may just have been taken.
        """
        self._inside.append(None)
        try:
            if self.lock.acquire(timeout=wait_s):
                try:
                    result = work()
                finally:
                    self.lock.release()
            else:
                result = locked()
        except NoncedError:
            self._inside.pop()
            raise
        except BaseException:
            self.abandon(_INTERRUPTED)
            raise
        # An interrupt never gets here. The connection then counts as in use for good, and is not used again.
        self._inside.pop()
        return result

    def _wait_for(self, request: _Request, give_up_at: float) -> None:
        outage_at: Optional[float] = None
        while not request.done:
            now = _now()
            if self.client._ended is not None:
                raise self.client._ended
            if self.spent:
                raise _lease_lost(_INTERRUPTED)
            if request.lease is not None and request is not self.owed:
                request.lease.must_last()
            if self.state == _UP:
                outage_at = None
                if now >= give_up_at:
                    raise _waited_too_long()
                if not self._send_unsent():
                    self._receive(give_up_at - now)
                continue
            if outage_at is None:
                outage_at = now
            limit = min(give_up_at, outage_at + self.client._connect_timeout_s)
            if now >= limit:
                # The missing connection is the cause, however long the caller would have waited.
                raise _unavailable(self.client.socket, self._trouble)
            if self.state == _GREETING:
                self._receive(limit - now)
            elif now < self._try_at:
                time.sleep(min(self._try_at, limit) - now)
            else:
                self._connect()
            if self._refused is not None:
                raise self._refused

    # What the keeper does while the owner makes its call

    def tend(self, use: _Use) -> bool:
        """Reads what came in, reconnects to a restarted daemon, renews, and ends a lease whose holder is gone.

        Returns False if there is nothing left to do.
        """
        if self.spent or self.client._ended is not None or self.owed is None and use.deserted():
            return self._end(use)
        # Another thread uses it, or was interrupted while using it. After an interrupt it is unknown what was sent, and
        # the lock may never be released.
        use.busy_ticks = use.busy_ticks + 1 if self._inside else 0
        if self.owed is not None and use.busy_ticks > _BUSY_TICKS:
            return self._end(use)
        if not self.lock.acquire(blocking=False):
            return True
        try:
            self._look()
            now = _now()
            lease = self.lease
            if self.owed is not None:
                if self.owed.done or now >= self._owed_until:
                    return self._end(use)
            elif lease is None:
                return True
            elif lease.state != 'held' or now >= lease.ends_at:
                if lease.state == 'held' and lease.pending_renewals > 0:
                    # A stalled daemon may read them late, and the lane would stay closed for nobody.
                    lease.lose('the lease ended before its renewal was answered; a call that was sent may have arrived')
                    self._notify('release', {'token': str(lease.token), 'outcome': 'unknown'})
                return False
            if self.state == _DOWN and now >= self._try_at:
                self._connect()
            if self.state == _UP:
                if lease is not None and lease.state == 'held' and now >= lease.renew_at:
                    self._renew_by_itself(lease, now)
                self._send_unsent()
            return True
        except NoncedError as error:
            self._trouble = error
            return True
        finally:
            self.lock.release()

    def _end(self, use: _Use) -> bool:
        if self.client._keeper.unwatch(use):
            self.abandon(_LEFT)
        return False

    def look(self) -> None:
        """Reads what came in. Does not wait."""
        self._guarded(0.0, self._look, lambda: None)

    def _look(self) -> None:
        # Bounded, so that a flood of messages cannot hold the caller up.
        for _ in range(64):
            if self.state == _DOWN or not self._receive(0.0):
                return

    def _renew_by_itself(self, lease: _Lease, now: float) -> None:
        lease.renew_at = float('inf')
        left_s = (lease.renew_until or now) - now
        if left_s <= 0:
            return
        request = self.renewal(lease, max(1, round(min(lease.ttl_s, left_s) * 1000)))
        self._pending[request.id] = request

    # Requests

    def renewal(self, lease: _Lease, ttl_ms: Optional[float]) -> _Request:
        sent = False

        def params(now: float) -> Dict[str, Any]:
            nonlocal sent
            lease.pending_renewals += not sent
            sent = True
            if ttl_ms is not None and ttl_ms > 0:
                # If it shortens the lease, that may happen before the answer arrives.
                lease.ends_at = min(lease.ends_at, now + ttl_ms / 1000)
            return _given(token=str(lease.token), ttlMs=ttl_ms)

        def read(result: Any, request: _Request) -> float:
            renewed_s = _duration(_fields(result).get('ttlMs')) / 1000
            # Counted from when it was sent: the daemon cannot have processed it earlier.
            if lease.extend((request.sent_at or 0.0) + renewed_s, renewed_s):
                lease.pending_renewals -= 1
            return renewed_s * 1000

        return self.request('renew', params, read, lease)

    def draw(
        self,
        lease: _Lease,
        account: Optional[str] = None,
        cost: Optional[float] = None,
        count: Optional[int] = None,
        key: Optional[str] = None,
        unit: Optional[str] = None,
        give_up_at: float = float('inf'),
    ) -> int:
        """Draws a further nonce under the lease. Waits while the account is paced, if the lease lasts that long."""
        params = _given(
            token=str(lease.token),
            account=None if account == lease.account else account,
            key=key,
            unit=unit,
            cost=cost,
            count=count,
        )
        while True:
            lease.must_last()
            request = self.request('next', lambda _now: params, lambda result, _request: _read_drawn(result), lease)
            try:
                drawn = self.ask(request, min(give_up_at, _now() + lease.time_left_s()))
            except NoncedError as error:
                wait_s = (error.retry_after_ms or 0.0) / 1000
                left_s = min(lease.time_left_s(), give_up_at - _now())
                if error.code != 'PACED' or error.retry_after_ms is None or wait_s >= left_s:
                    raise
                time.sleep(wait_s)
                continue
            lease.must_last()
            return drawn.nonce

    def acquire(self, options: Dict[str, Any]) -> _Granted:
        """Returns a lease with time left and a nonce under it. If it raises, nothing stays held."""
        age = _Age()
        started_at = _now()
        max_age_s = None if options['max_age_ms'] is None else options['max_age_ms'] / 1000
        wait_until = started_at + _patience_s(options)
        # A grant after max_age_ms would be given back, so there is no point in waiting for it.
        give_up_at = wait_until + _ANSWER_GRACE_S
        if max_age_s is not None:
            give_up_at = min(give_up_at, started_at + max_age_s)
        account = _account_of(options)
        # This thread cannot leave these blocks while it waits here.
        within = [str(lease.token) for lease in _entered_here()][:_MAX_WITHIN]
        asked = 0

        def params(now: float) -> Dict[str, Any]:
            nonlocal asked
            asked += 1
            return _given(
                account=options['account'],
                key=options['key'],
                unit=options['unit'],
                priority=options['priority'],
                cost=options['cost'],
                ttlMs=options['ttl_ms'],
                # What is left of the wait, so that a reconnection does not start it again.
                waitMs=max(0, round((wait_until - now) * 1000)),
                label=options['label'],
                count=options['count'],
                within=within or None,
            )

        def read(result: Any, request: _Request) -> _Granted:
            drawn = _read_drawn(result)
            fields = _fields(result)
            token = _integer(fields.get('token'))
            ttl_s = _duration(fields.get('ttlMs')) / 1000
            waited_ms = _duration(fields.get('waitedMs'))
            now = _now()
            # The lease began when the wait was over, counted from when the request was sent. That is never later than
            # for the daemon, however late this process reads the answer.
            begun_at = min((request.sent_at or now) + waited_ms / 1000, now)
            # Made here and not by the waiting caller: the next message that is read may end the lease.
            self.lease = _Lease(self, token, account, ttl_s, begun_at + ttl_s)
            waited_ms = waited_ms if asked == 1 else (now - started_at) * 1000
            return _Granted(self.lease, drawn.nonce, waited_ms)

        while True:
            lease, nonce, waited_ms = self.ask(self.request('acquire', params, read), give_up_at)
            if nonce is None and lease.time_left_s() > 0:
                # The answer with the nonce got lost. The cost is 0 because the grant has been charged already.
                try:
                    nonce = self.draw(
                        lease, cost=0, count=options['count'], key=options['key'], unit=options['unit']
                    )
                except NoncedError as error:
                    # A daemon that would not compare them is asked for another grant: it compares those of an `acquire`.
                    if error.code not in ('LEASE_LOST', 'UNSUPPORTED'):
                        self.release(lease, 'unused', False)
                        raise
                waited_ms = (_now() - started_at) * 1000
            now = _now()
            too_old = age.is_over(options['max_age_ms'])
            if nonce is not None and not too_old and lease.ended() is None:
                return _Granted(lease, nonce, waited_ms)
            self.release(lease, 'unused', False)
            if too_old:
                raise _waited_too_long()
            if now >= wait_until:
                raise NoncedError(
                    'LEASE_LOST',
                    'the lease had ended before its grant was read; ask again, and find out what stalls this process',
                )

    def report(self, lease: _Lease, nonce: int, outcome: str) -> None:
        """Tells how one call under a lease ended, which goes on. Raises no NoncedError."""

        def tell() -> None:
            if self.lease is lease and lease.state == 'held' and self.state == _UP:
                self._notify('report', {'token': str(lease.token), 'nonce': str(nonce), 'outcome': outcome})

        self._guarded(_RELEASE_WAIT_S, tell, lambda: None)

    def release(self, lease: _Lease, outcome: str, used_own_clock: bool) -> bool:
        """Ends the lease. Returns True if this call ended it. Raises no NoncedError."""

        def end() -> bool:
            # Checked with the lock held: another thread may have released the lease, and the connection may now be used
            # for another one.
            if self.lease is not lease:
                return False
            if lease.state != 'held':
                self.lease = None
                return False
            request = self._owe(lease, outcome, used_own_clock)
            lease.state = 'released'
            try:
                return bool(self.ask(request, _now() + _RELEASE_WAIT_S))
            except NoncedError:
                return False
            finally:
                # Otherwise the daemon is away, and the keeper delivers the release.
                if request.done:
                    self.owed = self.lease = None

        def locked() -> bool:
            if self.lease is lease:
                self.abandon('the lease was released while another thread was using it')
            return False

        return self._guarded(_RELEASE_WAIT_S, end, locked)

    def _owe(self, lease: _Lease, outcome: str, used_own_clock: bool) -> _Request:
        params = _given(token=str(lease.token), outcome=outcome, usedOwnClock=used_own_clock or None)

        def read(result: Any, _request: _Request) -> bool:
            released = _fields(result).get('released')
            if not isinstance(released, bool):
                raise _Broken
            return released

        request = self.request('release', lambda _now: params, read, lease)
        # In this order, so that what is owed is always sent, even after an interrupt in between.
        self._pending[request.id] = request
        self._owed_until = lease.ends_at
        self.owed = request
        return request

    # The socket

    def close(self) -> None:
        """Closes the socket in this process only, so a forked child may call it too."""
        sock, self._socket = self._socket, None
        self.state = _DOWN
        if sock is not None:
            sock.close()

    def abandon(self, why: str) -> None:
        """Closes the connection for good, and wakes threads that wait on it. The daemon ends what it granted here.

        Takes no lock, so that nothing can block it.
        """
        # First: if the rest is interrupted, the keeper does it.
        self.spent = True
        lease, sock = self.lease, self._socket
        if lease is not None:
            lease.lose(why)
        # Not in a forked child: a shutdown would end its parent's connection.
        if sock is not None and self.process is _here():
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                if not _ours(error):
                    raise
        self.close()
        self.client._all.pop(self.number, None)

    def _connect(self) -> None:
        client = self.client
        if self.spent:
            return
        self._tried_at = _now()
        try:
            place = client._place_to_use()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            # Kept at once, so that it is closed if connecting is interrupted.
            self._socket = sock
            sock.settimeout(_SEND_WAIT_S)
            sock.connect(place.path)
            self._buffer.clear()
            self._scanned = 0
            self._draining = False
            self._hello = (next(self._ids), _now())
            hello = _given(name=client._name, pid=self.process.pid, session=self._session)
            self.state = _GREETING
            sock.sendall(_line(id=self._hello[0], method='hello', params=hello), _SEND_FLAGS)
        except NoncedError as error:
            self._break(error)
            # Raised at once on the first connection. Later the daemon may just be restarting.
            if client._instance is None:
                raise
        except OSError as error:
            if not _ours(error):
                raise
            self._break(error)
            if client._instance is None and error.errno in (errno.EACCES, errno.EPERM):
                raise _unavailable(client.socket, error) from error

    def _break(self, trouble: Optional[BaseException]) -> None:
        if self.state == _UP:
            self._tried_at = _now()
        self.close()
        if trouble is not None:
            self._trouble = trouble
        if self._no_way_back(trouble) and self.lease is not None:
            self.lease.lose(
                f'this process could not come back to the daemon ({_named(trouble)}), which keeps a lane closed for no '
                'longer than 2 s; a call that was sent may have arrived'
            )
        for request in self._pending.values():
            request.sent_at = None
        now = _now()
        if self._failures == 0:
            self._eager_until = now + 1.0
        self._failures += 1
        # A killed daemon is back within a fraction of a second. Doubled rests would sleep past that.
        longest_s = 0.01 if now < self._eager_until else _LONGEST_REST_S
        step_s = min(0.005 * 2 ** min(self._failures - 1, 10), longest_s)
        # Half of it random: bots that lost the daemon at the same moment must not all come back at the same moment.
        self._try_at = now + step_s * (0.5 + random.random() / 2)

    def _no_way_back(self, trouble: Optional[BaseException]) -> bool:
        """Returns whether the holder can no longer count on its lease.

        A daemon that is away ends no lease. But if a connection fails for any other reason, such as no free descriptor, a
        daemon may be up, and it gives the lane to another caller when its return time is over.
        """
        if self._away_at is None or getattr(trouble, 'errno', None) in (errno.ECONNREFUSED, errno.ENOENT):
            self._away_at = self._tried_at
            return False
        # Not later than the daemon: the next attempt may be that long away.
        return _now() + _LONGEST_REST_S >= self._away_at + _RETURN_S

    def _send_unsent(self) -> bool:
        """Sends what has not been sent on this connection. Returns False if there was nothing to send."""
        sent = False
        for request in list(self._pending.values()):
            sock = self._socket
            if request.sent_at is not None or self._draining or sock is None:
                continue
            now = _now()
            try:
                params = _fitted(self._version, self._minor, request.method, request.params(now))
                line = _line(id=request.id, method=request.method, params=params)
            except NoncedError as error:
                self._pending.pop(request.id)
                request.refuse(error)
                return True
            except (ValueError, TypeError) as error:
                if not _ours(error):
                    raise
                self._pending.pop(request.id)
                request.refuse(_bad_request(f'{request.method} was given a value that cannot be sent'))
                return True
            if len(line) > _MAX_MESSAGE_BYTES:
                # The daemon would close the connection because of it, each time it is sent.
                self._pending.pop(request.id)
                request.refuse(
                    NoncedError('TOO_LARGE', f'a request is over {_MAX_MESSAGE_BYTES} bytes; shorten its label')
                )
                return True
            request.sent_at = now
            sent = True
            try:
                sock.settimeout(_SEND_WAIT_S)
                sock.sendall(line, _SEND_FLAGS)
            except OSError as error:
                if not _ours(error):
                    raise
                self._break(error)
        return sent

    def _receive(self, wait_s: float) -> bool:
        """Reads what is there or arrives within `wait_s`. Returns False if nothing did."""
        sock = self._socket
        if sock is None:
            return False
        try:
            sock.settimeout(max(0.0, wait_s))
            chunk = sock.recv(_CHUNK_BYTES)
        except (BlockingIOError, socket.timeout) as error:
            if not _ours(error):
                raise
            return False
        except OSError as error:
            if not _ours(error):
                raise
            self._break(error)
            return True
        if not chunk:
            self._break(ConnectionError('it closed the connection'))
            return True
        self._buffer += chunk
        # Checked each time: a message may have broken the connection.
        while self._socket is sock:
            end = self._buffer.find(b'\n', self._scanned)
            if end < 0:
                self._scanned = len(self._buffer)
                if self._scanned > _MAX_ANSWER_BYTES:
                    self._break(ConnectionError('it sent a line that does not end'))
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._scanned = 0
            if not line.strip():
                continue
            try:
                self._dispatch(_message(line))
            except _Broken:
                self._break(ConnectionError('its answer makes no sense'))
        return True

    def _dispatch(self, message: Dict[str, Any]) -> None:
        if 'method' in message:
            if 'id' in message:
                raise _Broken
            if message['method'] == 'revoked' and self.state == _UP:
                token = _integer(_fields(message.get('params')).get('token'))
                if self.lease is not None and self.lease.token == token:
                    self.lease.lose('the daemon has ended the lease; a call that was sent may have arrived')
            return  # A newer daemon may send others.
        if 'result' not in message and 'error' not in message:
            raise _Broken
        id = message.get('id')
        if self.state == _GREETING:
            if id == self._hello[0]:
                self._greeted(message)
            return
        request = self._pending.get(id) if type(id) is int else None
        if request is None or request.sent_at is None:
            return  # Given up, or never sent.
        if 'error' in message:
            error = _refusal(message['error'])
            if error.code == 'SHUTTING_DOWN':
                # Sent again to the next daemon. This side does not close the connection: its lease would end with it.
                request.sent_at = None
                self._draining = True
                return
            request.refuse(error)
        else:
            request.answer(request.read(message['result'], request))
        # Only now: after an answer that makes no sense, the request is sent again.
        self._pending.pop(request.id, None)
        self._failures = 0

    def _greeted(self, message: Dict[str, Any]) -> None:
        if 'error' in message:
            error = _refusal(message['error'])
            # A name that is too long, for example. Trying again would not help.
            self._refused = error if error.code == 'BAD_REQUEST' else None
            self._break(error)
            return
        fields = _fields(message['result'])
        instance, policy = _text(fields.get('instance')), _text(fields.get('exclusive'))
        # The first release told no minor version.
        version, minor = _text(fields.get('version')), int(_duration(fields.get('minor', 0)))
        held = fields.get('held')
        if not isinstance(held, list):
            raise _Broken
        leases = [_read_held(each) for each in held]
        self._version, self._minor = version, minor
        other = self.client._meet(instance, policy)
        if other is not None:
            # Its operator learns of this client in no other way.
            self._notify('refuse', {'expected': self.client._instance})
            self._break(other)
            return
        self.state = _UP
        self._trouble = None
        self._away_at = None
        self._reconcile(leases, self._hello[1])

    def _reconcile(self, held: List[_Held], as_of: float) -> None:
        """Takes over what the daemon says this session holds."""
        lease = self.lease
        found = False
        for each in held:
            ends_at = as_of + each.ttl_s
            if lease is not None and lease.token == each.token:
                found = True
                lease.extend(ends_at, lease.ttl_s)
                continue
            waiting = self._pending.get(each.id) if type(each.id) is int else None
            if waiting is not None and waiting.method == 'acquire' and lease is None:
                # Granted to a request that still waits: the answer got lost.
                lease = self.lease = _Lease(self, each.token, each.account, each.ttl_s, ends_at)
                found = True
                waiting.answer(_Granted(lease, None, 0.0))
                self._pending.pop(waiting.id, None)
                continue
            # Not `unused`: its call may have been made before its release was given up.
            self._notify('release', {'token': str(each.token), 'outcome': 'unknown'})
        if lease is not None and not found:
            lease.lose('the lease ended while the daemon was out of reach; a call that was sent may have arrived')

    def _notify(self, method: str, params: Dict[str, Any]) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            sock.settimeout(_SEND_WAIT_S)
            fitting = _fitted(self._version, self._minor, method, params)
            sock.sendall(_line(method=method, params=fitting), _SEND_FLAGS)
        except NoncedError:
            pass  # The daemon has no use for it.
        except OSError as error:
            if not _ours(error):
                raise
            self._break(error)


def _line(**message: Any) -> bytes:
    text = json.dumps({'jsonrpc': '2.0', **message}, separators=(',', ':'), allow_nan=False)
    return text.encode('ascii') + b'\n'


def _fitted(version: str, minor: int, method: str, params: Dict[str, Any]) -> Dict[str, Any]:
    """Returns the parameters without what this daemon does not know. Raises UNSUPPORTED for what cannot be left out."""
    if minor >= _MINOR:
        return params
    fitting = dict(params)
    for of, field, since, purpose in _ADDITIONS:
        if of != method or since <= minor or field is not None and field not in fitting:
            continue
        if field is None or purpose == 'protects':
            what = f'`{method}`' if field is None else f'`{field}` of `{method}`'
            raise NoncedError(
                'UNSUPPORTED',
                f'the daemon is {version} (protocol {_PROTOCOL}.{minor}) and does not know {what}; upgrade it first: '
                'install this version of nonced on the host, then `sudo nonced systemd install`',
            )
        del fitting[field]
    return fitting


def _given(**fields: Any) -> Dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


class _Keeper:
    """A thread that tends connections while their owners make their calls. It ends when there are none."""

    def __init__(self) -> None:
        # Entries are added and removed in one step, which no signal and no fork can interrupt.
        self._uses: Dict[int, _Use] = {}
        self._numbers = itertools.count(1)
        # The newest thread. If several were started at the same time, the others end.
        self._number = 0
        # When the thread last ran. Only the thread itself writes it: a caller may be interrupted while starting it.
        self._seen_at = float('-inf')

    def watch(self, use: _Use) -> None:
        self._uses[id(use)] = use
        # Checked after the entry was made: a thread that is about to end sees the entry, or we see that it has ended.
        if _now() - self._seen_at < _KEEPER_STALLED_S:
            return
        try:
            threading.Thread(target=self._run, name='nonced-keeper', daemon=True).start()
        except RuntimeError as error:
            if not _ours(error):
                raise
            # The thread limit is reached. Leases go on, but those over two seconds old do not survive a restart.
            _log.warning('nonced cannot start the thread that watches its leases: %s', error)

    def unwatch(self, use: _Use) -> bool:
        """Takes it off the list. Returns False if another thread already did."""
        return self._uses.pop(id(use), None) is not None

    def abandon(self, holder: 'weakref.ref[Any]') -> None:
        """Closes the connections that are used for `holder`, which was interrupted."""
        for use in list(self._uses.values()):
            if use.holder is holder:
                use.connection.abandon(_INTERRUPTED)

    def hand_over(self, lease: _Lease, holder: 'weakref.ref[Any]') -> bool:
        """Makes `holder` the holder of the lease. Returns False if the old one is gone; the lease has then ended."""
        before = lease.use
        if before is None:
            return False
        after = lease.use = before.connection.use = _Use(before.connection, holder)
        self.watch(after)
        if before.holder() is not None and self.unwatch(before):
            return True
        before.connection.abandon(_INTERRUPTED)
        self.unwatch(after)
        return False

    def _run(self) -> None:
        if hasattr(signal, 'pthread_sigmask'):
            # Signals must reach the main thread, which may be waiting for one in a system call.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        number = self._number = next(self._numbers)
        idle = 0
        while number == self._number:
            self._seen_at = _now()
            time.sleep(self._tick_s())
            idle = 0 if self._tend() else idle + 1
            if idle >= _KEEPER_IDLE_TICKS:
                self._seen_at = float('-inf')
                # Checked again: a caller that came just before that line counts on this thread.
                if not self._tend():
                    return

    def _tend(self) -> bool:
        """Returns False if there was nothing to do."""
        busy = False
        for use in list(self._uses.values()):
            try:
                busy = use.connection.tend(use) or busy
            except Exception:  # Trouble with one connection must not leave the others unwatched.
                busy = True
                if use.deserted() and self.unwatch(use):
                    use.connection.abandon(_LEFT)
                elif not use.in_trouble:
                    use.in_trouble = True
                    _log.exception('nonced has trouble with a connection')
        return busy

    def _tick_s(self) -> float:
        renewed = [
            lease.ttl_s / 10
            for lease in (use.connection.lease for use in list(self._uses.values()))
            if lease is not None and lease.renew_until is not None
        ]
        return max(0.01, min([_KEEPER_TICK_S, *renewed]))


# --- Options


def _check(name: str, value: Any, kind: str) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    ok, expected = {
        'text': (isinstance(value, str), 'a string'),
        'number': (number, 'a number'),
        'integer': (number and isinstance(value, int), 'an integer'),
        'duration': (number and 0 <= value < float('inf'), 'milliseconds, 0 or more'),
        'flag': (isinstance(value, bool), 'True or False'),
        'unit': (isinstance(value, str) and value in UNITS, f'one of {", ".join(UNITS)}'),
        'priority': (isinstance(value, str) and value in PRIORITIES, f'one of {", ".join(PRIORITIES)}'),
        'outcome': (isinstance(value, str) and value in OUTCOMES, f'one of {", ".join(OUTCOMES)}'),
    }[kind]
    if not ok:
        raise _bad_request(f'{name} is {value!r:.80}; give {expected}')


_KINDS = {
    'account': 'text',
    'key': 'text',
    'unit': 'unit',
    'priority': 'priority',
    'cost': 'number',
    'ttl_ms': 'integer',
    'wait_ms': 'duration',
    'max_age_ms': 'duration',
    'max_hold_ms': 'duration',
    'label': 'text',
    'count': 'integer',
}


def _checked(**options: Any) -> Dict[str, Any]:
    for name, value in options.items():
        _check(name, value, _KINDS[name])
    return options


def _patience_s(options: Dict[str, Any]) -> float:
    """Returns how long a caller waits for its lease."""
    wait_ms = options['wait_ms']
    if wait_ms is None:
        wait_ms = _DEFAULT_WAIT_MS[options['priority'] or _DEFAULT_PRIORITY]
    max_age_ms = options['max_age_ms']
    return (wait_ms if max_age_ms is None else min(wait_ms, max_age_ms)) / 1000


def _account_of(options: Dict[str, Any]) -> str:
    """Returns the account of the request, by the daemon's rule if it names none."""
    if options['account'] is not None:
        return options['account']
    return _DEFAULT_ACCOUNT if options['key'] is None else f'key:{options["key"]}'


# --- The blocks around a block. A context variable, so that `asyncio.to_thread` and `run` carry them along.


class _Scope:
    def __init__(
        self, client: 'Client', lease: _Lease, holder: 'weakref.ref[Any]', parent: Optional['_Scope']
    ) -> None:
        self.client = client
        self.lease = lease
        self.holder = holder
        self.parent = parent
        self.ended = False
        # The holder of the nested block that runs. If it is gone, the next one may begin.
        self._inner: 'Optional[weakref.ref[Any]]' = None
        # What remains to be done when that one has ended, if this block has ended before it.
        self._rest: Optional[Callable[[], None]] = None
        # Held only for a moment. Re-entrant, because a signal handler may come in.
        self._lock = threading.RLock()

    def over(self) -> bool:
        """True if a nested block cannot share its lease: the block has ended, or has released its lease itself."""
        lease = self.lease
        return self.ended or self.holder() is None or lease.state == 'released' or lease.process is not _here()

    def enter(self, holder: 'weakref.ref[Any]', give_up_at: float) -> bool:
        """Waits until no other nested block runs. Returns False if that takes too long, or if this block ends before."""
        while True:
            with self._lock:
                if self.ended:
                    return False
                if self._inner is None or self._inner() is None:
                    self._inner = holder
                    return True
            left_s = give_up_at - _now()
            if left_s <= 0:
                return False
            time.sleep(min(_NESTED_TICK_S, left_s))

    def hand_over(self, before: 'weakref.ref[Any]', after: 'weakref.ref[Any]') -> bool:
        with self._lock:
            if self._inner is not before or before() is None:
                return False
            self._inner = after
            return True

    def leave(self, holder: 'weakref.ref[Any]') -> None:
        rest = None
        with self._lock:
            if self._inner is holder:
                self._inner = None
                rest, self._rest = self._rest, None
        if rest is not None:
            rest()

    def end(self, rest: Callable[[], None], hand_over: 'Callable[[weakref.ref[Any]], Any]') -> None:
        """Ends the block, and does the rest. If a nested block still runs, in another thread or task, that one does the
        rest at its end: the lane must not be given away under it."""
        with self._lock:
            self.ended = True
            inner = self._inner
            # Kept alive until it has been handed over.
            alive = inner() if inner is not None else None
            if inner is not None and alive is not None:
                self._rest = rest
                hand_over(inner)
                return
        rest()


_scope: 'contextvars.ContextVar[Optional[_Scope]]' = contextvars.ContextVar('nonced', default=None)


# The blocks that hold a lease of their own, each with the thread that entered it. Not the context: a task, a generator or a
# fixture may have another one, and still runs in a thread that waits.
_entered: 'Dict[int, Tuple[int, weakref.ref[_Scope]]]' = {}


def _entered_here() -> List[_Lease]:
    """Returns the leases of the blocks that this thread has entered and not left, with any client."""
    here, leases = threading.get_ident(), []
    for number, (thread, reference) in list(_entered.items()):
        scope = reference()
        if scope is None or scope.over():
            _entered.pop(number, None)
        elif thread == here:
            leases.append(scope.lease)
    return leases


def _enclosing(client: 'Client') -> Optional[_Scope]:
    """Returns the nearest block around this one that can share its lease, or None."""
    scope = _scope.get()
    while scope is not None and (scope.client is not client or scope.over()):
        scope = scope.parent
    return scope


class Grant(_Statement):
    """The exclusive right to make one call, and the nonce to make it with.

    Use it in the thread that got it. Set `outcome` to say how the call ended. Otherwise it is 'ok', or 'unknown' if an
    exception left the block whose words are not unmistakably an exchange's, such as Kraken's 'EAPI:Invalid nonce'.
    """

    def __init__(
        self, client: 'Client', lease: _Lease, nonce: int, count: int, account: str, waited_ms: float, shared: bool
    ) -> None:
        #: The first of `count` consecutive nonces, an exact int. Sign and send `str(grant.nonce)`.
        self.nonce = nonce
        self.count = count
        self.account = account
        #: How long the caller waited for the grant.
        self.waited_ms = waited_ms
        self._client = client
        self._lease = lease
        self._shared = shared
        self._outcome: Optional[str] = None
        # The first nonce of the latest call, or None if its outcome has been told.
        self._latest: Optional[int] = nonce

    def __repr__(self) -> str:
        return f'<nonced.Grant account={self.account!r} nonce={self.nonce} left={self.expires_in_ms():.0f}ms>'

    @property
    def token(self) -> int:
        """The lease's fencing token."""
        return self._lease.token

    @property
    def ttl_ms(self) -> float:
        """How long the lease was granted for, in milliseconds."""
        return self._lease.ttl_s * 1000

    @property
    def outcome(self) -> Optional[str]:
        return self._outcome

    @outcome.setter
    def outcome(self, outcome: Optional[str]) -> None:
        _check('outcome', outcome, 'outcome')
        self._outcome = outcome

    @property
    def lost(self) -> bool:
        """True if the lease is over or about to be."""
        if self._lease.state == 'held' and self._lease.process is _here():
            self._lease.connection.look()
        return self._lease.ended() is not None

    def check(self) -> None:
        """Raises LEASE_LOST if the lease is over or about to be, a tenth of its time (at most a second) ahead."""
        if self.lost:
            self._lease.must_last()

    def remaining_s(self) -> float:
        """Returns how many seconds a call may take, for an HTTP library's `timeout`. Raises LEASE_LOST if none."""
        self.check()
        return max(0.001, self._lease.time_left_s())

    def expires_in_ms(self) -> float:
        """Returns the milliseconds until the lease ends, by a clock that never steps. 0 once it is over."""
        held = self._lease.state == 'held'
        return max(0.0, (self._lease.ends_at - _now()) * 1000) if held else 0.0

    def next(
        self,
        *,
        account: Optional[str] = None,
        cost: Optional[float] = None,
        count: Optional[int] = None,
        outcome: Optional[str] = None,
    ) -> int:
        """Draws a further nonce under the same lease, for a retry. `outcome` says how the call before it ended.

        Waits while the account is paced, if the lease lasts that long. Raises PACED, NESTED_LANE, LEASE_LOST or
        UNAVAILABLE.
        """
        _checked(account=account, cost=cost, count=count)
        _check('outcome', outcome, 'outcome')
        self.check()
        if outcome is not None:
            self._report(outcome)
        own = self.account if self._shared else None
        nonce = self._lease.connection.draw(self._lease, account if account is not None else own, cost, count)
        self._latest = nonce
        return nonce

    def _report(self, outcome: str) -> None:
        """Tells how the latest call ended, once."""
        nonce, self._latest = self._latest, None
        if nonce is not None:
            self._lease.connection.report(self._lease, nonce, outcome)

    def renew(self, ttl_ms: Optional[int] = None) -> float:
        """Makes the lease last `ttl_ms` from now, or as long as before, and returns that time. Raises LEASE_LOST."""
        _checked(ttl_ms=ttl_ms)
        self.check()
        connection = self._lease.connection
        renewed_ms = connection.ask(connection.renewal(self._lease, ttl_ms), self._lease.ends_at)
        self.check()
        return renewed_ms

    def release(self, outcome: str = 'unknown', *, used_own_clock: bool = False) -> bool:
        """Ends the lease, and says how the call ended.

        Returns True if this call ended it. Returns False if it was over already, if it belongs to an outer block, or if
        the daemon is away and it is not known. Raises only BAD_REQUEST, and then the lease goes on.
        """
        _check('outcome', outcome, 'outcome')
        _check('used_own_clock', used_own_clock, 'flag')
        if self._lease.process is not _here():
            return False
        if self._shared:
            self._report(outcome)
            return False
        return self._client._release(self._lease, outcome, used_own_clock)

    def __enter__(self) -> 'Grant':
        use = self._lease.use
        if use is not None and not self._shared:
            use.holder = self.holder
            use.grace_s = 0.0
        return self

    def _leave(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        self.release(self._outcome or _outcome_of(error))


class _Hold:
    """A lease that an `exclusive` holds, its own or that of the block around it."""

    def __init__(
        self, client: 'Client', grant: Grant, holder: 'weakref.ref[Any]', outer: Optional[_Scope], shared: bool
    ) -> None:
        self.grant = grant
        self.lease = grant._lease
        self.own = not shared
        self.scope = _Scope(client, self.lease, holder, outer)
        self._outer = outer if shared else None
        self._before: Optional[contextvars.Token[Optional[_Scope]]] = None

    def hand_over(self, holder: 'weakref.ref[Any]') -> bool:
        """Makes `holder` the holder. Returns False if the old one is gone; the lease has then ended."""
        before, self.scope.holder = self.scope.holder, holder
        if self._outer is not None:
            return self._outer.hand_over(before, holder)
        return self.scope.client._keeper.hand_over(self.lease, holder)

    def begin(self) -> Grant:
        if self.own:
            _entered[id(self.scope)] = (threading.get_ident(), weakref.ref(self.scope))
        self._before = _scope.set(self.scope)
        return self.grant

    def end(self, error: Optional[BaseException]) -> None:
        _entered.pop(id(self.scope), None)
        if self._before is not None:
            try:
                _scope.reset(self._before)
            except ValueError as trouble:
                if not _ours(trouble):
                    raise
                # The block was left in another context than it was entered in. `ended` says enough.
            self._before = None
        outcome = self.grant.outcome or _outcome_of(error)
        scope, outer = self.scope, self._outer
        if outer is not None:
            self._end_within(outer, outcome)
            return
        if not self.own or self.lease.process is not _here():
            scope.ended = True
            return  # A forked child leaves the block too, but the lease belongs to its parent.
        lease = self.lease
        lease.ended()
        if error is None and (lease.state == 'lost' or lease.state == 'held' and self.grant.expires_in_ms() == 0):
            _log.warning('the lease of %s ended before its call did; give it a longer ttl_ms', lease.account)

        def release() -> None:
            self.grant.release(outcome)

        scope.end(release, lambda inner: scope.client._keeper.hand_over(lease, inner))

    def _end_within(self, outer: _Scope, outcome: str) -> None:
        scope = self.scope

        def leave() -> None:
            outer.leave(scope.holder)

        def hand_over(inner: 'weakref.ref[Any]') -> None:
            # The block inside this one stands for it from now on.
            outer.hand_over(scope.holder, inner)
            scope.holder = inner

        self.grant.release(outcome)
        scope.end(leave, hand_over)


class Exclusive(_Statement):
    """What `exclusive` returns. Enter it with `with`, or pass a function to `run`."""

    def __init__(self, client: 'Client', options: Dict[str, Any]) -> None:
        self._client = client
        self._options = options
        self._hold: Optional[_Hold] = None

    def __enter__(self) -> Grant:
        if self._hold is not None and self._hold.scope.holder() is not None:
            raise _bad_request('this exclusive is already entered; make another one')
        self._hold = None
        holder = self.holder
        try:
            self._hold = self._client._begin(self._options, holder)
            return self._hold.begin()
        except BaseException:
            self._interrupted(holder)
            raise

    def _leave(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        hold = self._hold
        if hold is None:
            return
        try:
            hold.end(error)
        except BaseException:
            self._interrupted(hold.scope.holder)
            raise
        self._hold = None
        if isinstance(error, NoncedError) and error.sent is False:
            raise _after_beginning(error) from error

    def _interrupted(self, holder: 'weakref.ref[Any]') -> None:
        """Ends at once what has begun. If this is interrupted too, the keeper ends it."""
        hold, self._hold = self._hold, None
        self._client._keeper.abandon(holder)
        if hold is not None:
            hold.scope.ended = True
            if hold._outer is not None:
                hold._outer.leave(holder)

    def run(self, work: Callable[[Grant], T]) -> T:
        """Calls `work(grant)` in a thread of its own and returns its result. Raises LEASE_LOST if the lease ends first.

        This is the only hard deadline in Python: the caller goes on, even if `work` hangs. What `work` has sent by then
        may have arrived. Its thread runs on until `work` ends.
        """
        if not callable(work):
            raise _bad_request(f'run was given {work!r:.80}; pass a function that takes a grant')
        done = threading.Event()
        ends: List[Tuple[Any, Optional[BaseException]]] = []

        def worker() -> None:
            result, error = None, None
            with _Statement() as mine:
                # From here on the lease is held for this thread. The caller may leave at any time; if it has left
                # already, the lease has ended and no call is made.
                if not hold.hand_over(mine.holder):
                    return
                try:
                    result = work(hold.begin())
                except BaseException as caught:
                    error = caught
                finally:
                    # Even if the caller was told that the lease is about to end: the lane stays closed until it ends.
                    hold.end(error)
                    ends.append((result, error))
                    done.set()

        with _Statement() as caller:
            hold = self._client._begin(self._options, caller.holder)
            # In a copy of this context, so that a nested call in the thread shares the lease.
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(worker,), name='nonced-call', daemon=True).start()
            lease = hold.lease
            while not done.wait(max(0.001, min(0.1, lease.time_left_s()))):
                # The function has released the lease itself and goes on without it.
                while hold.own and lease.state == 'released' and not done.wait(0.1):
                    pass
                over = None if done.is_set() else lease.ended()
                if over is not None:
                    raise over
        result, error = ends[0]
        if error is None:
            return result
        if isinstance(error, NoncedError) and error.sent is False:
            raise _after_beginning(error) from error
        raise error


def _after_beginning(error: NoncedError) -> NoncedError:
    """Returns the error for a block that had begun: what it did before the error may have been sent."""
    return NoncedError(error.code, error.message, 'unknown', error.retry_after_ms)


class Client:
    """A client of the daemon. Make one for the whole program. Threads and forked children may share it.

    `socket` is the path of the daemon's socket. The default is `$NONCED_SOCKET`, then the service's in `/run/nonced`,
    then the user's own. `name` is what `nonced status` calls this bot. The default is the file name of its program.
    `connect_timeout_ms` is how long callers wait without a daemon. The client connects when it is first needed. Each
    lease has a connection of its own.
    """

    def __init__(
        self,
        socket: Optional[str] = None,
        name: Optional[str] = None,
        *,
        connect_timeout_ms: float = _CONNECT_TIMEOUT_MS,
    ) -> None:
        _check('socket', socket, 'text')
        _check('name', name, 'text')
        _check('connect_timeout_ms', connect_timeout_ms, 'duration')
        if socket is not None and '\0' in socket:
            raise _bad_request('socket has a zero byte; give the path of the socket')
        self._asked = socket
        self._name = _program_name() if name is None else name
        self._connect_timeout_s = connect_timeout_ms / 1000
        self._place: Optional[_Place] = None
        self._instance: Optional[str] = None
        self._policy = _GLOBAL
        #: Why this client will not talk to a daemon again, or None.
        self._ended: Optional[NoncedError] = None
        self._start(_here())
        _living(_clients)
        _clients[next(_client_numbers)] = weakref.ref(self)

    def _start(self, process: _Process) -> None:
        self._process = process
        self._keeper = _Keeper()
        self._idle: Deque[_Connection] = collections.deque()
        self._all: Dict[int, 'weakref.ref[_Connection]'] = {}
        self._numbers = itertools.count()

    def _forked(self, process: _Process) -> None:
        """Closes the inherited sockets in a forked child, without a message, so that the parent's leases neither end
        now nor outlive the parent."""
        for connection in _living(self._all):
            connection.close()
        self._start(process)

    @property
    def socket(self) -> str:
        """The path of the daemon's socket, or '' if there is none."""
        if self._place is not None:
            return self._place.path
        try:
            return _find_socket(self._asked).path
        except NoncedError:
            return self._asked or ''

    def exclusive(
        self,
        *,
        account: Optional[str] = None,
        key: Optional[str] = None,
        unit: Optional[str] = None,
        priority: Optional[str] = None,
        cost: Optional[float] = None,
        ttl_ms: Optional[int] = None,
        wait_ms: Optional[float] = None,
        max_age_ms: Optional[float] = None,
        max_hold_ms: Optional[float] = None,
        label: Optional[str] = None,
        count: Optional[int] = None,
    ) -> Exclusive:
        """Returns a lease of `account`'s lane to be entered with `with`.

        Inside another `exclusive` of this client it shares that lease and gets its own nonce, one at a time. An account
        with another lane is refused with NESTED_LANE. `ttl_ms`, `max_hold_ms` and `label` have no effect then.

        Entering it raises what `acquire` raises, and then nothing was sent. A NoncedError that leaves the block has
        `sent` 'unknown': what was sent before it may have arrived.
        """
        options = _checked(
            account=account,
            key=key,
            unit=unit,
            priority=priority,
            cost=cost,
            ttl_ms=ttl_ms,
            wait_ms=wait_ms,
            max_age_ms=max_age_ms,
            max_hold_ms=max_hold_ms,
            label=label,
            count=count,
        )
        return Exclusive(self, options)

    def acquire(
        self,
        *,
        account: Optional[str] = None,
        key: Optional[str] = None,
        unit: Optional[str] = None,
        priority: Optional[str] = None,
        cost: Optional[float] = None,
        ttl_ms: Optional[int] = None,
        wait_ms: Optional[float] = None,
        max_age_ms: Optional[float] = None,
        label: Optional[str] = None,
        count: Optional[int] = None,
    ) -> Grant:
        """Waits for a lease of `account`'s lane. The caller must release the grant.

        It shares no lease, even inside `exclusive`. Raises WAIT_TIMEOUT, UNAVAILABLE, or the daemon's refusal.
        """
        options = _checked(
            account=account,
            key=key,
            unit=unit,
            priority=priority,
            cost=cost,
            ttl_ms=ttl_ms,
            wait_ms=wait_ms,
            max_age_ms=max_age_ms,
            label=label,
            count=count,
        )
        with _Statement() as caller:
            grant = self._acquire({**options, 'max_hold_ms': None}, caller.holder)
            use = grant._lease.use
            if use is not None:
                # A caller that drops the grant without a release may still be making its call.
                use.grace_s = _DROPPED_GRANT_S
                use.holder = weakref.ref(grant)
        return grant

    def nonce(
        self, *, account: Optional[str] = None, count: Optional[int] = None, wait_ms: Optional[float] = None
    ) -> int:
        """Draws `count` nonces without a lease and returns the first. For programs that order their calls."""
        _checked(account=account, count=count, wait_ms=wait_ms)
        give_up_at = _now() + (_DEFAULT_NONCE_WAIT_MS if wait_ms is None else wait_ms) / 1000
        params = _given(account=account, count=count)
        return self._ask('nonce', params, _read_drawn, give_up_at).nonce

    def status(self) -> Dict[str, Any]:
        """Returns what `nonced status --json` prints: leases and waiting requests. Nonces are ints."""
        status = self._ask('status', {}, _read_status, _now() + self._connect_timeout_s)
        self._policy = status['exclusive']
        return status

    def _ask_policy(self) -> str:
        give_up_at = _now() + self._connect_timeout_s
        try:
            self._policy = self._ask('policy', {}, _read_policy, give_up_at)
        except NoncedError as error:
            if error.code != 'UNSUPPORTED':
                raise
            # An older daemon tells it in its status only, which may be a hundred times as long.
            self._policy = self._ask('status', {}, _read_policy, give_up_at)
        return self._policy

    def close(self) -> None:
        """Ends all leases of this process. Callers that wait get CANCELLED. Not needed at the end of a program."""
        if self._process is not _here():
            return
        if self._ended is None:
            self._ended = NoncedError('CANCELLED', 'the client was closed; make another one')
        # If this is interrupted, the keeper does the rest.
        for connection in _living(self._all):
            connection.abandon(self._ended.message)
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().abandon(_NOT_NEEDED)

    def __enter__(self) -> 'Client':
        return self

    def __exit__(self, *_error: Any) -> None:
        self.close()

    # Connections. A deque: its entries are added and removed in one step, without a lock that a fork or a signal could
    # find taken.

    def _connection(self) -> _Connection:
        process = _here()
        if self._ended is not None:
            raise self._ended
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break  # Another thread took the last one.
            if not connection.spent:
                return connection
        connection = _Connection(self, process)
        self._all[connection.number] = weakref.ref(connection)
        return connection

    def _take(self, holder: 'weakref.ref[Any]') -> _Use:
        connection = self._connection()
        use = connection.use = _Use(connection, holder)
        self._keeper.watch(use)
        return use

    def _give_back(self, use: _Use) -> None:
        connection = use.connection
        if connection.owed is not None and not connection.owed.done and connection.owed.error is None:
            return  # The keeper delivers the release.
        if connection.idle:
            if self._keeper.unwatch(use):
                self._keep(connection)
        elif connection.use is use:
            connection.abandon(_NOT_NEEDED)
            self._keeper.unwatch(use)

    def _keep(self, connection: _Connection) -> None:
        if not connection.idle or self._ended is not None:
            connection.abandon(_NOT_NEEDED)
            return
        connection.kept_at = _now()
        self._idle.append(connection)
        # Those that were kept first: the last one is used next.
        while len(self._idle) > _MOST_IDLE_CONNECTIONS or self._has_old():
            try:
                self._idle.popleft().abandon(_NOT_NEEDED)
            except IndexError:
                return  # Another thread took the last one.

    def _has_old(self) -> bool:
        try:
            return _now() - self._idle[0].kept_at >= _LONGEST_IDLE_S
        except IndexError:
            return False

    def _ask(self, method: str, params: Dict[str, Any], read: Callable[[Any], Any], give_up_at: float) -> Any:
        connection = self._connection()
        try:
            request = connection.request(method, lambda _now: params, lambda result, _request: read(result))
            return connection.ask(request, give_up_at)
        finally:
            self._keep(connection)

    def _place_to_use(self) -> _Place:
        # Once a daemon has answered at a path, a daemon at another path would be another authority.
        place = self._place if self._instance is not None and self._place is not None else _find_socket(self._asked)
        self._place = place
        _check_owner(place)
        return place

    def _meet(self, instance: str, policy: str) -> Optional[NoncedError]:
        """Takes down which daemon this is. Returns an error if it is not the one from before."""
        was = self._instance or instance
        if instance != was:
            self._ended = NoncedError(
                'UNAVAILABLE',
                f'another nonced answers at {self.socket} (instance {instance}, it was {was}); make sure that its '
                'state is the right one, then restart the bot',
            )
            return self._ended
        self._instance, self._policy = instance, policy
        return None

    # Leases

    def _acquire(self, options: Dict[str, Any], holder: 'weakref.ref[Any]') -> Grant:
        use = self._take(holder)
        try:
            lease, nonce, waited_ms = use.connection.acquire(options)
            if options['max_hold_ms'] is not None:
                lease.renew_until = _now() + options['max_hold_ms'] / 1000
                lease.plan_renewal()
            count = 1 if options['count'] is None else options['count']
            return Grant(self, lease, nonce or 0, count, lease.account, waited_ms, shared=False)
        except NoncedError:
            self._give_back(use)
            raise
        except BaseException:
            use.connection.abandon(_INTERRUPTED)
            raise

    def _release(self, lease: _Lease, outcome: str, used_own_clock: bool) -> bool:
        connection = lease.connection
        try:
            released = connection.release(lease, outcome, used_own_clock)
            if lease.use is not None:
                self._give_back(lease.use)
            return released
        except BaseException:
            if connection.use is lease.use:
                connection.abandon(_INTERRUPTED)
            raise

    def _begin(self, options: Dict[str, Any], holder: 'weakref.ref[Any]') -> _Hold:
        outer = _enclosing(self)
        return self._alone(options, holder, None) if outer is None else self._within(options, holder, outer)

    def _alone(self, options: Dict[str, Any], holder: 'weakref.ref[Any]', outer: Optional[_Scope]) -> _Hold:
        grant = self._acquire({**options, 'ttl_ms': _shortest_ttl_ms(options)}, holder)
        return _Hold(self, grant, holder, outer, shared=False)

    def _within(self, options: Dict[str, Any], holder: 'weakref.ref[Any]', outer: _Scope) -> _Hold:
        """Begins a block inside another one, under the same lease if the account has the same lane."""
        age = _Age()
        started_at = _now()
        patience_s = _patience_s(options)
        lease = outer.lease
        # The account is found as it would be outside, not inherited from the outer block.
        account = _account_of(options)
        lease.must_last()
        # The policy may have been switched since it was last read, so ask before refusing.
        if account != lease.account and self._policy != _GLOBAL:
            policy = self._ask_policy()
            # Without lanes there is nothing to share and no deadlock.
            if policy == _OFF:
                return self._alone(options, holder, outer)
            if policy == _ACCOUNT:
                raise _nested_lane(account, lease.account)
        try:
            if not outer.enter(holder, started_at + patience_s):
                if not outer.ended:
                    raise _waited_too_long()
                # It has not begun, and is on its own from now on.
                return self._begin(_sooner(options, age.seconds()), holder)
            give_up_at = started_at + patience_s + _ANSWER_GRACE_S
            nonce = lease.connection.draw(
                lease,
                account,
                options['cost'],
                options['count'],
                key=options['key'],
                unit=options['unit'],
                give_up_at=give_up_at,
            )
            waited_ms = (_now() - started_at) * 1000
            if age.is_over(options['max_age_ms']):
                raise _waited_too_long()
            count = 1 if options['count'] is None else options['count']
            grant = Grant(self, lease, nonce, count, account, waited_ms, shared=True)
            return _Hold(self, grant, holder, outer, shared=True)
        except BaseException:
            outer.leave(holder)
            raise


def _shortest_ttl_ms(options: Dict[str, Any]) -> Optional[int]:
    """Returns the TTL to ask for: never longer than `max_hold_ms`. None is the daemon's default."""
    ttl_ms, max_hold_ms = options['ttl_ms'], options['max_hold_ms']
    usual_ms = _DEFAULT_TTL_MS[options['priority'] or _DEFAULT_PRIORITY] if ttl_ms is None else ttl_ms
    if max_hold_ms is None or max_hold_ms >= usual_ms:
        return ttl_ms
    return max(1, round(max_hold_ms))


def _sooner(options: Dict[str, Any], waited_s: float) -> Dict[str, Any]:
    """Returns the options of a call that has waited already."""
    max_age_ms = options['max_age_ms']
    return {
        **options,
        'wait_ms': max(0.0, (_patience_s(options) - waited_s) * 1000),
        'max_age_ms': None if max_age_ms is None else max(0.0, max_age_ms - waited_s * 1000),
    }


def _nested_lane(account: str, outer: str) -> NoncedError:
    return NoncedError(
        'NESTED_LANE',
        f'exclusive for {account} inside one for {outer}, which has another lane: two lanes taken in two orders '
        'deadlock; call it after the outer one',
    )


# --- Without a Client: one that the program shares, made when it is first needed.

_shared: Dict[str, Client] = {}


def _client() -> Client:
    # `setdefault` is one step: two threads that come first at the same time get the same client.
    return _shared.get('client') or _shared.setdefault('client', Client())


def exclusive(**options: Any) -> Exclusive:
    """Calls `exclusive` of the client that the program shares."""
    return _client().exclusive(**options)


def acquire(**options: Any) -> Grant:
    """Calls `acquire` of the client that the program shares."""
    return _client().acquire(**options)


def nonce(**options: Any) -> int:
    """Calls `nonce` of the client that the program shares."""
    return _client().nonce(**options)


def status() -> Dict[str, Any]:
    """Calls `status` of the client that the program shares."""
    return _client().status()
