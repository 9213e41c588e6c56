"""A signal handler may raise anywhere, a Ctrl-C is nothing else, and no lane stays closed for it."""

import ast
import contextlib
import gc
import os
import signal
import sys
import threading
import time
import unittest
from unittest import mock

from support import CLIENT, WITHIN_S, WithDaemon, eventually

import nonced

# Far longer than any test: what is not given back is noticed.
TTL_MS = 600_000
# An event is waited for, and this is only a guard.
WAIT_MS = WITHIN_S * 1000
# Every line, and the first instruction of each function. With this variable every instruction, which takes minutes.
EVERY_INSTRUCTION = bool(os.environ.get('NONCED_EVERY_INSTRUCTION'))


class Interrupted(BaseException):
    """As KeyboardInterrupt and SystemExit, which nobody catches by accident."""


class Alarm(TimeoutError, ValueError, RuntimeError):
    """What a handler of SIGALRM may raise, and what the client itself has to catch from its own calls."""


class Point:
    """Raises at the point with this number that the client's code comes to in this thread."""

    def __init__(self, number, kind=Interrupted):
        self.number = number
        self.kind = kind
        self.passed = 0
        self.where = None

    @property
    def reached(self):
        return self.where is not None

    def __enter__(self):
        sys.settrace(self._call)
        return self

    def __exit__(self, *_error):
        sys.settrace(None)

    def _call(self, frame, event, arg):
        if frame.f_code.co_filename != nonced.__file__:
            return None
        if EVERY_INSTRUCTION:
            frame.f_trace_opcodes = True
        return self._step(frame, event, arg)

    def _step(self, frame, event, _arg):
        if event in ('call', 'opcode' if EVERY_INSTRUCTION else 'line'):
            self.passed += 1
            if self.passed == self.number:
                self.where = f'{event} {frame.f_code.co_name}:{frame.f_lineno}'
                # Python stops tracing here, so there is one of them.
                raise self.kind
        return self._step


class InterruptTest(WithDaemon):
    def setUp(self):
        super().setUp()
        # The keeper is quick here: each point at which only it can help would otherwise take a fifth of a second.
        for name, value in (('_KEEPER_TICK_S', 0.002), ('_DROPPED_GRANT_S', 0.02)):
            changed = mock.patch.object(nonced, name, value)
            changed.start()
            self.addCleanup(changed.stop)
        self.other = nonced.Client(self.daemon.socket, 'other')
        self.addCleanup(self.other.close)

    def assert_free(self, why=''):
        try:
            with self.other.exclusive(wait_ms=WAIT_MS):
                pass
        except nonced.NoncedError as error:
            self.fail(f'the lane stays closed: {why}: {error}')

    def sweep(self, scenario, kind=Interrupted, keep=True, lost=False, cycles=False):
        """Interrupts `scenario` at each point in turn, and sees each time that the lane is free."""
        kept, number, swallowed = [], 0, []
        # What there is already costs no time when cycles are collected.
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        while True:
            number += 1
            point = Point(number, kind)
            try:
                with point:
                    scenario()
            except kind as error:
                # As a notebook does, and an executor: what its frames hold goes on to exist.
                kept.append(error if keep else None)
            else:
                if not point.reached:
                    break
                swallowed.append(point.where)
            if cycles:
                gc.collect()
            self.assert_free(point.where)
        if not lost:
            self.assertEqual(swallowed, [], 'what a signal handler raised was lost')
        self.assertGreater(number, 50)
        # What is left in the pool is of use to every thread.
        worked = []
        thread = threading.Thread(target=lambda: worked.append(scenario()))
        thread.start()
        thread.join(WITHIN_S)
        self.assertEqual(len(worked), 1)

    def block(self):
        with self.client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS):
            pass

    def whole_life(self):
        with nonced.Client(self.daemon.socket, 'new') as client:
            client.nonce()
            with client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS):
                pass
            client.acquire(ttl_ms=TTL_MS, wait_ms=WAIT_MS)

    def inside(self):
        with self.client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS) as grant:
            grant.next()
            grant.renew()
            grant.check()

    def nested(self):
        with self.client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS):
            with self.client.exclusive(wait_ms=WAIT_MS):
                pass

    def acquired(self):
        grant = self.client.acquire(ttl_ms=TTL_MS, wait_ms=WAIT_MS)
        grant.release('ok')

    def acquired_for_a_block(self):
        with self.client.acquire(ttl_ms=TTL_MS, wait_ms=WAIT_MS):
            pass

    def in_a_thread(self):
        self.client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS).run(lambda grant: None)

    def on_a_stack(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS))

    def in_a_generator(self):
        def turns():
            with self.client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS) as grant:
                yield grant.nonce

        for _ in turns():
            break

    def test_an_interrupt_at_any_point_of_a_block_frees_the_lane(self):
        self.sweep(self.block)

    def test_an_interrupt_at_any_point_frees_the_lane_although_its_handling_is_interrupted_too(self):
        # As if each were interrupted on its first instruction: only the keeper ends anything then.
        abandon = nonced._Connection.abandon
        given_up = nonced.Exclusive._interrupted

        def abandon_as_keeper(connection, why):
            if connection.client is self.client and threading.current_thread() is threading.main_thread():
                raise Interrupted
            abandon(connection, why)

        def interrupted(turn, holder):
            if turn._client is self.client:
                raise Interrupted
            given_up(turn, holder)

        for scenario in (self.block, self.nested, self.in_a_thread):
            with self.subTest(scenario.__name__), mock.patch.object(
                nonced._Connection, 'abandon', abandon_as_keeper
            ), mock.patch.object(nonced.Exclusive, '_interrupted', interrupted):
                self.sweep(scenario)

    def test_an_interrupt_of_a_call_under_a_lease_frees_the_lane(self):
        self.sweep(self.inside)

    def test_an_interrupt_of_a_nested_block_frees_the_lane(self):
        self.sweep(self.nested)

    def test_an_interrupt_of_run_frees_the_lane_when_its_function_has_ended(self):
        self.sweep(self.in_a_thread)

    def test_an_interrupt_of_a_block_on_a_stack_or_in_a_generator_frees_the_lane(self):
        # A stack holds the block itself, and what it raises holds the stack.
        self.sweep(self.on_a_stack, keep=False, cycles=True)
        # Python closes a generator where what interrupts it is only printed.
        with mock.patch.object(sys, 'unraisablehook', lambda _: None):
            self.sweep(self.in_a_generator, lost=True)

    def test_an_interrupt_around_acquire_frees_the_lane_once_the_grant_is_dropped(self):
        self.sweep(self.acquired, keep=False)
        self.sweep(self.acquired_for_a_block, keep=False)

    def test_what_a_signal_handler_raises_is_never_taken_for_trouble_of_our_own(self):
        self.sweep(self.whole_life, Alarm, keep=False)

    def test_an_alarm_of_any_kind_ends_a_wait(self):
        for kind in (KeyboardInterrupt, SystemExit, TimeoutError, BlockingIOError, ConnectionResetError, ValueError):
            with self.subTest(kind), self.alarm_that_raises(kind), self.other.exclusive():
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with self.assertRaises(kind):
                    self.client.acquire(wait_ms=WAIT_MS)
                eventually('nobody waits', lambda: self.waiting() == 0)

    @contextlib.contextmanager
    def alarm_that_raises(self, kind):
        def interrupt(_number, _frame):
            raise kind

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def test_an_interrupt_of_the_start_of_the_keeper_does_not_leave_what_comes_after_it_unkept(self):
        start = threading.Thread.start

        def interrupted(thread):
            if thread.name == 'nonced-keeper':
                raise Interrupted
            start(thread)

        with mock.patch.object(threading.Thread, 'start', interrupted), self.assertRaises(Interrupted):
            self.block()
        # Its end is never reached, and nothing but the keeper sees that.
        turn = self.client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS)
        turn.__enter__()
        del turn
        self.assert_free('there is no keeper')

    def test_a_block_whose_end_was_never_reached_gives_its_lane_back(self):
        # As an interrupt does that falls on the first instruction of its end.
        turn = self.client.exclusive(ttl_ms=TTL_MS)
        forgotten = turn.__enter__().token
        del turn
        # And what comes next does not take itself for a part of it.
        with self.client.exclusive(wait_ms=WAIT_MS) as grant:
            self.assertNotEqual(grant.token, forgotten)
            with self.client.exclusive():
                nested = self.client.exclusive()
                nested.__enter__()
                del nested
            with self.client.exclusive(wait_ms=WAIT_MS):
                pass

    def test_a_grant_that_is_dropped_unreleased_is_given_back_after_a_while(self):
        self.client.acquire(ttl_ms=TTL_MS)
        self.assert_free('nobody can release it any more')

    def test_a_lock_that_is_never_given_back_does_not_keep_a_lane_closed(self):
        turn = self.client.exclusive(ttl_ms=TTL_MS)
        grant = turn.__enter__()
        taken = threading.Thread(target=grant._lease.connection.lock.acquire)
        taken.start()
        taken.join()
        with mock.patch.object(nonced, '_RELEASE_WAIT_S', 0.01):
            turn.__exit__(None, None, None)
        self.assert_free('the lock is taken')

    def test_a_block_that_lasts_is_not_taken_for_one_that_was_left(self):
        def turns():
            with self.client.exclusive(ttl_ms=TTL_MS) as grant:
                yield grant

        def check(grant):
            gc.collect()
            time.sleep(0.05)
            grant.check()
            self.assertGreater(grant.next(), grant.nonce)
            self.assertEqual([holder['leftMs'] > 0 for holder in self.holders()], [True])

        turn = self.client.exclusive(ttl_ms=TTL_MS)
        self.assertTrue(hasattr(turn, '__exit__'))
        with turn as grant:
            check(grant)
            with self.client.exclusive(wait_ms=WAIT_MS) as inner:
                check(inner)
            check(grant)
        with turn as grant:
            check(grant)
        with contextlib.ExitStack() as stack:
            check(stack.enter_context(self.client.exclusive(ttl_ms=TTL_MS)))
        with self.client.acquire(ttl_ms=TTL_MS) as grant:
            check(grant)
        generator = turns()
        check(next(generator))
        generator.close()
        self.client.exclusive(ttl_ms=TTL_MS).run(check)
        grant = self.client.acquire(ttl_ms=TTL_MS)
        check(grant)
        grant.release()

    def test_an_interrupt_of_the_caller_of_run_leaves_the_lane_to_its_function(self):
        begun, go = threading.Event(), threading.Event()
        lost = []

        def work(grant):
            begun.set()
            go.wait(WITHIN_S)
            lost.append(grant.lost)

        start = threading.Thread.start

        def interrupted(thread):
            start(thread)
            if thread.name == 'nonced-turn':
                begun.wait(WITHIN_S)
                raise Interrupted

        with mock.patch.object(threading.Thread, 'start', interrupted), self.assertRaises(Interrupted):
            self.client.exclusive(ttl_ms=TTL_MS).run(work)
        gc.collect()
        time.sleep(0.05)
        self.assertEqual(len(self.holders()), 1)
        go.set()
        self.assert_free('its function has ended')
        self.assertEqual(lost, [False])

    def test_a_function_of_run_that_had_not_begun_when_its_caller_was_interrupted_is_not_called(self):
        called = []
        waiting = []

        def interrupted(thread):
            if thread.name != 'nonced-turn':
                return start(thread)
            waiting.append(thread)
            raise Interrupted

        start = threading.Thread.start
        with mock.patch.object(threading.Thread, 'start', interrupted), self.assertRaises(Interrupted):
            self.client.exclusive(ttl_ms=TTL_MS).run(called.append)
        self.assert_free('its function was not begun')
        waiting[0].start()
        waiting[0].join(WITHIN_S)
        self.assertEqual(called, [])

    def test_an_interrupt_anywhere_leaves_nothing_held(self):
        def interrupt(_number, frame):
            if armed and in_the_client(frame):
                if again:
                    # While the first one is dealt with.
                    signal.setitimer(signal.ITIMER_REAL, 0.00003, 0.05)
                raise Interrupted

        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        for again in (False, True):
            interrupted = 0
            for number in range(300):
                # Over the whole length of a turn, the beginning and the end of the block in it. More than once, for a
                # signal may find nothing of the client's.
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + 0.000005 * (number % 150), 0.002)
                armed = True
                try:
                    while True:
                        self.block()
                except Interrupted:
                    interrupted += 1
                armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.assertEqual(interrupted, 300)
            self.assert_free()
            eventually('nobody waits', lambda: self.waiting() == 0)
            self.block()

    def test_a_child_whose_hook_was_interrupted_keeps_nothing_of_its_parents(self):
        read, write = os.pipe()
        forked = nonced.Client._forked
        interrupts = [Interrupted]

        def interrupted(client, process):
            if interrupts:
                raise interrupts.pop()
            forked(client, process)

        with self.client.exclusive() as grant:
            connection = grant._lease.connection
            with mock.patch.object(nonced.Client, '_forked', interrupted), mock.patch.object(
                sys, 'unraisablehook', lambda _: None
            ):
                child = os.fork()
                if child == 0:
                    os.write(write, repr((interrupts, connection._socket, grant.lost)).encode())
                    os._exit(0)
            os.close(write)
            with os.fdopen(read) as said:
                self.assertEqual(said.read(), '([], None, True)')
            os.waitpid(child, 0)
            grant.check()

    def test_the_client_has_no_finalizers(self):
        # What a signal handler raises in one is printed, and lost.
        tree = ast.parse((CLIENT / 'nonced.py').read_text())
        names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        self.assertNotIn('__del__', names)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and 'weakref' in ast.dump(node.func)]
        self.assertGreater(len(calls), 3)
        for call in calls:
            self.assertEqual((call.func.attr, len(call.args), call.keywords), ('ref', 1, []), ast.dump(call))


def in_the_client(frame):
    """Whether it is the client's code, or what that has called, and not yet the test again."""
    while frame is not None and frame.f_code.co_filename != __file__:
        if frame.f_code.co_filename == nonced.__file__:
            return True
        frame = frame.f_back
    return False


if __name__ == '__main__':
    unittest.main()
