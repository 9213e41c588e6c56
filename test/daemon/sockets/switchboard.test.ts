import { expect, test } from 'vitest';
import type { Wire } from '../../../src/daemon/sockets/connection.ts';
import { Switchboard } from '../../../src/daemon/sockets/switchboard.ts';
import { jsonRpc } from '../../../src/protocol/json-rpc.ts';
import { Machine, settled } from '../../core/simulation.ts';

class FakeWire implements Wire {
  text = '';
  readonly unsentBytes = 0;

  write(bytes: Uint8Array): void {
    this.text += Buffer.from(bytes).toString();
  }

  end(): void {}

  destroy(): void {}
}

function switchboardOf(machine: Machine): Switchboard {
  const switchboard: Switchboard = new Switchboard({
    clock: machine.clock,
    broker: machine.broker,
    waitingPerClient: 1_000,
    version: '0.0.0',
    instance: 'one',
    pid: 1,
    epoch: 1,
    afterInput: (done) => done(),
  });
  machine.written = () => switchboard.arm();
  return switchboard;
}

test('I8: who is paced when a write of the state lands is granted in time, although the write answered nobody', async () => {
  const pacing = { max: 1, perSecond: 1 };
  const machine = Machine.unstarted({
    policies: { sequences: new Map(), of: () => ({ exchange: 'default', sequence: 'default', pacing }) },
  });
  machine.store.durable = { ...machine.store.durable, accounts: new Map() };
  // Nobody knows what was used, so that its bucket counts as full.
  machine.accountsComplete = false;
  await machine.start();
  machine.store.held = true;
  const switchboard = switchboardOf(machine);
  const wire = new FakeWire();
  const session = switchboard.connect(wire, 'bot');
  switchboard.receive(session, jsonRpc.request(1, 'acquire', { account: 'A' }));
  await settled();
  machine.store.land();
  await settled();
  expect(wire.text).toBe('');
  machine.clock.advance(999);
  await settled();
  expect(wire.text).toBe('');
  machine.clock.advance(1);
  await settled();
  expect(wire.text).toContain('"token"');
});
