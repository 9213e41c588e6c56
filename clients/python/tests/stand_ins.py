"""Stand-ins for the SDKs, with their hooks and no more: where an SDK is installed, it is used instead.

They sign and really send. What they must have in common with the SDKs: krakenex 2 asks its `_nonce()` within
`query_private` and writes it into the caller's parameters; python-kraken-sdk asks `get_nonce()` within `request` where
`auth` is set, writes it too, raises its exception with Kraken's whole answer, and passes public calls by.
"""

import base64
import hashlib
import hmac
import http.client
import importlib.util
import json
import sys
import time
import types
import urllib.parse


def install():
    """Puts a stand-in for each SDK that is not there. Answers the names of those."""
    missing = [name for name in ('krakenex', 'kraken') if importlib.util.find_spec(name) is None]
    if 'krakenex' in missing:
        sys.modules['krakenex'] = _module('krakenex', API=KrakenexAPI)
    if 'kraken' in missing:
        classes = {name: type(name, (SpotClient,), {}) for name in ('User', 'Trade', 'Funding', 'Earn')}
        classes['User'].get_account_balance = lambda self: self.request('POST', '/0/private/Balance')
        classes['User'].get_system_status = lambda self: self.request('GET', '/0/public/SystemStatus', auth=False)
        sys.modules['kraken.spot'] = _module('kraken.spot', SpotClient=SpotClient, **classes)
        sys.modules['kraken'] = _module('kraken', spot=sys.modules['kraken.spot'])
    return missing


def _module(name, **contents):
    module = types.ModuleType(name)
    module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
    module.__dict__.update(contents)
    return module


def _sign(path, body, nonce, secret):
    digest = hashlib.sha256((str(nonce) + body).encode()).digest()
    signature = hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512)
    return base64.b64encode(signature.digest()).decode()


def _post(url, path, body, headers, timeout):
    connection = http.client.HTTPConnection(urllib.parse.urlparse(url).netloc, timeout=timeout)
    try:
        headers = {'Content-Type': 'application/x-www-form-urlencoded', 'User-Agent': 'nonced-fixture', **headers}
        connection.request('POST', path, body, headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


class KrakenexAPI:
    def __init__(self, key='', secret=''):
        self.key = key
        self.secret = secret
        self.uri = 'https://api.kraken.com'
        self.apiversion = '0'

    def query_private(self, method, data=None, timeout=None):
        fields = {} if data is None else data
        fields['nonce'] = self._nonce()
        path = f'/{self.apiversion}/private/{method}'
        body = urllib.parse.urlencode(fields)
        headers = {'API-Key': self.key, 'API-Sign': _sign(path, body, fields['nonce'], self.secret)}
        return _post(self.uri, path, body, headers, timeout)

    def _nonce(self):
        return int(1000 * time.time())


class KrakenError(Exception):
    pass


class SpotClient:
    URL = 'https://api.kraken.com'
    TIMEOUT = 10

    def __init__(self, key='', secret='', url='', proxy=None, *, use_custom_exceptions=True):
        self._key = key
        self._secret = secret
        self._use_custom_exceptions = use_custom_exceptions
        if url:
            self.URL = url

    def request(self, method, uri, params=None, timeout=10, *, auth=True, **_more):
        if not auth:
            return {'public': uri}
        fields = {} if params is None else params
        fields['nonce'] = self.get_nonce()
        body = urllib.parse.urlencode(fields)
        headers = {'API-Key': self._key, 'API-Sign': _sign(uri, body, fields['nonce'], self._secret)}
        answer = _post(self.URL, uri, body, headers, self.TIMEOUT if timeout != 10 else timeout)
        if answer.get('error'):
            raise KrakenError(answer)
        return answer['result']

    def get_nonce(self):
        return str(int(time.time() * 100_000_000))


class CcxtKraken:
    """ccxt's order of things: throttle, `sign`, which asks `nonce`, and then `fetch` as often as it takes."""

    def __init__(self, config):
        self.apiKey = config['apiKey']
        self.secret = config['secret']
        self.url = config['url']
        self.timeout = config.get('timeout', 10000)
        self.attempts = config.get('attempts', 1)

    def nonce(self):
        return int(time.time() * 1000)

    def sign(self, path, api='public', method='GET', params={}, headers=None, body=None):
        url = f'/0/{api}/{path}'
        if api == 'private':
            nonce = str(self.nonce())
            body = urllib.parse.urlencode({'nonce': nonce, **params})
            headers = {'API-Key': self.apiKey, 'API-Sign': _sign(url, body, nonce, self.secret)}
        return {'url': url, 'method': method, 'body': body, 'headers': headers}

    def fetch(self, url, method='GET', headers=None, body=None):
        if headers is None:
            return {'public': url}
        return _post(self.url, url, body, headers, self.timeout / 1000)

    def fetch2(self, path, api='public', method='GET', params={}, headers=None, body=None):
        request = self.sign(path, api, method, params, headers, body)
        for attempt in range(self.attempts):
            try:
                return self.fetch(request['url'], request['method'], request['headers'], request['body'])
            except OSError:
                if attempt == self.attempts - 1:
                    raise
