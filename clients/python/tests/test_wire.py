"""What the client makes of a daemon that is slow, broken, another one, or gone in the middle of a word."""

import errno
import json
import signal
import threading
import time
import unittest
from unittest import mock

from support import HELLO, WITHIN_S, FakeDaemon, eventually

import nonced


class WireTest(unittest.TestCase):
    def client(self, serve, **options):
        fake = FakeDaemon(serve)
        self.addCleanup(fake.remove)
        self.addCleanup(lambda: self.assertEqual(fake.failures, []))
        client = nonced.Client(fake.path, 'test', **{'connect_timeout_ms': 1000, **options})
        self.addCleanup(client.close)
        return client

    def test_it_says_who_it_is_and_what_it_wants_in_lines_that_end(self):
        said = []

        def serve(peer, _number):
            said.append(peer.greet())
            said.append(acquire := peer.expect('acquire'))
            peer.grant(acquire)
            said.append(release := peer.expect('release'))
            peer.answer(release, {'released': True})

        options = {'account': 'MASTER', 'unit': 'ns', 'priority': 'urgent', 'ttl_ms': 5000, 'wait_ms': 100}
        with self.client(serve).exclusive(**options) as grant:
            self.assertEqual((grant.nonce, grant.token), (1795364912801000000, 7))
        hello, acquire, release = (each['params'] for each in said)
        self.assertRegex(hello['session'], r'^[0-9a-f]{32}$')
        self.assertEqual(hello['name'], 'test')
        self.assertLessEqual(acquire.pop('waitMs'), 100)
        self.assertEqual(acquire, {'account': 'MASTER', 'unit': 'ns', 'priority': 'urgent', 'ttlMs': 5000})
        self.assertEqual(release, {'token': '7', 'outcome': 'ok'})
        self.assertEqual(len({each['id'] for each in said}), 3)

    def test_the_daemon_is_told_how_the_call_ended(self):
        outcomes = []

        def serve(peer, _number):
            peer.greet()
            while True:
                peer.grant(peer.expect('acquire'))
                release = peer.expect('release')
                outcomes.append(release['params']['outcome'])
                peer.answer(release, {'released': True})

        client = self.client(serve)
        with client.exclusive():
            pass
        with client.exclusive() as grant:
            grant.outcome = 'invalid-nonce'
        with self.assertRaises(ValueError), client.exclusive():
            raise ValueError
        with self.assertRaises(ValueError), client.exclusive() as grant:
            grant.outcome = 'unsettled'
            raise ValueError
        client.acquire().release()
        client.acquire().release('locked-out')
        self.assertEqual(outcomes, ['ok', 'invalid-nonce', 'unknown', 'unsettled', 'unknown', 'locked-out'])

    def test_answers_may_come_byte_by_byte_many_at_once_and_among_others(self):
        def serve(peer, _number):
            hello = peer.expect('hello')
            told = {**HELLO, 'protocol': 9, 'exclusive': 'new', 'more': 1}
            line = json.dumps({'jsonrpc': '2.0', 'id': hello['id'], 'result': told}).encode()
            for at in range(len(line)):
                peer.raw(line[at : at + 1])
            peer.raw(b'\r\n\n\n{"jsonrpc":"2.0","method":"news","params":{"a":1}}\n')
            request = peer.expect('nonce')
            peer.raw(b'{"jsonrpc":"2.0","id":99,"result":{"nonce":"1","count":1}}\n')
            peer.raw(b'{"jsonrpc":"2.0","id":null,"result":{"nonce":"1","count":1}}\n')
            peer.raw(b'{"jsonrpc":"2.0","id":true,"result":{"nonce":"1","count":1}}\n')
            peer.raw(b'{"jsonrpc":"2.0","method":"revoked","params":{"token":"5","reason":"expired"}}\n')
            result = {'nonce': 18446744073709551615, 'count': 1}
            peer.raw(json.dumps({'jsonrpc': '2.0', 'id': request['id'], 'result': result}).encode())
            time.sleep(0.05)
            peer.raw(b'\n')

        self.assertEqual(self.client(serve).nonce(), 18446744073709551615)

    def test_whatever_makes_no_sense_is_asked_again_on_another_connection(self):
        answers = [
            b'hello\n',
            b'[]\n',
            b'{"jsonrpc":"2.0"}\n',
            b'\xff\xfe\n',
            b'[' * 100_000 + b'\n',
            b'{"jsonrpc":"2.0","id":1,"method":"acquire"}\n',
            b'{"jsonrpc":"2.0","id":ID,"result":{"nonce":-5,"count":1}}\n',
            b'{"jsonrpc":"2.0","id":ID,"result":{"nonce":"12e3","count":1}}\n',
            b'{"jsonrpc":"2.0","id":ID,"result":{"nonce":"\xd9\xa1","count":1}}\n',
            b'{"jsonrpc":"2.0","id":ID,"result":{"nonce":1.5,"count":1}}\n',
            b'{"jsonrpc":"2.0","id":ID,"result":null}\n',
            b'{"jsonrpc":"2.0","id":ID,"result":{"nonce":' + b'9' * 500_000 + b'}}\n',
            b'x' * (1 << 20) + b'x' * 70_000,
            b'{"jsonrpc":"2.0","id":ID,"res',
            b'',
        ]

        def serve(peer, number):
            peer.greet()
            request = peer.expect('nonce')
            if number > len(answers):
                peer.answer(request, {'nonce': '17', 'count': 1})
                peer.until_closed()
            else:
                peer.raw(answers[number - 1].replace(b'ID', str(request['id']).encode()))
                if number < len(answers) - 1:
                    peer.until_closed()

        self.assertEqual(self.client(serve, connect_timeout_ms=20000).nonce(), 17)

    def test_a_hello_that_makes_no_sense_or_never_comes_is_no_daemon(self):
        def silent(peer, _number):
            peer.until_closed()

        def strange(peer, _number):
            peer.answer(peer.expect('hello'), {'instance': 5})

        for serve in (silent, strange):
            with self.assertRaises(nonced.NoncedError) as error:
                self.client(serve, connect_timeout_ms=200).nonce()
            self.assertEqual((error.exception.code, error.exception.sent), ('UNAVAILABLE', False))

    def test_a_refusal_is_raised_with_its_code_and_one_that_is_new_as_a_bad_request(self):
        def serve(peer, _number):
            peer.greet()
            peer.refuse(peer.expect('acquire'), 'LIMIT', retryAfterMs=250)
            peer.refuse(peer.expect('acquire'), 'QUARANTINED', retryAfterMs='soon')
            peer.refuse(peer.expect('acquire'), 'NEWER')
            request = peer.expect('acquire')
            peer.say({'jsonrpc': '2.0', 'id': request['id'], 'error': 'nonsense'})
            peer.grant(peer.expect('acquire'))
            peer.until_closed()

        client = self.client(serve)
        unknown = ('BAD_REQUEST', None)
        for code, retry_after_ms in (('LIMIT', 250), ('QUARANTINED', None), unknown, unknown):
            with self.assertRaises(nonced.NoncedError) as error:
                client.acquire()
            self.assertEqual((error.exception.code, error.exception.retry_after_ms), (code, retry_after_ms))
        self.assertEqual(client.acquire().token, 7)

    def test_a_daemon_that_never_answers_is_given_up_and_a_late_grant_finds_no_taker(self):
        closed = threading.Event()

        def serve(peer, number):
            peer.greet()
            request = peer.expect('acquire')
            if number > 1:
                peer.grant(request, token=8)
                peer.until_closed()
                return
            eventually('the client has given up', lambda: gave_up.is_set())
            try:
                peer.grant(request, token=7)
                peer.until_closed()
            finally:
                closed.set()

        gave_up = threading.Event()
        client = self.client(serve)
        with self.assertRaises(nonced.NoncedError) as error:
            client.acquire(max_age_ms=100)
        gave_up.set()
        self.assertEqual((error.exception.code, error.exception.sent), ('WAIT_TIMEOUT', False))
        # The connection is closed, so the daemon ends what it granted there.
        self.assertTrue(closed.wait(WITHIN_S))
        self.assertEqual(client.acquire().token, 8)

    def test_max_age_counts_what_the_machine_has_slept_or_was_paused(self):
        now, wall = nonced._now, time.time
        for clocks in [{'_now': 3.0, 'time': 3.0}, {'_now': 0.0, 'time': 3.0}]:
            released = threading.Event()
            moved = dict.fromkeys(clocks, 0.0)

            def serve(peer, _number, clocks=clocks, moved=moved, released=released):
                peer.greet()
                request = peer.expect('acquire')
                moved.update(clocks)
                peer.grant(request, token=7, ttl_ms=60_000)
                release = peer.expect('release')
                if release['params'] == {'token': '7', 'outcome': 'unused'}:
                    released.set()
                peer.answer(release, {'released': True})

            with mock.patch.object(nonced, '_now', lambda moved=moved: now() + moved['_now']), mock.patch.object(
                nonced.time, 'time', lambda moved=moved: wall() + moved['time']
            ):
                with self.assertRaises(nonced.NoncedError) as error:
                    self.client(serve).acquire(max_age_ms=2_000)
            self.assertEqual((error.exception.code, error.exception.sent), ('WAIT_TIMEOUT', False))
            self.assertTrue(released.wait(WITHIN_S), clocks)

    def test_a_grant_that_was_read_late_is_given_back_and_asked_for_again(self):
        outcomes = []

        def serve(peer, _number):
            peer.greet()
            request = peer.expect('acquire')
            time.sleep(0.2)
            peer.grant(request, token=7, ttl_ms=100)
            release = peer.expect('release')
            outcomes.append(release['params'])
            peer.answer(release, {'released': False})
            peer.grant(peer.expect('acquire'), token=8)
            peer.until_closed()

        self.assertEqual(self.client(serve).acquire(ttl_ms=100).token, 8)
        self.assertEqual(outcomes, [{'token': '7', 'outcome': 'unused'}])

    def test_a_grant_that_is_revoked_in_the_same_breath_is_not_begun_with(self):
        def serve(peer, _number):
            peer.greet()
            request = peer.expect('acquire')
            granted = {'nonce': '5', 'count': 1, 'token': '7', 'ttlMs': 20000, 'waitedMs': 0}
            lines = [
                {'jsonrpc': '2.0', 'id': request['id'], 'result': granted},
                {'jsonrpc': '2.0', 'method': 'revoked', 'params': {'token': '7', 'reason': 'preempted'}},
            ]
            peer.raw(b''.join(json.dumps(line).encode() + b'\n' for line in lines))
            peer.grant(peer.expect('acquire'), token=8)
            peer.until_closed()

        self.assertEqual(self.client(serve).acquire().token, 8)

    def test_a_revoked_lease_is_over_at_once(self):
        go = threading.Event()

        def serve(peer, _number):
            peer.greet()
            peer.grant(peer.expect('acquire'))
            go.wait(WITHIN_S)
            peer.say({'jsonrpc': '2.0', 'method': 'revoked', 'params': {'token': '7', 'reason': 'preempted'}})
            peer.until_closed()

        with self.client(serve).exclusive() as grant:
            grant.check()
            go.set()
            eventually('it is lost', lambda: grant.lost)
            with self.assertRaises(nonced.NoncedError) as error:
                grant.next()
            self.assertEqual((error.exception.code, error.exception.sent), ('LEASE_LOST', 'unknown'))

    def test_a_revocation_is_heard_while_a_further_nonce_is_waited_for(self):
        def serve(peer, _number):
            peer.greet()
            peer.grant(peer.expect('acquire'))
            peer.expect('next')
            peer.say({'jsonrpc': '2.0', 'method': 'revoked', 'params': {'token': '7', 'reason': 'expired'}})
            peer.until_closed()

        with self.client(serve).exclusive() as grant, self.assertRaises(nonced.NoncedError) as error:
            grant.next()
        self.assertEqual(error.exception.code, 'LEASE_LOST')

    def test_an_interrupt_while_a_further_nonce_is_waited_for_ends_the_lease(self):
        closed = threading.Event()

        def serve(peer, number):
            peer.greet()
            if number == 1:
                peer.grant(peer.expect('acquire'))
                peer.expect('next')
            peer.until_closed()
            closed.set()

        def interrupt(_number, _frame):
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        with self.client(serve).exclusive() as grant:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with self.assertRaises(KeyboardInterrupt):
                grant.next()
            # What was half said on the connection cannot be taken back, so it is closed, and the lease with it.
            self.assertTrue(closed.wait(WITHIN_S))
            with self.assertRaises(nonced.NoncedError) as error:
                grant.remaining_s()
            self.assertEqual(error.exception.code, 'LEASE_LOST')

    def test_a_paced_nonce_is_asked_for_again_if_the_lease_lasts_that_long(self):
        def serve(peer, _number):
            peer.greet()
            peer.grant(peer.expect('acquire'))
            peer.refuse(peer.expect('next'), 'PACED', retryAfterMs=20)
            peer.answer(peer.expect('next'), {'nonce': '9', 'count': 1})
            peer.refuse(peer.expect('next'), 'PACED', retryAfterMs=60000)
            peer.until_closed()

        with self.client(serve).exclusive() as grant:
            self.assertEqual(grant.next(), 9)
            with self.assertRaises(nonced.NoncedError) as error:
                grant.next()
            self.assertEqual(error.exception.code, 'PACED')

    def test_a_lease_that_ends_while_its_renewal_is_under_way_is_given_back_after_it(self):
        said = []
        given_back = threading.Event()

        def serve(peer, _number):
            peer.greet()
            peer.grant(peer.expect('acquire'), ttl_ms=300)
            renew = peer.expect('renew')
            said.append(peer.expect('release')['params'])
            # The answer comes too late to take that back.
            peer.answer(renew, {'ttlMs': 600000})
            given_back.set()
            peer.until_closed()

        with self.client(serve).exclusive(max_hold_ms=60_000) as grant:
            self.assertTrue(given_back.wait(WITHIN_S))
            eventually('it is lost', lambda: grant.lost)
            self.assertTrue(grant.lost)
        self.assertEqual(said, [{'token': '7', 'outcome': 'unknown'}])

    def test_a_nested_block_tells_its_own_unit_and_key(self):
        said = []

        def serve(peer, _number):
            peer.greet()
            peer.grant(peer.expect('acquire'))
            said.append(drawn := peer.expect('next'))
            peer.answer(drawn, {'nonce': '9', 'count': 1})
            peer.until_closed()

        client = self.client(serve)
        with client.exclusive(unit='ns'), client.exclusive(account='B', unit='ms', key='fedcba9876543210') as grant:
            self.assertEqual(grant.nonce, 9)
        expected = {'token': '7', 'account': 'B', 'unit': 'ms', 'key': 'fedcba9876543210'}
        self.assertEqual(said[0]['params'], expected)

    def test_a_nested_block_and_a_retry_tell_how_the_call_of_their_own_nonce_ended(self):
        said = []

        def serve(peer, _number):
            peer.greet()
            peer.grant(peer.expect('acquire'), nonce='8')
            for nonce in ('9', '10', '11', '12'):
                message = peer.read()
                while message['method'] != 'next':
                    said.append(message['params'])
                    message = peer.read()
                peer.answer(message, {'nonce': nonce, 'count': 1})
            message = peer.read()
            while message['method'] != 'release':
                said.append(message['params'])
                message = peer.read()
            peer.answer(message, {'released': True})

        client = self.client(serve)
        with client.exclusive() as outer:
            with client.exclusive(account='B') as inner:
                inner.outcome = 'invalid-nonce'
            with self.assertRaises(ValueError), client.exclusive(account='B'):
                raise ValueError
            with client.exclusive(account='B') as inner:
                inner.release('rate-limited')
            outer.next(outcome='invalid-nonce')
        self.assertEqual(
            [(each['nonce'], each['outcome']) for each in said],
            [('9', 'invalid-nonce'), ('10', 'unknown'), ('11', 'rate-limited'), ('8', 'invalid-nonce')],
        )

    def test_a_daemon_of_the_first_release_is_not_sent_what_it_does_not_know(self):
        said = []

        def serve(peer, _number):
            first_release = {key: value for key, value in HELLO.items() if key != 'minor'}
            peer.answer(peer.expect('hello'), {**first_release, 'version': '0.1.0'})
            peer.grant(peer.expect('acquire'))
            said.append(drawn := peer.expect('next'))
            peer.answer(drawn, {'nonce': '9', 'count': 1})
            peer.until_closed()

        client = self.client(serve)
        with client.exclusive(unit='ns', key='fedcba9876543210') as outer:
            for options in ({'unit': 'ms'}, {'key': 'fedcba9876543210'}):
                with self.assertRaises(nonced.NoncedError) as error:
                    client.exclusive(**options).__enter__()
                self.assertEqual((error.exception.code, error.exception.sent), ('UNSUPPORTED', False))
                self.assertIn('0.1.0', error.exception.message)
            with client.exclusive() as inner:
                self.assertEqual(inner.token, outer.token)
        self.assertEqual(said[0]['params'], {'token': '7', 'account': 'default'})

    def test_a_nested_block_of_another_account_asks_for_the_policy_and_an_older_daemon_for_its_status(self):
        said = []

        def serve_of(minor, method, more):
            def serve(peer, number):
                peer.greet(minor=minor, exclusive='account')
                if number == 1:
                    peer.grant(peer.expect('acquire'))
                    peer.answer(peer.expect('release'), {'released': True})
                    return
                peer.answer(peer.expect(method), {'exclusive': 'account', **more})
                said.append(method)
                peer.until_closed()

            return serve

        for minor, method, more in ((1, 'policy', {}), (0, 'status', {'sequences': []})):
            client = self.client(serve_of(minor, method, more))
            with client.exclusive(account='A', wait_ms=0):
                with self.assertRaises(nonced.NoncedError) as error:
                    client.exclusive(account='B').__enter__()
                self.assertEqual(error.exception.code, 'NESTED_LANE')
            client.close()
        self.assertEqual(said, ['policy', 'status'])

    def test_a_grant_whose_answer_got_lost_is_found_by_the_id_of_its_request(self):
        said = []

        def serve(peer, number):
            if number == 1:
                said.append(peer.greet()['params']['session'])
                said.append(peer.expect('acquire')['id'])
                return
            hello = peer.expect('hello')
            said.append(hello['params']['session'])
            held = [
                {'token': '7', 'account': 'default', 'id': said[1], 'ttlMs': 20000},
                {'token': '6', 'account': 'default', 'id': 12345, 'ttlMs': 20000},
                {'token': '5', 'account': 'default', 'id': None, 'ttlMs': 20000},
            ]
            peer.answer(hello, {**HELLO, 'held': held})
            said.append([peer.expect('release')['params'] for _ in range(2)])
            drawn = peer.expect('next')
            said.append(drawn['params'])
            peer.answer(drawn, {'nonce': '41', 'count': 2})
            peer.until_closed()

        grant = self.client(serve).acquire(count=2)
        self.assertEqual((grant.token, grant.nonce, grant.count), (7, 41, 2))
        session, _id, again, released, drawn = said
        self.assertEqual(session, again)
        self.assertEqual([each['token'] for each in released], ['6', '5'])
        self.assertEqual({each['outcome'] for each in released}, {'unknown'})
        self.assertEqual(drawn, {'token': '7', 'cost': 0, 'count': 2})

    def test_a_wait_is_asked_again_with_what_is_left_of_it(self):
        waits = []

        def serve(peer, number):
            peer.greet()
            request = peer.expect('acquire')
            waits.append((request['id'], request['params']['waitMs']))
            time.sleep(0.1)
            if number == 3:
                peer.grant(request)
                peer.until_closed()

        grant = self.client(serve).acquire(wait_ms=5000)
        self.assertEqual(len({id for id, _ in waits}), 1)
        self.assertEqual(len(waits), 3)
        self.assertTrue(waits[0][1] - 95 >= waits[1][1] >= waits[2][1] + 95, waits)
        self.assertGreaterEqual(grant.waited_ms, 200)

    def test_a_daemon_that_is_about_to_go_is_waited_for_without_closing(self):
        seen = []

        def serve(peer, number):
            peer.greet()
            request = peer.expect('acquire')
            if number == 1:
                peer.refuse(request, 'SHUTTING_DOWN')
                peer.connection.settimeout(0.2)
                try:
                    seen.append(peer.lines.readline())
                except OSError:
                    seen.append('nothing more')
                return
            peer.grant(request)
            peer.until_closed()

        self.assertEqual(self.client(serve).acquire().token, 7)
        self.assertEqual(seen, ['nothing more'])

    def test_a_lease_that_the_next_daemon_does_not_list_is_over(self):
        go = threading.Event()

        def serve(peer, number):
            peer.greet()
            if number == 1:
                peer.grant(peer.expect('acquire'))
                go.wait(WITHIN_S)
            else:
                peer.until_closed()

        with self.client(serve).exclusive() as grant:
            go.set()
            # Found out by the keeper: the program itself says nothing to the daemon.
            eventually('it is lost', lambda: grant._lease.state == 'lost')
            with self.assertRaises(nonced.NoncedError) as error:
                grant.remaining_s()
            self.assertEqual((error.exception.code, error.exception.sent), ('LEASE_LOST', 'unknown'))

    def test_a_holder_that_cannot_come_back_for_a_reason_of_its_own_has_lost_its_lease(self):
        go = threading.Event()

        def serve(peer, number):
            # Later connections are closed without an answer, as by a daemon that has no room.
            if number == 1:
                peer.greet()
                peer.grant(peer.expect('acquire'))
                go.wait(WITHIN_S)

        with self.client(serve).exclusive() as grant:
            go.set()
            eventually('it is lost', lambda: grant._lease.state == 'lost')
            with self.assertRaises(nonced.NoncedError) as error:
                grant.check()
            self.assertEqual((error.exception.code, error.exception.sent), ('LEASE_LOST', 'unknown'))
            self.assertIn('could not come back to the daemon', error.exception.message)

    def test_a_daemon_that_is_away_for_longer_than_its_return_time_loses_nobody(self):
        connection = nonced._Connection(nonced.Client('/nowhere'), nonced._here())

        def fails_at(now, trouble):
            connection._tried_at = now
            with mock.patch.object(nonced, '_now', lambda: now):
                return connection._no_way_back(trouble)

        away, full = ConnectionRefusedError(errno.ECONNREFUSED, ''), OSError(errno.EMFILE, '')
        self.assertFalse(fails_at(100, ConnectionError('it closed the connection')))
        for now in (101, 103, 105, 107):
            self.assertFalse(fails_at(now, away))
        self.assertFalse(fails_at(108.5, full))
        self.assertTrue(fails_at(108.8, full))
        # A daemon that is seen to be away again has given nothing to another caller.
        self.assertFalse(fails_at(110, FileNotFoundError(errno.ENOENT, '')))
        self.assertFalse(fails_at(111.5, full))

    def test_an_idle_connection_that_the_daemon_closed_is_made_again_for_the_next_request(self):
        def serve(peer, number):
            peer.greet()
            if number == 1:
                peer.answer(peer.expect('nonce'), {'nonce': '5', 'count': 1})
            elif number == 2:
                peer.grant(peer.expect('acquire'))
                peer.answer(peer.expect('release'), {'released': True})
            else:
                peer.answer(peer.expect('nonce'), {'nonce': '6', 'count': 1})

        client = self.client(serve)

        def closed():
            [connection] = client._idle
            self.assertEqual(connection._socket.recv(1), b'')

        self.assertEqual(client.nonce(), 5)
        closed()
        with client.exclusive() as grant:
            self.assertEqual(grant.token, 7)
        closed()
        self.assertEqual(client.nonce(), 6)

    def test_another_instance_ends_the_client_and_what_it_holds_and_is_told_so(self):
        go, told = threading.Event(), []

        def serve(peer, number):
            peer.greet(instance='ab'[number > 1])
            if number > 1:
                told.append(peer.expect('refuse')['params'])
                return
            peer.grant(peer.expect('acquire'))
            go.wait(WITHIN_S)

        client = self.client(serve)
        with client.exclusive() as grant:
            go.set()
            eventually('it is lost', lambda: grant.lost)
        with self.assertRaises(nonced.NoncedError) as error:
            client.acquire()
        self.assertEqual(error.exception.code, 'UNAVAILABLE')
        self.assertIn('another nonced answers', error.exception.message)
        eventually('it is told', lambda: told)
        self.assertEqual(told, [{'expected': 'a'}])

    def test_a_daemon_of_the_first_release_is_not_told(self):
        go, told = threading.Event(), []

        def serve(peer, number):
            peer.greet(instance='ab'[number > 1], minor=0)
            if number > 1:
                told.append(peer.lines.read())
                return
            peer.grant(peer.expect('acquire'))
            go.wait(WITHIN_S)

        client = self.client(serve)
        with client.exclusive() as grant:
            go.set()
            eventually('it is lost', lambda: grant.lost)
        eventually('the connection is closed', lambda: told)
        self.assertEqual(told, [b''])

    def test_a_release_that_finds_no_daemon_keeps_nobody_and_arrives_when_there_is_one(self):
        back, arrived, released = threading.Event(), threading.Event(), []

        def serve(peer, number):
            if number == 1:
                peer.greet()
                peer.grant(peer.expect('acquire'))
                return
            back.wait(60)
            try:
                peer.greet(held=[{'token': '7', 'account': 'default', 'id': 2, 'ttlMs': 15000}])
            except OSError:
                return  # Given up on before: of the second in which the release was waited for.
            release = peer.expect('release')
            released.append(release['params'])
            peer.answer(release, {'released': True})
            arrived.set()

        with self.client(serve).exclusive():
            result = 'accepted'
        # The block is left although nobody has answered yet.
        back.set()
        self.assertTrue(arrived.wait(WITHIN_S))
        self.assertEqual((result, released), ('accepted', [{'token': '7', 'outcome': 'ok'}]))


if __name__ == '__main__':
    unittest.main()
