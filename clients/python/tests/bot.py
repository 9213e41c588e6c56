"""A bot as its own process. Argument: its options as JSON. Prints `ready`, waits for a line, and reports as JSON."""

import json
import sys
import time

from support import kraken_call

options = json.loads(sys.argv[1])
key = options['key']
errors = []
accepted = 0


def call(nonce, timeout=10.0):
    global accepted
    answer = kraken_call(options['url'], key['key'], key['secret'], 'Balance', nonce, timeout)
    errors.extend(answer)
    accepted += not answer


def plain():
    import nonced

    with nonced.Client(options['socket'], options['name']) as client:
        for _ in range(options['calls']):
            with client.exclusive(account='MASTER', unit='ns') as grant:
                call(grant.nonce, grant.remaining_s())


def in_a_thread():
    import nonced

    with nonced.Client(options['socket'], options['name']) as client:
        for _ in range(options['calls']):
            client.exclusive(account='MASTER').run(lambda grant: call(grant.nonce, grant.remaining_s()))


def own_clock():
    for _ in range(options['calls']):
        call(time.time_ns())


def krakenex_wrapped():
    import stand_ins

    stand_ins.install()
    import nonced
    from nonced_krakenex import API

    with nonced.Client(options['socket'], options['name']) as client:
        api = API(key['key'], key['secret'], client=client, account='MASTER', unit='ns')
        api.uri = options['url']
        wrapped(lambda: api.query_private('Balance')['error'])


def kraken_sdk_wrapped():
    import stand_ins

    stand_ins.install()
    import nonced
    from nonced_kraken_sdk import User

    with nonced.Client(options['socket'], options['name']) as client:
        user = User(key['key'], key['secret'], options['url'], client=client, account='MASTER', unit='ns')
        wrapped(lambda: [] if user.get_account_balance() is not None else ['no answer'])


def krakenex_alone():
    import stand_ins

    stand_ins.install()
    import krakenex

    api = krakenex.API(key['key'], key['secret'])
    api.uri = options['url']
    wrapped(lambda: api.query_private('Balance')['error'])


def wrapped(query):
    global accepted
    for _ in range(options['calls']):
        try:
            answer = query()
        except Exception as error:
            answer = [str(error)]
        errors.extend(answer)
        accepted += not answer


print('ready', flush=True)
sys.stdin.readline()
{
    'plain': plain,
    'in a thread': in_a_thread,
    'own clock': own_clock,
    'krakenex': krakenex_wrapped,
    'krakenex alone': krakenex_alone,
    'kraken sdk': kraken_sdk_wrapped,
}[options['way']]()
print(json.dumps({'accepted': accepted, 'errors': errors}))
