import { describe, expect, test } from 'vitest';
import type { Wire } from '../../../src/daemon/sockets/connection.ts';
import { Switchboard } from '../../../src/daemon/sockets/switchboard.ts';
import { jsonRpc } from '../../../src/protocol/json-rpc.ts';
import { Machine, settled } from '../../core/simulation.ts';

const INSTANCE = 'a'.repeat(32);

class FakeWire implements Wire {
  text = '';
  writes = 0;
  readonly unsentBytes = 0;

  write(bytes: Uint8Array): void {
    this.writes += 1;
    this.text += Buffer.from(bytes).toString();
  }

  end(): void {}

  destroy(): void {}

  pause(): void {}

  resume(): void {}
}

function switchboardOf(machine: Machine): Switchboard {
  return new Switchboard({
    clock: machine.clock,
    broker: machine.broker,
    waitingPerClient: 1_000,
    version: '0.0.0',
    instance: INSTANCE,
    pid: 1,
    epoch: 1,
    afterInput: (done) => done(),
  });
}

test('I8: a waiter that is paced when a write of the state lands is granted in time, although the write answered no request', async () => {
  const pacing = { max: 1, perSecond: 1 };
  const machine = Machine.unstarted({
    policies: { sequences: new Map(), of: () => ({ exchange: 'default', sequence: 'default', pacing }) },
  });
  machine.store.durable = { ...machine.store.durable, accounts: new Map() };
  // It is not known what was used, so its bucket counts as full.
  machine.accountsComplete = false;
  await machine.start();
  machine.store.held = true;
  const switchboard = switchboardOf(machine);
  const wire = new FakeWire();
  const connection = switchboard.connect(wire, 'bot');
  switchboard.receive(connection, jsonRpc.request(1, 'acquire', { account: 'A' }));
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

test('all that one input has caused goes out in one write on each connection', async () => {
  const switchboard = switchboardOf(await Machine.started());
  const [holder, waiter] = [new FakeWire(), new FakeWire()];
  const [holding, waiting] = [switchboard.connect(holder, 'bot'), switchboard.connect(waiter, 'bot')];
  const acquire = (id: number) => jsonRpc.request(id, 'acquire', { account: 'A' });
  switchboard.receive(holding, acquire(1));
  await settled();
  const { token } = JSON.parse(holder.text).result;
  switchboard.receive(waiting, Buffer.concat([acquire(1), jsonRpc.request(2, 'status', {})]));
  expect(waiter.writes).toBe(1);
  const release = jsonRpc.request(2, 'release', { token });
  switchboard.receive(holding, Buffer.concat([release, acquire(3), jsonRpc.request(4, 'status', {})]));
  await settled();
  expect([holder.writes, waiter.writes]).toEqual([2, 2]);
  expect(waiter.text).toContain('"token"');
});

test('all that a write of the state has let through goes out in one write', async () => {
  const machine = Machine.unstarted();
  machine.store.durable = { ...machine.store.durable, accounts: new Map() };
  await machine.start();
  const switchboard = switchboardOf(machine);
  const wire = new FakeWire();
  const connection = switchboard.connect(wire, 'bot');
  machine.store.held = true;
  const requests = [1, 2, 3].map((id) => jsonRpc.request(id, 'nonce', { account: 'NEW' }));
  switchboard.receive(connection, Buffer.concat(requests));
  await settled();
  expect(wire.writes).toBe(0);
  machine.store.land();
  await settled();
  expect(wire.writes).toBe(1);
  expect(wire.text.match(/"nonce"/g)).toHaveLength(3);
});

describe('a client that knew another instance', () => {
  const OTHER = 'b'.repeat(32);

  /** Connects as a bot, which then sends what it is told to. */
  function bot(switchboard: Switchboard, name: string, pid: number) {
    const wire = new FakeWire();
    const connection = switchboard.connect(wire, 'bot');
    const send = (bytes: Uint8Array) => switchboard.receive(connection, bytes);
    send(jsonRpc.request(1, 'hello', { name, pid }));
    return {
      wire,
      refuse: (expected: string) => send(jsonRpc.notification('refuse', { expected })),
      use: () => send(jsonRpc.request(2, 'status', {})),
    };
  }

  test('is in the status with the instance that it knew, and no longer once its process uses the daemon', async () => {
    const machine = await Machine.started();
    const switchboard = switchboardOf(machine);
    const refusing = () => machine.broker.status().refusingClients;
    const first = bot(switchboard, 'grid-bot', 7);
    first.refuse(OTHER);
    first.refuse(OTHER);
    expect(machine.observed.filter((what) => what === 'instance-refused')).toHaveLength(1);
    machine.clock.advance(1_000);
    expect(refusing()).toEqual([{ name: 'grid-bot', pid: 7, expected: OTHER, forMs: 1_000 }]);
    const again = bot(switchboard, 'grid-bot', 7);
    expect(refusing()).toHaveLength(1);
    again.use();
    expect(refusing()).toEqual([]);
  });

  test('is not believed if it has not said hello, or names this instance, or nothing that could be one', async () => {
    const machine = await Machine.started();
    const switchboard = switchboardOf(machine);
    const silent = switchboard.connect(new FakeWire(), 'bot');
    switchboard.receive(silent, jsonRpc.notification('refuse', { expected: OTHER }));
    const liar = bot(switchboard, 'liar', 7);
    liar.refuse(INSTANCE);
    liar.refuse('one');
    expect(machine.broker.status().refusingClients).toEqual([]);
  });

  test('that asks for an answer is told to send a notification', async () => {
    const switchboard = switchboardOf(await Machine.started());
    const wire = new FakeWire();
    switchboard.receive(switchboard.connect(wire, 'bot'), jsonRpc.request(1, 'refuse', { expected: OTHER }));
    expect(wire.text).toContain('refuse is a notification');
  });
});
