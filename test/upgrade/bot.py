"""A bot in Python that makes calls until it is told to stop, with the client of any version. bots.ts says what it is
given and what it prints."""

import base64
import hashlib
import hmac
import http.client
import json
import sys
import threading
import time
import urllib.parse

options = json.loads(sys.argv[1])
sys.path.insert(0, options['client'])

import nonced  # noqa: E402

wait_ms = options['waitMs']
stopping = threading.Event()
printing = threading.Lock()


def say(**what):
    with printing:
        print(json.dumps(what), flush=True)


def kraken_call(key, nonce):
    path = '/0/private/Balance'
    body = urllib.parse.urlencode({'nonce': str(nonce)})
    digest = hashlib.sha256((str(nonce) + body).encode()).digest()
    sign = hmac.new(base64.b64decode(key['secret']), path.encode() + digest, hashlib.sha512).digest()
    connection = http.client.HTTPConnection(urllib.parse.urlparse(options['url']).netloc)
    try:
        headers = {
            'API-Key': key['key'],
            'API-Sign': base64.b64encode(sign).decode(),
            'Content-Type': 'application/x-www-form-urlencoded',
        }
        connection.request('POST', path, body, headers)
        return json.loads(connection.getresponse().read())['error']
    finally:
        connection.close()


def work(client, key):
    account = key['account']
    while not stopping.is_set():
        try:
            with client.exclusive(account=account, wait_ms=wait_ms) as grant:
                errors = kraken_call(key, grant.nonce)
                if errors:
                    raise RuntimeError(', '.join(errors))
            say(called=account, nonce=str(grant.nonce))
        except Exception as error:
            say(failed=account, error=f'{type(error).__name__}: {error}')
        time.sleep(0.05)


with nonced.Client(options['socket'], options['name'], connect_timeout_ms=wait_ms) as client:
    held = client.acquire(account=options['hold'], ttl_ms=600_000, wait_ms=wait_ms)
    say(held=str(held.nonce))
    workers = [threading.Thread(target=work, args=(client, key)) for key in options['keys']]
    for worker in workers:
        worker.start()
    for line in sys.stdin:
        try:
            if line == 'next\n':
                say(held=str(held.next()))
            elif line == 'release\n':
                say(released=held.release('ok'))
            else:
                break
        except Exception as error:
            say(failed=options['hold'], error=f'{type(error).__name__}: {error}')
    stopping.set()
    for worker in workers:
        worker.join()
