// A manager of many accounts: polls them all, exits the position of one when told to, and prints what happens, in
// order.
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import {
  COMMON_HELP,
  COMMON_OPTIONS,
  numberOf,
  openAccounts,
  readKeys,
  runConnected,
  runProgram,
} from '../kraken/settings.ts';
import { BrokerManager, type CallEvent } from './manager.ts';

const HELP = `usage: broker-manager [--pause S] [--rounds N]

Polls the balance of every account and prints what happens, in order. Takes commands, one a line:
  exit LABEL buy|sell VOLUME PAIR    at the market, before all polls
  quit

  --pause S        seconds from an answer to the next poll of the account; 5 if left out
  --rounds N       polls of each account; until Ctrl-C if left out
${COMMON_HELP}

Under the exclusion policy \`account\` an account that is slow or hangs holds up no other; under \`global\` it holds up all
of them until its call is over, after --timeout at the latest. Exits 0, or 1 if an exit was not placed.`;

const HOLDS_UP = {
  global: 'a call that hangs holds up all of them, until it is over',
  account: 'a call that hangs holds up its own account only',
  off: 'calls of one key can overtake each other',
} as const;

await runProgram(() => {
  const { values } = parseArgs({
    options: { ...COMMON_OPTIONS, pause: { type: 'string' }, rounds: { type: 'string' } },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const keys = readKeys(values.keys ?? process.env['KRAKEN_KEYS']);
  const pauseMs = numberOf('--pause', values.pause, 5) * 1000;
  const rounds = values.rounds === undefined ? undefined : numberOf('--rounds', values.rounds, 1);

  return runConnected('broker-manager', values.socket, async (nonced, stop) => {
    const accounts = openAccounts(nonced, keys, values);
    const manager = new BrokerManager(accounts, { pauseMs, rounds, tell: printer() });
    const { exclusive } = nonced.daemon;
    console.log(`${accounts.length} accounts, exclusion ${exclusive}: ${HOLDS_UP[exclusive]}`);

    const quitting = new AbortController();
    stop.addEventListener('abort', () => quitting.abort(stop.reason), { once: true });
    let notPlaced = 0;
    const commands = createInterface({ input: process.stdin });
    commands.on('line', (line) => {
      const [command, label = '', side, volume = '', pair = '', ...rest] = line.trim().split(/\s+/);
      if (command === 'quit') return quitting.abort();
      const isOrder = (side === 'buy' || side === 'sell') && Number(volume) > 0 && pair !== '' && rest.length === 0;
      const exit = command === 'exit' && isOrder ? manager.exit(label, { side, volume, pair }) : undefined;
      if (!exit) return console.error(`not understood: ${line}; write exit LABEL sell 0.25 XBTUSD, or quit`);
      void exit.then(({ state }) => {
        if (state !== 'placed') notPlaced += 1;
      });
    });
    try {
      await manager.run(quitting.signal);
    } finally {
      commands.close();
    }
    return notPlaced > 0 ? 1 : 0;
  });
});

function printer(): (event: CallEvent) => void {
  const startedAt = performance.now();
  return ({ account, what, step, end }) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(3).padStart(8);
    console.log(`${seconds}  ${account}  ${what}  ${end ?? step}`);
  };
}
