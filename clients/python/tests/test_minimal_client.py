"""The minimal client of docs/protocol.md, as it stands there."""

import concurrent.futures
import re
import unittest

from support import ROOT, Exchange, WithDaemon, eventually, kraken_call


def minimal_client():
    text = (ROOT / 'docs' / 'protocol.md').read_text()
    section = text[text.index('## A minimal client') :]
    found = re.search(r'```python\n(.*?)```', section, re.DOTALL)
    names = {}
    exec(compile(found.group(1), 'docs/protocol.md', 'exec'), names)
    return names['turn']


class MinimalClientTest(WithDaemon):
    def test_its_calls_are_accepted_one_at_a_time(self):
        turn = minimal_client()
        exchange = Exchange(delayMs=[0, 5])
        self.addCleanup(exchange.close)
        key = exchange.key

        def call(nonce, seconds):
            return kraken_call(exchange.url, key['key'], key['secret'], 'Balance', nonce, seconds)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(turn, self.daemon.socket, 'MASTER', 'ns', call) for _ in range(20)]
            self.assertEqual([each.result(60) for each in calls], [[]] * 20)
        report = exchange.report()
        self.assertEqual((report['accepted'], report['invalidNonce'], report['maxInFlightOverall']), (20, 0, 1))

    def test_it_gives_the_lane_back_however_its_call_ends(self):
        turn = minimal_client()
        with self.assertRaises(ZeroDivisionError):
            turn(self.daemon.socket, 'MASTER', 'ns', lambda nonce, seconds: 1 // 0)
        self.assertTrue(10 < turn(self.daemon.socket, 'MASTER', 'ns', lambda nonce, seconds: seconds) < 19.1)
        eventually('nothing is held', lambda: self.holders() == [])

    def test_it_makes_no_call_in_another_unit(self):
        with self.assertRaisesRegex(RuntimeError, 'UNIT_MISMATCH'):
            minimal_client()(self.daemon.socket, 'MASTER', 'ms', lambda nonce, seconds: self.fail('it was called'))


if __name__ == '__main__':
    unittest.main()
