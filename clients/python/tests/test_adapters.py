"""The adapters: where an SDK is not installed, against a stand-in with its hooks."""

import re
import sys
import threading
import time
import types
import unittest
from unittest import mock

import stand_ins

STOOD_IN = stand_ins.install()

from support import CLIENT, Exchange, FakeDaemon, WithDaemon, eventually

import nonced
import nonced_kraken
import nonced_kraken_sdk
import nonced_krakenex


class TermsTest(unittest.TestCase):
    def test_orders_go_first_and_history_waits_and_counts_double(self):
        self.assertEqual(nonced_kraken.terms_of('CancelAll'), ('urgent', 0))
        self.assertEqual(nonced_kraken.terms_of('Ledgers'), ('background', 2))
        self.assertEqual(nonced_kraken.terms_of('Balance'), ('background', 1))
        self.assertEqual(nonced_kraken.terms_of('__init__'), ('normal', 1))

    def test_the_worst_of_several_errors_is_the_outcome(self):
        for errors, outcome in (
            ([], 'ok'),
            (['EOrder:Insufficient funds'], 'ok'),
            (['EOrder:Rate limit exceeded'], 'ok'),
            (['EAPI:Invalid nonce'], 'invalid-nonce'),
            (['EService: Throttled: 1795364912'], 'rate-limited'),
            (['EAPI:Rate limit exceeded', 'EGeneral:Temporary lockout'], 'locked-out'),
            (['EService:Unavailable'], 'unavailable'),
            (['EService:Deadline elapsed'], 'unsettled'),
            (['EAPI:Invalid key'], 'unknown'),
        ):
            self.assertEqual(nonced_kraken.outcome_of_errors(errors), outcome, errors)

    def test_an_exception_of_the_transport_is_no_answer_in_time_or_no_exchange(self):
        class HTTPError(Exception):
            response = type('Response', (), {'status_code': 502})

        self.assertEqual(nonced_kraken.outcome_of_exception(HTTPError()), 'unavailable')
        self.assertEqual(nonced_kraken.outcome_of_exception(TimeoutError()), 'unsettled')
        self.assertEqual(nonced_kraken.outcome_of_exception(ConnectionResetError()), 'unsettled')
        self.assertEqual(nonced_kraken.outcome_of_exception(ConnectionRefusedError()), 'unavailable')
        self.assertEqual(nonced_kraken.outcome_of_exception(ValueError()), 'unknown')

    def test_an_exchange_that_answers_is_not_down_and_a_gateway_that_gave_up_is_no_answer(self):
        for status, outcome in (
            (400, 'unknown'),
            (403, 'unknown'),
            (404, 'unknown'),
            (409, 'unknown'),
            (429, 'rate-limited'),
            (503, 'unavailable'),
            (504, 'unsettled'),
            (522, 'unavailable'),
        ):
            error = type('HTTPError', (Exception,), {'response': types.SimpleNamespace(status_code=status)})()
            self.assertEqual(nonced_kraken.outcome_of_exception(error), outcome, status)

    def test_what_was_never_sent_says_nothing_about_the_exchange(self):
        class ConnectionError(Exception):
            pass

        class NameResolutionError(Exception):
            pass

        class InvalidHeader(ValueError):
            pass

        # As `requests` wraps it.
        unresolved = ConnectionError(type('MaxRetryError', (Exception,), {'reason': NameResolutionError()})())
        self.assertEqual(nonced_kraken.outcome_of_exception(unresolved), 'unused')
        self.assertEqual(nonced_kraken.outcome_of_exception(InvalidHeader()), 'unused')
        itself = ConnectionError()
        itself.args = (itself,)
        self.assertEqual(nonced_kraken.outcome_of_exception(itself), 'unsettled')

    def test_the_words_of_an_exchange_count_without_an_outcome(self):
        def of(error, cause=None):
            error.__cause__ = cause
            return nonced._outcome_of(error)

        self.assertEqual(of(RuntimeError('EAPI:Invalid nonce')), 'invalid-nonce')
        self.assertEqual(of(RuntimeError('call failed'), RuntimeError('EGeneral:Temporary lockout')), 'locked-out')
        self.assertEqual(of(type('InvalidNonce', (Exception,), {})('bitfinex 10114')), 'invalid-nonce')
        self.assertEqual(of(RuntimeError('EOrder:Insufficient funds')), 'ok')
        self.assertEqual(of(NameError("name 'nonce' is not defined")), 'unknown')
        self.assertEqual(of(ConnectionRefusedError('of a database')), 'unknown')
        self.assertEqual(of(nonced.NoncedError('BAD_REQUEST', 'invalid nonce')), 'unknown')
        self.assertEqual(nonced._outcome_of(None), 'ok')

    def test_a_key_is_known_by_a_fingerprint_that_does_not_tell_it(self):
        self.assertEqual(nonced_kraken.fingerprint('abc'), 'ba7816bf8f01cfea')


class AdapterTest(WithDaemon):
    def setUp(self):
        super().setUp()
        self.exchange = Exchange(delayMs=[0, 2])
        self.addCleanup(self.exchange.close)
        self.key = self.exchange.key

    def krakenex(self, **options):
        options = {'unit': 'ns', 'client': self.client, **options}
        api = nonced_krakenex.API(self.key['key'], self.key['secret'], **options)
        api.uri = self.exchange.url
        return api

    def user(self, **options):
        options = {'unit': 'ns', 'client': self.client, **options}
        return nonced_kraken_sdk.User(self.key['key'], self.key['secret'], self.exchange.url, **options)

    def test_both_sdks_on_one_key_are_accepted(self):
        api, user = self.krakenex(account='MASTER'), self.user(account='MASTER')
        given = {}
        for _ in range(3):
            self.assertEqual(api.query_private('Balance', given)['error'], [])
            self.assertIsNotNone(user.get_account_balance())
        self.assertEqual(given, {})
        self.assertEqual(self.exchange.report()['invalidNonce'], 0)
        self.assertEqual(self.exchange.report()['accepted'], 6)

    def test_a_daemon_of_another_unit_is_refused_before_the_key_sees_a_nonce(self):
        api, user = self.krakenex(unit='ms'), self.user(unit='ms')
        for call in (lambda: api.query_private('Balance'), user.get_account_balance):
            with self.assertRaises(nonced.NoncedError) as error:
                call()
            self.assertEqual(error.exception.code, 'UNIT_MISMATCH')
        self.assertEqual(self.exchange.report()['calls'], 0)

    def test_no_nonce_of_the_sdks_own_is_ever_used(self):
        for ask in (self.krakenex()._nonce, self.user().get_nonce):
            with self.assertRaises(nonced.NoncedError) as error:
                ask()
            self.assertEqual(error.exception.code, 'BAD_REQUEST')

    def test_public_calls_need_no_lease(self):
        self.daemon.kill()
        self.assertIsNotNone(self.user().request('GET', '/0/public/SystemStatus', auth=False))

    def test_a_call_that_hangs_ends_and_lets_the_next_one_in(self):
        self.exchange.fault(kind='hang', calls=1)
        with self.assertRaises(Exception):
            self.krakenex().query_private('Balance', timeout=0.3)
        self.assertEqual(self.krakenex().query_private('Balance')['error'], [])

    def test_an_sdk_that_never_comes_back_is_left_when_the_lease_is_over(self):
        api = self.krakenex()
        never = threading.Event()
        self.addCleanup(never.set)
        with self.assertRaises(nonced.NoncedError) as error:
            api._calls.make('Balance', 'key', 0.1, lambda _s: never.wait(60), lambda _: 'ok', lambda _: 'unknown')
        self.assertEqual((error.exception.code, error.exception.sent), ('LEASE_LOST', 'unknown'))
        never.set()

    def test_a_retry_within_one_call_has_a_nonce_of_its_own(self):
        api = self.krakenex()

        def twice(_timeout_s):
            return [api._nonce(), api._nonce(), api._nonce()]

        drawn = api._calls.make('Balance', 'key', 5, twice, lambda _: 'ok', lambda _: 'unknown')
        self.assertEqual(drawn, sorted(set(drawn)))

    def test_the_daemon_hears_what_became_of_the_call(self):
        outcomes = []

        def serve(peer, _number):
            peer.greet()
            while True:
                acquire = peer.expect('acquire')
                outcomes.append([acquire['params'][name] for name in ('priority', 'cost', 'key', 'label')])
                peer.grant(acquire, nonce=str(1795364912801000000 + len(outcomes)))
                release = peer.expect('release')
                outcomes.append(release['params']['outcome'])
                peer.answer(release, {'released': True})

        fake = FakeDaemon(serve)
        self.addCleanup(fake.remove)
        with nonced.Client(fake.path) as client:
            api, user = self.krakenex(client=client), self.user(client=client)
            self.exchange.fault(kind='invalid-nonce', calls=2)
            api.query_private('Balance')
            with self.assertRaises(Exception):
                user.get_account_balance()
            self.exchange.fault(kind='unavailable', calls=1)
            api.query_private('Ledgers')
            self.exchange.fault(kind='hang', calls=1)
            with self.assertRaises(Exception):
                api.query_private('Balance', timeout=0.2)
            user.get_account_balance()
            eventually('all was told', lambda: len(outcomes) == 10)
        self.assertEqual(outcomes[1::2], ['invalid-nonce', 'invalid-nonce', 'unavailable', 'unsettled', 'ok'])
        key = nonced_kraken.fingerprint(self.key['key'])
        self.assertEqual(outcomes[0], ['background', 1, key, 'Balance'])
        self.assertEqual(outcomes[4], ['background', 2, key, 'Ledgers'])

    def ccxt(self, **options):
        """The class of the README, with its unit in place of kraken's."""
        text = (CLIENT / 'README.md').read_text()
        [recipe] = [block for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL) if 'import ccxt' in block]
        ccxt = types.SimpleNamespace(kraken=stand_ins.CcxtKraken)
        names = {}
        with mock.patch.dict(sys.modules, {'ccxt': ccxt}):
            exec(compile(recipe.replace("unit='ms'", "unit='ns'"), 'README.md', 'exec'), names)
        shared = mock.patch.dict(nonced._shared, {'client': self.client})
        shared.start()
        self.addCleanup(shared.stop)
        key = {'apiKey': self.key['key'], 'secret': self.key['secret'], 'url': self.exchange.url}
        return names['Kraken']({**key, **options})

    def test_the_recipe_for_ccxt_signs_each_attempt_under_a_lease_of_its_own(self):
        kraken = self.ccxt(attempts=2, timeout=2000)
        self.assertEqual(kraken.fetch2('SystemStatus'), {'public': '/0/public/SystemStatus'})
        self.exchange.fault(kind='reset', calls=1, carriedOut=True)
        after = time.time_ns()
        for _ in range(3):
            self.assertEqual(kraken.fetch2('Balance', 'private', 'POST')['error'], [])
        self.assertEqual(kraken.fetch2('SystemStatus'), {'public': '/0/public/SystemStatus'})
        report = self.exchange.report()
        self.assertEqual((report['accepted'], report['invalidNonce'], report['repeatedNonces']), (4, 0, 0), report)
        # In the daemon's unit, and not in ccxt's.
        self.assertGreater(self.client.nonce(), after)
        self.assertEqual(report['nonceDigits'], {'19': 4})


if __name__ == '__main__':
    unittest.main()
