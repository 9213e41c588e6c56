"""Four bots on one key, against an exchange that checks signatures and nonces."""

import time
import unittest

from support import Bots, Daemon, Exchange

BOTS = 4
CALLS = 25


class CallsTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon().start()
        self.addCleanup(self.daemon.remove)

    def exchange(self, **options):
        exchange = Exchange(**{'delayMs': [0, 5], **options})
        self.addCleanup(exchange.close)
        return exchange

    def run_bots(self, way, disturb=lambda bots: None, **options):
        exchange = self.exchange(**options)
        bots = Bots(BOTS, way=way, calls=CALLS, url=exchange.url, key=exchange.key, socket=self.daemon.socket)
        disturb(bots)
        reports = bots.reports()
        return exchange.report(), reports

    def assert_all_accepted(self, outcome):
        report, reports = outcome
        self.assertEqual([each.get('errors') for each in reports], [[]] * BOTS)
        self.assertEqual(report['accepted'], BOTS * CALLS, report)
        self.assertEqual(report['invalidNonce'], 0, report)
        self.assertEqual(report['maxInFlightOverall'], 1, report)

    def test_plain_calls_are_all_accepted_one_at_a_time(self):
        self.assert_all_accepted(self.run_bots('plain'))

    def test_calls_in_a_thread_of_their_own_are_all_accepted(self):
        self.assert_all_accepted(self.run_bots('in a thread'))

    def test_krakenex_is_accepted_whose_nonces_come_from_the_daemon(self):
        self.assert_all_accepted(self.run_bots('krakenex'))

    def test_python_kraken_sdk_is_accepted_whose_nonces_come_from_the_daemon(self):
        self.assert_all_accepted(self.run_bots('kraken sdk'))

    def test_the_same_bots_with_their_own_clocks_are_rejected(self):
        # The teeth of the others: an exchange that took everything would prove nothing.
        for way in ('own clock', 'krakenex alone'):
            with self.subTest(way):
                report, _ = self.run_bots(way)
                self.assertGreater(report['invalidNonce'], 0, report)

    def test_a_daemon_that_is_killed_again_and_again_costs_no_call_and_no_nonce(self):
        def kill(bots):
            for _ in range(4):
                time.sleep(0.3)
                self.daemon.kill()
                self.daemon.start()
            # All of it happened to bots at work.
            self.assertTrue(all(process.poll() is None for process in bots.processes))

        # Slow enough that a kill finds a call under way, nearly always.
        self.assert_all_accepted(self.run_bots('plain', kill, delayMs=[30, 60]))

    def test_calls_longer_than_the_two_seconds_of_grace_survive_a_restart(self):
        def kill(_bots):
            time.sleep(1.0)
            self.daemon.kill()
            self.daemon.start()

        # Only a client that comes back while its program waits for the exchange keeps the lane.
        exchange = self.exchange(delayMs=[3000, 3000])
        bots = Bots(2, way='plain', calls=1, url=exchange.url, key=exchange.key, socket=self.daemon.socket)
        kill(bots)
        self.assertEqual([each['errors'] for each in bots.reports()], [[], []])
        report = exchange.report()
        self.assertEqual((report['accepted'], report['invalidNonce'], report['maxInFlightOverall']), (2, 0, 1))


if __name__ == '__main__':
    unittest.main()
