"""A daemon, an exchange and bots, each a process of its own, and a daemon that can be made to misbehave."""

import base64
import hashlib
import hmac
import http.client
import json
import logging
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

CLIENT = pathlib.Path(__file__).resolve().parents[1]
ROOT = CLIENT.parents[1]
TESTS = CLIENT / 'tests'
sys.path.insert(0, str(CLIENT))

NODE = os.environ.get('NODE') or shutil.which('node') or 'node'
PROGRAM = ROOT / 'dist' / 'cli' / 'main.js'
EXCHANGE = ROOT / 'build' / 'test' / 'fixtures' / 'exchange-process.js'
WITHIN_S = 60.0
# `npm test` interrupts at each fourth point, chosen by the commit; otherwise at all.
SEED = os.environ.get('NONCED_TESTS_SEED')
SHARE = 1 if SEED is None or os.environ.get('NONCED_TESTS') == 'long' else 4
FIRST = int(SEED or 0) % SHARE
# Its warnings are looked at where they are expected.
logging.getLogger('nonced').addHandler(logging.NullHandler())


def eventually(what, probe, within_s=WITHIN_S):
    """Asks again and again until `probe` answers something, for what has no event to wait for."""
    deadline = time.monotonic() + within_s
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f'not within {within_s} s: {what}')
        time.sleep(0.01)


class Daemon:
    """The built program in directories of its own."""

    def __init__(self, directory=None):
        self.directory = directory or tempfile.mkdtemp(prefix='nonced-')
        self.socket = os.path.join(self.directory, 'r', 'nonced.sock')
        self.process = None
        self.log = []

    def start(self):
        command = [NODE, str(PROGRAM), 'serve', '--state-dir', os.path.join(self.directory, 's')]
        command += ['--runtime-dir', os.path.join(self.directory, 'r'), '--separate']
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        ready = threading.Event()
        threading.Thread(target=self._read, args=(self.process.stderr, ready), daemon=True).start()
        if not ready.wait(WITHIN_S) or self.process.poll() is not None:
            raise AssertionError(f'the daemon did not come up: {"".join(self.log)}')
        return self

    def _read(self, stream, ready):
        for line in iter(stream.readline, b''):
            self.log.append(line.decode())
            if b'is ready' in line:
                ready.set()
        ready.set()
        stream.close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def switch(self, policy):
        admin = Raw(os.path.join(self.directory, 'r', 'admin.sock'))
        try:
            admin.ask('set-exclusive', policy=policy)
        finally:
            admin.close()


class Raw:
    """A connection that says what it is told to."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WITHIN_S)
        self.socket.connect(path)
        self.stream = self.socket.makefile('rwb')

    def ask(self, method, **params):
        self.stream.write(json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': method, 'params': params}).encode() + b'\n')
        self.stream.flush()
        answer = json.loads(self.stream.readline())
        if 'error' in answer:
            raise AssertionError(answer['error'])
        return answer['result']

    def close(self):
        self.stream.close()
        self.socket.close()


class Exchange:
    """The strict exchange, in a process of its own."""

    def __init__(self, **options):
        self.process = subprocess.Popen(
            [NODE, str(EXCHANGE), json.dumps({'keys': [{'account': 'main'}], **options})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started = self._line()
        self.url = started['url']
        self.key = started['keys'][0]

    def _line(self):
        return json.loads(self.process.stdout.readline())

    def _say(self, line):
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()
        return self._line()

    def report(self):
        return self._say('report')

    def fault(self, **fault):
        return self._say(f'fault {json.dumps(fault)}')

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def kraken_call(url, key, secret, method, nonce, timeout):
    """One private call of Kraken's REST API. Answers the list of errors."""
    path = f'/0/private/{method}'
    body = urllib.parse.urlencode({'nonce': str(nonce)})
    digest = hashlib.sha256((str(nonce) + body).encode()).digest()
    sign = base64.b64encode(hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512).digest())
    connection = http.client.HTTPConnection(urllib.parse.urlparse(url).netloc, timeout=timeout)
    try:
        headers = {
            'API-Key': key,
            'API-Sign': sign.decode(),
            'Content-Type': 'application/x-www-form-urlencoded',
            'User-Agent': 'nonced-fixture',
        }
        connection.request('POST', path, body, headers)
        return json.loads(connection.getresponse().read())['error']
    finally:
        connection.close()


class Bots:
    """Bots that wait for one another and then begin at once."""

    def __init__(self, count, **options):
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(TESTS / 'bot.py'), json.dumps({**options, 'name': f'bot{number}'})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for number in range(count)
        ]
        for process in self.processes:
            assert process.stdout.readline() == b'ready\n'
        for process in self.processes:
            process.stdin.write(b'go\n')
            process.stdin.flush()

    def reports(self):
        reports = [json.loads(process.stdout.read() or b'{}') for process in self.processes]
        for process in self.processes:
            process.wait()
            process.stdin.close()
            process.stdout.close()
        return reports


class FakeDaemon:
    """Listens where a daemon would, and hands each connection to `serve`, in a thread of its own."""

    def __init__(self, serve):
        self.directory = tempfile.mkdtemp(prefix='nonced-')
        self.path = os.path.join(self.directory, 'nonced.sock')
        self.serve = serve
        self.open = []
        self.failures = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            peer = Peer(connection)
            self.open.append(peer)
            threading.Thread(target=self._serve, args=(peer, len(self.open)), daemon=True).start()

    def _serve(self, peer, number):
        try:
            self.serve(peer, number)
        except (OSError, EOFError):
            pass
        except Exception as error:  # Told to the test, which would otherwise wait for nothing.
            self.failures.append(error)
        finally:
            peer.close()

    def remove(self):
        self.listener.close()
        for peer in self.open:
            peer.close()
        shutil.rmtree(self.directory, ignore_errors=True)


HELLO = {'protocol': 1, 'minor': 1, 'version': '0.2.0', 'instance': 'a' * 32, 'epoch': 1, 'exclusive': 'global', 'held': []}


class Peer:
    """The daemon's side of a connection."""

    def __init__(self, connection):
        self.connection = connection
        self.lines = connection.makefile('rb')

    def read(self):
        line = self.lines.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    def expect(self, method):
        message = self.read()
        assert message['method'] == method, message
        return message

    def greet(self, **fields):
        hello = self.expect('hello')
        self.answer(hello, {**HELLO, **fields})
        return hello

    def answer(self, request, result):
        self.say({'jsonrpc': '2.0', 'id': request['id'], 'result': result})

    def refuse(self, request, code, **more):
        data = {'code': code, 'message': 'because', 'sent': False, **more}
        self.say({'jsonrpc': '2.0', 'id': request['id'], 'error': {'code': -32000, 'message': 'because', 'data': data}})

    def grant(self, request, token=7, ttl_ms=20000, nonce='1795364912801000000', **more):
        self.answer(
            request, {'nonce': nonce, 'count': 1, 'token': str(token), 'ttlMs': ttl_ms, 'waitedMs': 0, **more}
        )

    def say(self, message):
        self.raw(json.dumps(message).encode() + b'\n')

    def raw(self, data):
        self.connection.sendall(data)

    def until_closed(self):
        while self.lines.readline():
            pass

    def close(self):
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.connection.close()


class WithDaemon(unittest.TestCase):
    """Each class has a daemon, and each test a client of its own; none leaves anything held behind."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        cls.addClassCleanup(cls.daemon.remove)

    def setUp(self):
        import nonced

        # The test before may have ended it, or switched it.
        if self.daemon.process is None or self.daemon.process.poll() is not None:
            self.daemon.start()
        self.daemon.switch('global')
        self.addCleanup(self.left_behind)
        self.client = nonced.Client(self.daemon.socket, 'test')
        self.addCleanup(self.client.close)

    def left_behind(self):
        if self.daemon.process.poll() is None:
            eventually('nothing is held and nobody waits', lambda: self.holders() == [] and self.waiting() == 0)

    def holders(self):
        with_own = Raw(self.daemon.socket)
        try:
            lanes = with_own.ask('status')['lanes']
            return [holder for lane in lanes for holder in lane['holders']]
        finally:
            with_own.close()

    def waiting(self):
        with_own = Raw(self.daemon.socket)
        try:
            return with_own.ask('status')['totals']['waiting']
        finally:
            with_own.close()
