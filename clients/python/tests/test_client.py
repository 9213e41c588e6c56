"""What a program sees of the client, against a real daemon."""

import asyncio
import concurrent.futures
import contextvars
import json
import os
import pickle
import signal
import tempfile
import threading
import time
import unittest
from unittest import mock

from support import WITHIN_S, Daemon, WithDaemon, eventually

import nonced


def code_of(error):
    return (error.exception.code, error.exception.sent)


class ClientTest(WithDaemon):
    def test_a_block_has_the_lane_and_a_nonce_of_19_digits_and_gives_the_lane_back(self):
        with self.client.exclusive(account='MASTER', unit='ns', label='balance') as grant:
            self.assertEqual(len(str(grant.nonce)), 19)
            self.assertIsInstance(grant.nonce, int)
            self.assertEqual((grant.account, grant.count, grant.ttl_ms), ('MASTER', 1, 20000))
            [holder] = self.holders()
            self.assertEqual((holder['name'], holder['pid'], holder['label']), ('test', os.getpid(), 'balance'))
            self.assertTrue(10 < grant.remaining_s() <= 19)
            self.assertFalse(grant.lost)
            grant.check()
        self.assertEqual(self.holders(), [])

    def test_each_nonce_is_higher_than_the_one_before_whoever_draws_it(self):
        drawn = [self.client.nonce(account='A'), self.client.nonce(account='B', count=5)]
        with self.client.exclusive() as grant:
            drawn += [grant.nonce, grant.next(), grant.next(count=3)]
        with self.client.exclusive(count=2) as grant:
            drawn.append(grant.nonce)
        drawn.append(self.client.nonce())
        self.assertEqual(drawn, sorted(set(drawn)))
        self.assertGreaterEqual(drawn[2], drawn[1] + 5)

    def test_an_exception_leaves_the_block_and_the_lane_is_free(self):
        with self.assertRaises(ZeroDivisionError):
            with self.client.exclusive():
                raise ZeroDivisionError
        self.assertEqual(self.holders(), [])

    def test_one_connection_serves_one_lease_after_another(self):
        for _ in range(20):
            with self.client.exclusive():
                pass
        self.assertEqual(self.client.status()['totals']['connections'], 1)

    def test_an_acquired_grant_is_released_once(self):
        grant = self.client.acquire(account='MASTER')
        self.assertTrue(grant.release('ok'))
        self.assertFalse(grant.release('ok'))
        self.assertEqual(grant.expires_in_ms(), 0)
        with self.assertRaises(nonced.NoncedError) as error:
            grant.next()
        self.assertEqual(code_of(error), ('LEASE_LOST', 'unknown'))
        with self.client.acquire() as other:
            self.assertEqual(len(self.holders()), 1)
        self.assertTrue(other.lost)
        self.assertEqual(self.holders(), [])

    def test_a_release_inside_the_block_lets_the_next_one_in_and_the_block_go_on(self):
        with self.client.exclusive() as grant:
            self.assertTrue(grant.release('ok'))
            with self.client.exclusive() as other:
                self.assertNotEqual(other.token, grant.token)
        self.assertEqual(self.holders(), [])

    def test_who_waits_too_long_is_told_and_holds_up_nobody(self):
        with self.client.acquire():
            with self.assertRaises(nonced.NoncedError) as error:
                self.client.acquire(wait_ms=50)
            self.assertEqual(code_of(error), ('WAIT_TIMEOUT', False))
            with self.assertRaises(nonced.NoncedError) as error:
                self.client.acquire(max_age_ms=50)
            self.assertEqual(code_of(error), ('WAIT_TIMEOUT', False))
            eventually('nobody waits', lambda: self.waiting() == 0)
        with self.client.exclusive(wait_ms=0):
            pass

    def test_a_daemon_of_another_unit_is_refused_before_anything_is_sent(self):
        with self.assertRaises(nonced.NoncedError) as error:
            with self.client.exclusive(unit='ms'):
                self.fail('it was entered')
        self.assertEqual(code_of(error), ('UNIT_MISMATCH', False))
        self.assertEqual(self.holders(), [])

    def test_what_a_program_gives_wrong_is_named_and_changes_nothing(self):
        for options in (
            {'account': 5},
            {'account': 'a b'},
            {'priority': 'high'},
            {'unit': 'm'},
            {'ttl_ms': '20'},
            {'ttl_ms': True},
            {'wait_ms': -1},
            {'wait_ms': float('nan')},
            {'count': 1.5},
            {'count': 0},
            {'label': 'x' * 65},
            {'cost': float('inf')},
        ):
            with self.subTest(options), self.assertRaises(nonced.NoncedError) as error:
                self.client.acquire(**options)
            self.assertEqual(code_of(error), ('BAD_REQUEST', False), options)
        with self.assertRaises(nonced.NoncedError) as error:
            self.client.acquire(label='x' * 5000)
        self.assertEqual(code_of(error), ('TOO_LARGE', False))
        with self.assertRaises(TypeError):
            self.client.acquire(acount='MASTER')
        with self.client.exclusive() as grant:
            for wrong in ('OK', 5):
                with self.assertRaises(nonced.NoncedError):
                    grant.outcome = wrong
                with self.assertRaises(nonced.NoncedError):
                    grant.release(wrong)
            self.assertEqual(len(self.holders()), 1)
        with nonced.Client(self.daemon.socket, 'x' * 65) as client, self.assertRaises(nonced.NoncedError) as error:
            client.nonce()
        self.assertEqual(code_of(error), ('BAD_REQUEST', False))

    def test_the_status_has_nonces_as_int(self):
        drawn = self.client.nonce()
        [sequence] = self.client.status()['sequences']
        self.assertEqual(sequence['last'], drawn)
        self.assertGreater(sequence['ceiling'], drawn)

    def test_an_error_crosses_from_one_process_to_another(self):
        error = pickle.loads(pickle.dumps(nonced.NoncedError('LIMIT', 'too many', 'unknown', 500)))
        fields = error.code, error.message, error.sent, error.retry_after_ms
        self.assertEqual(fields, ('LIMIT', 'too many', 'unknown', 500))
        self.assertEqual(str(error), 'LIMIT: too many')

    def test_a_closed_client_ends_its_leases_and_wakes_who_waits(self):
        grant = self.client.acquire()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waiter = pool.submit(self.client.acquire)
            eventually('one waits', lambda: self.waiting() == 1)
            self.client.close()
            with self.assertRaises(nonced.NoncedError) as error:
                waiter.result(WITHIN_S)
        self.assertEqual(code_of(error), ('CANCELLED', False))
        eventually('nothing is held', lambda: self.holders() == [])
        self.assertTrue(grant.lost)
        with self.assertRaises(nonced.NoncedError) as error:
            self.client.nonce()
        self.assertEqual(error.exception.code, 'CANCELLED')
        self.client.close()


class NestedTest(WithDaemon):
    def test_a_nested_block_shares_the_lease_and_has_a_nonce_of_its_own(self):
        with self.client.exclusive(account='MASTER') as outer:
            with self.client.exclusive(account='USER:alice') as inner:
                self.assertEqual((inner.token, inner.account), (outer.token, 'USER:alice'))
                self.assertGreater(inner.nonce, outer.nonce)
                with self.client.exclusive(account='MASTER') as innermost:
                    self.assertGreater(innermost.nonce, inner.nonce)
                    self.assertFalse(innermost.release('ok'))
                self.assertGreater(inner.next(), innermost.nonce)
            self.assertEqual(len(self.holders()), 1)
            outer.check()
        self.assertEqual(self.holders(), [])

    def test_another_lane_is_refused_at_once_and_the_outer_block_goes_on(self):
        self.daemon.switch('account')
        with self.client.exclusive(account='MASTER') as outer:
            with self.client.exclusive(account='MASTER') as inner:
                self.assertEqual(inner.token, outer.token)
            with self.assertRaises(nonced.NoncedError) as error:
                with self.client.exclusive(account='USER:alice'):
                    self.fail('it was entered')
            self.assertEqual(code_of(error), ('NESTED_LANE', False))
            outer.check()

    def test_a_policy_that_was_switched_meanwhile_is_asked_for(self):
        with self.client.exclusive(account='MASTER') as outer:
            self.daemon.switch('account')
            with self.assertRaises(nonced.NoncedError) as error:
                with self.client.exclusive(account='USER:alice'):
                    self.fail('it was entered')
            self.assertEqual(code_of(error), ('NESTED_LANE', False))
            self.client.status()
            self.daemon.switch('off')
            with self.client.exclusive(account='USER:alice') as other:
                self.assertNotEqual(other.token, outer.token)
        self.assertEqual(self.holders(), [])

    def test_a_refusal_that_leaves_a_block_is_unknown_for_the_block_has_begun(self):
        self.daemon.switch('account')
        with self.assertRaises(nonced.NoncedError) as error:
            with self.client.exclusive(account='MASTER'):
                with self.client.exclusive(account='USER:alice'):
                    self.fail('it was entered')
        self.assertEqual(code_of(error), ('NESTED_LANE', 'unknown'))
        self.assertIsInstance(error.exception.__cause__, nonced.NoncedError)

    def test_what_would_wait_for_its_own_thread_is_told_at_once_and_another_thread_waits(self):
        with nonced.Client(self.daemon.socket) as other, self.client.exclusive():
            for ask in (other.acquire, self.client.acquire):
                with self.assertRaises(nonced.NoncedError) as error:
                    ask(wait_ms=WITHIN_S * 1000)
                self.assertEqual(code_of(error), ('NESTED_LANE', False))
            with self.assertRaises(nonced.NoncedError) as error:
                other.exclusive(wait_ms=WITHIN_S * 1000).__enter__()
            self.assertEqual(code_of(error), ('NESTED_LANE', False))
            with concurrent.futures.ThreadPoolExecutor() as pool:
                asked = pool.submit(lambda: self.client.exclusive(wait_ms=20).__enter__())
                with self.assertRaises(nonced.NoncedError) as error:
                    asked.result(WITHIN_S)
                self.assertEqual(error.exception.code, 'WAIT_TIMEOUT')

    def test_a_thread_that_asyncio_makes_shares_the_lease_one_at_a_time(self):
        inside, most, drawn = 0, 0, []

        def nested():
            nonlocal inside, most
            with self.client.exclusive() as grant:
                inside += 1
                most = max(most, inside)
                time.sleep(0.01)
                drawn.append(grant.nonce)
                inside -= 1

        async def work():
            await asyncio.gather(*(asyncio.to_thread(nested) for _ in range(4)))

        with self.client.exclusive():
            asyncio.run(work())
        self.assertEqual((most, len(set(drawn))), (1, 4))


class LeakTest(WithDaemon):
    """What runs on in the context of a block that has ended, or beside it."""

    def test_a_nested_block_in_another_thread_keeps_the_lease_of_a_block_that_has_ended(self):
        began, done = threading.Event(), threading.Event()
        self.addCleanup(done.set)

        def nested():
            with self.client.exclusive() as inner:
                began.set()
                done.wait(WITHIN_S)
                inner.check()
                return inner.token

        with concurrent.futures.ThreadPoolExecutor() as pool:
            with self.client.exclusive() as outer:
                context = contextvars.copy_context()
                inner = pool.submit(context.run, nested)
                self.assertTrue(began.wait(WITHIN_S))
            with self.assertRaises(nonced.NoncedError) as error:
                self.client.exclusive(wait_ms=20).__enter__()
            self.assertEqual(error.exception.code, 'WAIT_TIMEOUT')
            # The keeper has looked at it meanwhile: the block that is still open holds it.
            time.sleep(0.5)
            done.set()
            self.assertEqual(inner.result(WITHIN_S), outer.token)
        with self.client.exclusive(wait_ms=WITHIN_S * 1000) as after:
            self.assertGreater(after.token, outer.token)

    def test_a_block_within_one_that_has_outlived_its_outer_block_keeps_the_lease_too(self):
        begun = [threading.Event(), threading.Event()]
        done = [threading.Event(), threading.Event()]
        for each in done:
            self.addCleanup(each.set)

        def nested(depth):
            with self.client.exclusive() as inner:
                context = contextvars.copy_context()
                further = pool.submit(context.run, nested, depth + 1) if depth == 0 else None
                begun[depth].set()
                done[depth].wait(WITHIN_S)
                inner.check()
            return further

        with concurrent.futures.ThreadPoolExecutor() as pool:
            with self.client.exclusive():
                inner = pool.submit(contextvars.copy_context().run, nested, 0)
                self.assertTrue(begun[0].wait(WITHIN_S) and begun[1].wait(WITHIN_S))
            done[0].set()
            innermost = inner.result(WITHIN_S)
            self.assertEqual(len(self.holders()), 1)
            done[1].set()
            innermost.result(WITHIN_S)
        eventually('the lease is released', lambda: self.holders() == [])

    def test_a_nested_block_that_waits_for_another_one_when_its_outer_block_ends_gets_a_lease_of_its_own(self):
        began, done = threading.Event(), threading.Event()
        self.addCleanup(done.set)

        def first():
            with self.client.exclusive():
                began.set()
                done.wait(WITHIN_S)

        def second():
            with self.client.exclusive(wait_ms=WITHIN_S * 1000) as grant:
                return grant.token

        with concurrent.futures.ThreadPoolExecutor() as pool:
            with self.client.exclusive() as outer:
                running = pool.submit(contextvars.copy_context().run, first)
                self.assertTrue(began.wait(WITHIN_S))
                waiting = pool.submit(contextvars.copy_context().run, second)
                eventually('it waits', lambda: waiting.running())
                time.sleep(0.05)
            eventually('it asks for itself', lambda: self.waiting() == 1)
            done.set()
            self.assertGreater(waiting.result(WITHIN_S), outer.token)
            running.result(WITHIN_S)

    def test_a_generator_does_not_nest_once_the_block_around_its_start_has_ended(self):
        def tokens():
            while True:
                with self.client.exclusive() as grant:
                    token = grant.token
                yield token

        generator = tokens()
        with self.client.exclusive() as outer:
            self.assertEqual(next(generator), outer.token)
        self.assertGreater(next(generator), outer.token)

    def test_a_fixture_that_holds_a_lease_with_another_client_is_told_at_once(self):
        with nonced.Client(self.daemon.socket) as other:

            def fixture():
                with other.exclusive():
                    yield

            held = fixture()
            next(held)
            with self.assertRaises(nonced.NoncedError) as error:
                self.client.exclusive(wait_ms=WITHIN_S * 1000).__enter__()
            self.assertEqual(code_of(error), ('NESTED_LANE', False))
            held.close()
            with self.client.exclusive(wait_ms=WITHIN_S * 1000):
                pass

    def test_a_task_that_would_block_the_thread_of_the_block_it_waits_for_is_told_at_once(self):
        async def work():
            entered, left = asyncio.Event(), asyncio.Event()

            async def holder():
                with self.client.exclusive():
                    entered.set()
                    await left.wait()

            task = asyncio.ensure_future(holder())
            await entered.wait()
            try:
                with self.client.exclusive(wait_ms=WITHIN_S * 1000):
                    self.fail('it was entered')
            except nonced.NoncedError as error:
                return error.code
            finally:
                left.set()
                await task

        self.assertEqual(asyncio.run(work()), 'NESTED_LANE')

    def test_a_task_that_was_started_inside_does_not_nest_once_the_block_has_ended(self):
        async def work():
            go = asyncio.Event()

            async def later():
                await go.wait()
                return await asyncio.to_thread(lambda: self.client.exclusive().run(lambda grant: grant.token))

            with self.client.exclusive() as outer:
                task = asyncio.ensure_future(later())
                await asyncio.sleep(0)
            go.set()
            return outer.token, await task

        outer, inner = asyncio.run(work())
        self.assertGreater(inner, outer)


class DeadlineTest(WithDaemon):
    def test_run_answers_what_its_function_does(self):
        self.assertEqual(self.client.exclusive().run(lambda grant: len(str(grant.nonce))), 19)
        with self.assertRaises(ZeroDivisionError):
            self.client.exclusive().run(lambda grant: 1 // 0)
        self.assertEqual(self.holders(), [])
        with self.assertRaises(nonced.NoncedError) as error:
            self.client.exclusive().run(None)
        self.assertEqual(error.exception.code, 'BAD_REQUEST')

    def test_run_gives_up_on_a_function_that_hangs_shortly_before_the_lease_ends(self):
        hanging = threading.Event()
        self.addCleanup(hanging.set)
        with self.assertRaises(nonced.NoncedError) as error:
            self.client.exclusive(ttl_ms=300).run(lambda grant: hanging.wait(60))
        self.assertEqual(code_of(error), ('LEASE_LOST', 'unknown'))
        # The lane is the daemon's to give when the lease has ended, not before.
        with self.client.exclusive(wait_ms=WITHIN_S * 1000):
            pass

    def test_run_hears_that_an_urgent_call_took_a_background_lease(self):
        hanging = threading.Event()
        self.addCleanup(hanging.set)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            hung = pool.submit(self.client.exclusive(priority='background').run, lambda grant: hanging.wait(60))
            eventually('it is held', self.holders)
            with self.client.exclusive(priority='urgent'):
                with self.assertRaises(nonced.NoncedError) as error:
                    hung.result(WITHIN_S)
            self.assertEqual(code_of(error), ('LEASE_LOST', 'unknown'))
            hanging.set()

    def test_a_nested_call_in_the_thread_of_run_shares_its_lease(self):
        def work(grant):
            with self.client.exclusive() as inner:
                self.assertEqual(inner.token, grant.token)
            return self.client.exclusive().run(lambda innermost: innermost.token == grant.token)

        self.assertTrue(self.client.exclusive().run(work))

    def test_a_lease_that_is_about_to_end_takes_nothing_more(self):
        with self.client.exclusive(ttl_ms=100) as grant:
            eventually('it is about to end', lambda: grant.lost)
            for ask in (grant.check, grant.remaining_s, grant.next, grant.renew):
                with self.assertRaises(nonced.NoncedError) as error:
                    ask()
                self.assertEqual(code_of(error), ('LEASE_LOST', 'unknown'))

    def test_an_answer_that_came_after_its_lease_is_kept_and_a_warning_logged(self):
        with self.assertLogs('nonced', 'WARNING') as logged:
            with self.client.exclusive(ttl_ms=50):
                time.sleep(0.1)
                answer = 'accepted'
        self.assertEqual(answer, 'accepted')
        self.assertIn('longer ttl_ms', logged.output[0])

    def test_a_renewed_lease_lasts_longer(self):
        with self.client.exclusive(ttl_ms=1000) as grant:
            self.assertEqual(grant.renew(20000), 20000)
            self.assertGreater(grant.remaining_s(), 10)
            time.sleep(1.1)
            grant.check()

    def test_a_lease_is_renewed_while_it_lasts_up_to_the_hold_that_was_asked_for(self):
        with self.client.exclusive(ttl_ms=1000, max_hold_ms=2500) as grant:
            time.sleep(1.5)
            grant.check()
            eventually('it is not renewed any more', lambda: grant.lost)
            self.assertEqual(eventually('the lane is free', lambda: self.holders() == []), True)
        with self.client.exclusive(max_hold_ms=2000) as grant:
            self.assertEqual(grant.ttl_ms, 2000)


class ThreadsAndProcessesTest(WithDaemon):
    def test_threads_share_a_client_and_each_has_its_own_lease(self):
        inside, most, drawn = 0, 0, []

        def work(_number):
            nonlocal inside, most
            for _ in range(10):
                with self.client.exclusive() as grant:
                    inside += 1
                    most = max(most, inside)
                    drawn.append(grant.nonce)
                    inside -= 1

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        self.assertEqual((most, len(drawn)), (1, 80))
        self.assertEqual(drawn, sorted(set(drawn)))
        self.assertEqual(self.holders(), [])

    def test_of_many_connections_a_few_stay_and_none_for_long(self):
        connections = lambda: self.client.status()['totals']['connections']
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            with self.client.exclusive():
                waiters = [pool.submit(lambda: self.client.acquire().release()) for _ in range(16)]
                eventually('all wait', lambda: self.waiting() == 16)
                self.assertGreaterEqual(connections(), 17)
            for waiter in waiters:
                self.assertTrue(waiter.result(WITHIN_S))
        eventually('a few are left', lambda: 1 <= connections() <= 4)
        now = nonced._now
        with mock.patch.object(nonced, '_now', lambda: now() + 30):
            self.client.nonce()
        eventually('one is left', lambda: connections() == 1)

    def test_a_connection_in_use_is_kept_and_those_that_were_idle_for_long_are_closed(self):
        self.daemon.switch('off')
        grants = [self.client.acquire(account=account) for account in ('A', 'B')]
        for grant in grants:
            grant.release()
        used = self.client._idle[-1]
        now = nonced._now
        for later in (20, 40, 60):
            with mock.patch.object(nonced, '_now', lambda: now() + later):
                self.client.nonce()
        self.assertEqual(list(self.client._idle), [used])

    def in_a_child(self, work):
        """Runs `work` in a forked child and answers what it says."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(read)
                os.write(write, repr(work()).encode())
            except BaseException as error:
                os.write(write, f'failed with {error!r}'.encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            said = answer.read()
        os.waitpid(child, 0)
        return said

    def test_a_forked_child_neither_uses_nor_ends_the_lease_of_its_parent(self):
        with self.client.exclusive() as grant:

            def work():
                try:
                    grant.next()
                except nonced.NoncedError as error:
                    code = error.code
                try:
                    self.client.exclusive(wait_ms=20).__enter__()
                except nonced.NoncedError as error:
                    return [code, error.code, grant.release('ok'), grant.lost]

            self.assertEqual(self.in_a_child(work), "['LEASE_LOST', 'WAIT_TIMEOUT', False, True]")
            grant.check()
            self.assertGreater(grant.next(), grant.nonce)
            self.assertEqual([holder['pid'] for holder in self.holders()], [os.getpid()])

    def test_a_child_that_leaves_its_parents_block_leaves_the_lease_to_it(self):
        read, write = os.pipe()
        child = None
        with self.client.exclusive() as grant:
            child = os.fork()
            if child != 0:
                os.close(write)
                self.assertEqual(os.read(read, 1), b'')
                os.waitpid(child, 0)
                grant.check()
                self.assertEqual(len(self.holders()), 1)
        if child == 0:
            os._exit(0)
        os.close(read)
        self.assertEqual(self.holders(), [])

    def test_parent_and_child_go_on_with_connections_of_their_own(self):
        first = self.client.nonce()
        drawn = int(self.in_a_child(lambda: [self.client.nonce() for _ in range(5)][-1]))
        self.assertGreater(drawn, first)
        self.assertGreater(self.client.nonce(), drawn)

    def test_a_lease_ends_with_its_process_though_a_child_of_it_lives(self):
        read, write = os.pipe()
        go, stay = os.pipe()
        parent = os.fork()
        if parent == 0:
            self.client.acquire(ttl_ms=600000)
            if os.fork() == 0:
                os.close(stay)
                os.read(go, 1)
                os._exit(0)
            os.write(write, b'+')
            time.sleep(60)
            os._exit(0)
        os.read(read, 1)
        self.assertEqual(len(self.holders()), 1)
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        eventually('the lane is free', lambda: self.holders() == [])
        os.close(stay)

    def test_a_program_that_gave_sigpipe_its_default_back_survives_the_end_of_the_daemon(self):
        before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGPIPE, before)
        with self.client.exclusive():
            self.daemon.kill()
        self.daemon.start()
        with self.client.exclusive():
            pass


class SocketTest(unittest.TestCase):
    def find(self, asked=None, environment=None, exists=(), uid=1000):
        with mock.patch.dict(os.environ, environment or {}, clear=True), mock.patch.object(
            nonced, '_exists', lambda path: path in exists
        ), mock.patch.object(nonced.os, 'getuid', lambda: uid):
            return tuple(nonced._find_socket(asked))

    def test_it_is_looked_for_where_every_other_client_looks(self):
        own, run = '/tmp/nonced-1000', '/run/user/1000/nonced'
        service = '/run/nonced/nonced.sock'
        self.assertEqual(self.find('/a', {'NONCED_SOCKET': '/b'}), ('/a', None))
        self.assertEqual(self.find(None, {'NONCED_SOCKET': '/b'}), ('/b', None))
        self.assertEqual(self.find(None, {'NONCED_SOCKET': ''}, [service]), (service, None))
        self.assertEqual(self.find(uid=0), (service, None))
        self.assertEqual(self.find(), (f'{own}/nonced.sock', own))
        other = '/var/tmp/nonced-1000'
        self.assertEqual(self.find(environment={'TMPDIR': '/var/tmp/'}), (f'{other}/nonced.sock', other))
        self.assertEqual(self.find(exists=['/run/user/1000']), (f'{own}/nonced.sock', own))
        self.assertEqual(self.find(exists=['/run/user/1000', f'{run}/nonced.sock']), (f'{run}/nonced.sock', run))
        told = {'XDG_RUNTIME_DIR': '/run/user/1000'}
        unit = '/etc/systemd/system/nonced.service'
        self.assertEqual(self.find(None, told, ['/run/user/1000', f'{run}/nonced.sock', unit]), (service, None))
        self.assertEqual(self.find(None, told, ['/run/user/1000', '/run/nonced']), (service, None))
        both = ['/run/user/1000', '/run/nonced', f'{run}/nonced.sock']
        self.assertEqual(self.find(None, told, both), (f'{run}/nonced.sock', run))
        self.assertEqual(self.find(None, told, ['/run/user/1000']), (f'{run}/nonced.sock', run))
        self.assertEqual(self.find(None, told, ['/run/user/1000', f'{own}/nonced.sock']), (f'{own}/nonced.sock', own))

    def test_a_path_is_made_absolute_once(self):
        self.assertEqual(self.find('r/nonced.sock'), (os.path.abspath('r/nonced.sock'), None))

    def test_what_is_easily_written_for_a_path_is_refused_with_the_path_that_was_meant(self):
        for given in (
            '/r/nonced.sock ',
            '/r/nonced.sock\r',
            '"/r/nonced.sock"',
            "'/r/nonced.sock'",
            'unix:///r/nonced.sock',
            'unix:/r/nonced.sock',
        ):
            with self.subTest(given), self.assertRaises(nonced.NoncedError) as error:
                self.find(None, {'NONCED_SOCKET': given})
            self.assertEqual(code_of(error), ('UNAVAILABLE', False))
            self.assertIn(f'{json.dumps(given)} is not the path of a socket; write it as /r/nonced.sock ', str(error.exception))
            # If there is such a file, it was meant.
            self.assertEqual(self.find(given, exists=[given]), (os.path.abspath(given), None))
        with self.assertRaises(nonced.NoncedError) as error:
            self.find('/tmp')
        self.assertIn('/tmp is a directory; the socket in it is /tmp/nonced.sock', str(error.exception))

    def test_a_bot_without_a_name_is_called_by_its_program(self):
        for argv, name in (
            (['/opt/bots/grid.py'], 'grid.py'),
            (['/opt/bots/grid/__main__.py', '-v'], 'grid/__main__.py'),
            (['/opt/bots/grid/main.py'], 'grid/main.py'),
            (['-c'], '-c'),
            ([''], 'python'),
            (['/opt/b\u00f6t\n.py'], 'b?t?.py'),
            (['/opt/' + 'a' * 80], 'a' * 64),
        ):
            with self.subTest(argv), mock.patch.object(nonced.sys, 'argv', argv):
                self.assertEqual(nonced.Client('/a')._name, name)
        self.assertEqual(nonced.Client('/a', 'grid')._name, 'grid')

    def test_a_path_that_the_kernel_would_cut_short_is_refused(self):
        with self.assertRaises(nonced.NoncedError) as error:
            nonced.Client('/' + 'x' * 107).nonce()
        self.assertEqual(code_of(error), ('UNAVAILABLE', False))
        self.assertIn('108 bytes', error.exception.message)

    def test_a_directory_that_others_could_write_to_is_not_trusted(self):
        with tempfile.TemporaryDirectory() as directory:
            place = nonced._Place(f'{directory}/nonced.sock', directory)
            nonced._check_owner(place)
            os.chmod(directory, 0o777)
            with self.assertRaises(nonced.NoncedError) as error:
                nonced._check_owner(place)
            self.assertEqual(error.exception.code, 'UNAVAILABLE')
            os.chmod(directory, 0o700)
            os.symlink(directory, f'{directory}/link')
            with self.assertRaises(nonced.NoncedError):
                nonced._check_owner(nonced._Place(f'{directory}/link/nonced.sock', f'{directory}/link'))

    def test_without_a_daemon_there_is_no_nonce(self):
        with tempfile.TemporaryDirectory() as directory:
            client = nonced.Client(f'{directory}/nonced.sock', connect_timeout_ms=100)
            for ask in (client.nonce, client.acquire, client.status, client.exclusive().__enter__):
                with self.assertRaises(nonced.NoncedError) as error:
                    ask()
                self.assertEqual(code_of(error), ('UNAVAILABLE', False))
                self.assertIn('ENOENT', error.exception.message)

    def test_the_client_of_the_module_goes_by_the_environment(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.remove)
        with mock.patch.dict(os.environ, {'NONCED_SOCKET': daemon.socket}), mock.patch.dict(nonced._shared, clear=True):
            with nonced.exclusive(account='MASTER') as grant:
                self.assertGreater(nonced.nonce(), grant.nonce)
            self.assertTrue(nonced.acquire().release())
            self.assertEqual(nonced.status()['exclusive'], 'global')
            nonced._client().close()


class RestartTest(WithDaemon):
    def test_a_lease_crosses_a_restart_and_is_released_afterwards(self):
        with self.client.exclusive(account='MASTER') as grant:
            self.daemon.kill()
            self.daemon.start()
            self.assertGreater(grant.next(), grant.nonce)
            [holder] = self.holders()
            self.assertEqual(holder['account'], 'MASTER')
        self.assertEqual(self.holders(), [])

    def test_who_waits_asks_the_next_daemon(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            with self.client.exclusive() as grant:
                waiter = pool.submit(self.client.acquire)
                eventually('one waits', lambda: self.waiting() == 1)
                self.daemon.kill()
                self.daemon.start()
            second = waiter.result(WITHIN_S)
        self.assertGreater(second.nonce, grant.nonce)
        self.assertGreater(second.token, grant.token)
        self.assertTrue(second.release())

    def test_a_stop_and_a_start_lose_nothing_either(self):
        for _ in range(3):
            with self.client.exclusive() as grant:
                self.daemon.stop()
                self.daemon.start()
                self.assertGreater(grant.next(), grant.nonce)
        self.assertEqual(self.holders(), [])

    def test_another_daemon_in_the_place_of_the_first_is_not_talked_to(self):
        with self.client.exclusive() as grant:
            self.daemon.kill()
            os.rename(os.path.join(self.daemon.directory, 's'), os.path.join(self.daemon.directory, 'old'))
            for name in os.listdir(os.path.join(self.daemon.directory, 'r')):
                os.unlink(os.path.join(self.daemon.directory, 'r', name))
            self.daemon.start()
            with self.assertRaises(nonced.NoncedError) as error:
                grant.next()
            self.assertIn(error.exception.code, ('LEASE_LOST', 'UNAVAILABLE'))
        for ask in (self.client.nonce, self.client.acquire):
            with self.assertRaises(nonced.NoncedError) as error:
                ask()
            self.assertEqual(error.exception.code, 'UNAVAILABLE')
            self.assertIn('another nonced answers', error.exception.message)
        with nonced.Client(socket=self.client.socket, name='another') as another:
            [refusing] = another.status()['refusingClients']
        self.assertEqual((refusing['pid'], len(refusing['expected'])), (os.getpid(), 32))


if __name__ == '__main__':
    unittest.main()
