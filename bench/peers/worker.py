"""One client of a lock on disk. Says `ready`; then for each line, a lane's name, takes the lane, makes the next nonce
durable and says it, and gives the lane back at the next line."""
import contextlib, fcntl, os, signal, sqlite3, sys


@contextlib.contextmanager
def file_turn(lane):
    descriptor = os.open(f'{lane}.lock', os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            with open(lane, 'rb') as file: last = int(file.read())
        except FileNotFoundError:
            last = 0
        new = os.open(f'{lane}.new', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(new, b'%d' % (last + 1))
            os.fsync(new)
        finally:
            os.close(new)
        os.rename(f'{lane}.new', lane)
        os.fsync(directory)
        yield last + 1
    finally:
        os.close(descriptor)


databases = {}


def opened(name, *statements):
    if name not in databases:
        databases[name] = sqlite3.connect(name, isolation_level=None, timeout=600)
        for statement in statements: databases[name].execute(statement)
    return databases[name]


@contextlib.contextmanager
def sqlite_turn(lane):
    lock = opened(f'{lane}.lock')
    lock.execute('BEGIN EXCLUSIVE')
    try:
        counter = opened(
            f'{lane}.counter',
            'PRAGMA journal_mode=WAL',
            'PRAGMA synchronous=FULL',
            'CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, nonce INTEGER NOT NULL)',
            'INSERT OR IGNORE INTO counter VALUES (1, 0)',
        )
        ((nonce,),) = counter.execute('UPDATE counter SET nonce = nonce + 1 RETURNING nonce').fetchall()
        yield nonce
    finally:
        lock.execute('ROLLBACK')


# Whoever started it ends it.
signal.signal(signal.SIGINT, signal.SIG_IGN)
turn = {'file': file_turn, 'sqlite': sqlite_turn}[sys.argv[1]]
os.chdir(sys.argv[2])
directory = os.open('.', os.O_RDONLY)
print('ready', flush=True)
for line in sys.stdin:
    with turn(line.strip()) as nonce:
        print(nonce, flush=True)
        sys.stdin.readline()
