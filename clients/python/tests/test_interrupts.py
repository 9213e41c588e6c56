"""A Ctrl-C, or another exception from a signal handler, may arrive anywhere. It never leaves a lane closed."""

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

from support import CLIENT, FIRST, SHARE, WITHIN_S, WithDaemon, eventually

import nonced

# Far longer than any test, so that a lane that stays closed is noticed.
TTL_MS = 600_000
# Only a guard: the tests wait for events.
WAIT_MS = WITHIN_S * 1000
# Interrupts arrive at each line and at the first instruction of each function. With this variable they arrive at each
# instruction, which takes minutes.
EVERY_INSTRUCTION = bool(os.environ.get('NONCED_EVERY_INSTRUCTION'))


class Interrupted(BaseException):
    """Like KeyboardInterrupt and SystemExit, not an Exception."""


class Alarm(TimeoutError, ValueError, RuntimeError):
    """What a handler of SIGALRM may raise. The client catches each of these kinds from its own calls."""


class Point:
    """Raises when the client's code reaches its nth point in this thread."""

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
                # Python stops tracing here, so this happens once.
                raise self.kind
        return self._step


class InterruptTest(WithDaemon):
    def setUp(self):
        super().setUp()
        # A fast keeper: otherwise each point at which only the keeper can help takes a fifth of a second.
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
        """Interrupts `scenario` at one point after another, and checks each time that the lane comes free."""
        kept, number, swallowed = [], 1 + FIRST - SHARE, []
        # Collecting cycles then skips what exists already, and is fast.
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        while True:
            number += SHARE
            point = Point(number, kind)
            try:
                with point:
                    scenario()
            except kind as error:
                # Like a notebook or an executor, the test keeps the traceback and all that its frames hold.
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
        # Each connection in the pool still works for another thread.
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
        def blocks():
            with self.client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS) as grant:
                yield grant.nonce

        for _ in blocks():
            break

    def test_an_interrupt_at_any_point_of_a_block_frees_the_lane(self):
        self.sweep(self.block)

    def test_an_interrupt_at_any_point_frees_the_lane_although_its_handling_is_interrupted_too(self):
        # As if both were interrupted on their first instruction. Only the keeper is left.
        abandon = nonced._Connection.abandon
        given_up = nonced.Exclusive._interrupted

        def abandon_as_keeper(connection, why):
            if connection.client is self.client and threading.current_thread() is threading.main_thread():
                raise Interrupted
            abandon(connection, why)

        def interrupted(block, holder):
            if block._client is self.client:
                raise Interrupted
            given_up(block, holder)

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
        # A stack keeps the block itself alive until the exception is freed.
        self.sweep(self.on_a_stack, keep=False, cycles=True)
        # Python closes a dropped generator in a finalizer, and prints what interrupts that.
        with mock.patch.object(sys, 'unraisablehook', lambda _: None):
            self.sweep(self.in_a_generator, lost=True)

    def test_an_interrupt_around_acquire_frees_the_lane_once_the_grant_is_dropped(self):
        self.sweep(self.acquired, keep=False)
        self.sweep(self.acquired_for_a_block, keep=False)

    def test_what_a_signal_handler_raises_is_never_mistaken_for_trouble_with_the_socket(self):
        self.sweep(self.whole_life, Alarm, keep=False)

    def test_an_alarm_of_any_kind_ends_a_wait(self):
        for kind in (KeyboardInterrupt, SystemExit, TimeoutError, BlockingIOError, ConnectionResetError, ValueError):
            with self.subTest(kind), self.alarm_that_raises(kind):
                # Not a block of this thread: a wait for that one is refused at once.
                held = self.other.acquire(ttl_ms=TTL_MS)
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with self.assertRaises(kind):
                    self.client.acquire(wait_ms=WAIT_MS)
                eventually('nobody waits', lambda: self.waiting() == 0)
                self.assertTrue(held.release('ok'))

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

    def test_after_an_interrupt_of_the_start_of_the_keeper_the_next_lease_has_a_keeper(self):
        start = threading.Thread.start

        def interrupted(thread):
            if thread.name == 'nonced-keeper':
                raise Interrupted
            start(thread)

        with mock.patch.object(threading.Thread, 'start', interrupted), self.assertRaises(Interrupted):
            self.block()
        # The end of this block never runs, and only the keeper can notice.
        block = self.client.exclusive(ttl_ms=TTL_MS, wait_ms=WAIT_MS)
        block.__enter__()
        del block
        self.assert_free('there is no keeper')

    def test_a_block_whose_end_was_never_reached_gives_its_lane_back(self):
        # As if an interrupt arrived on the first instruction of its end.
        block = self.client.exclusive(ttl_ms=TTL_MS)
        forgotten = block.__enter__().token
        del block
        # The next block is not nested in it.
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
        block = self.client.exclusive(ttl_ms=TTL_MS)
        grant = block.__enter__()
        taken = threading.Thread(target=grant._lease.connection.lock.acquire)
        taken.start()
        taken.join()
        with mock.patch.object(nonced, '_RELEASE_WAIT_S', 0.01):
            block.__exit__(None, None, None)
        self.assert_free('the lock is taken')

    def test_a_block_that_lasts_is_not_taken_for_one_that_was_left(self):
        def blocks():
            with self.client.exclusive(ttl_ms=TTL_MS) as grant:
                yield grant

        def check(grant):
            gc.collect()
            time.sleep(0.05)
            grant.check()
            self.assertGreater(grant.next(), grant.nonce)
            self.assertEqual([holder['leftMs'] > 0 for holder in self.holders()], [True])

        block = self.client.exclusive(ttl_ms=TTL_MS)
        self.assertTrue(hasattr(block, '__exit__'))
        with block as grant:
            check(grant)
            with self.client.exclusive(wait_ms=WAIT_MS) as inner:
                check(inner)
            check(grant)
        with block as grant:
            check(grant)
        with contextlib.ExitStack() as stack:
            check(stack.enter_context(self.client.exclusive(ttl_ms=TTL_MS)))
        with self.client.acquire(ttl_ms=TTL_MS) as grant:
            check(grant)
        generator = blocks()
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
            if thread.name == 'nonced-call':
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
            if thread.name != 'nonced-call':
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
        armed = again = False

        def interrupt(_number, frame):
            if armed and in_the_client(frame):
                if again:
                    # A second one while the client handles the first.
                    signal.setitimer(signal.ITIMER_REAL, 0.00003, 0.05)
                raise Interrupted

        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        for again in (False, True):
            interrupted = 0
            for number in range(FIRST, 300, SHARE):
                # At every moment from the beginning of a block to its end. Again and again, because a signal may arrive
                # while the test's own code runs.
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + 0.000005 * (number % 150), 0.002)
                armed = True
                try:
                    while True:
                        self.block()
                except Interrupted:
                    interrupted += 1
                armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.assertEqual(interrupted, 300 // SHARE)
            self.assert_free()
            eventually('nobody waits', lambda: self.waiting() == 0)
            self.block()

    def test_a_child_whose_fork_hook_was_interrupted_keeps_no_socket_of_its_parent(self):
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
        # Python prints what is raised in one, and drops it.
        tree = ast.parse((CLIENT / 'nonced.py').read_text())
        names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        self.assertNotIn('__del__', names)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and 'weakref' in ast.dump(node.func)]
        self.assertGreater(len(calls), 3)
        for call in calls:
            self.assertEqual((call.func.attr, len(call.args), call.keywords), ('ref', 1, []), ast.dump(call))


def in_the_client(frame):
    """True for the client's code and what it has called."""
    while frame is not None and frame.f_code.co_filename != __file__:
        if frame.f_code.co_filename == nonced.__file__:
            return True
        frame = frame.f_back
    return False


if __name__ == '__main__':
    unittest.main()
