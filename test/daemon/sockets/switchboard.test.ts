import { describe, expect, test } from 'vitest';
import type { Wire } from '../../../src/daemon/sockets/connection.ts';
import { Switchboard } from '../../../src/daemon/sockets/switchboard.ts';
import { jsonRpc } from '../../../src/protocol/json-rpc.ts';
import { Machine, settled } from '../../core/simulation.ts';

const INSTANCE = 'a'.repeat(32);

class FakeWire implements Wire {
  text = '';
  writes = 0;
  unsentBytes = 0;
  isDestroyed = false;

  write(bytes: Uint8Array): void {
    this.writes += 1;
    this.text += Buffer.from(bytes).toString();
  }

  end(): void {}

  destroy(): void {
    this.isDestroyed = true;
  }

  pause(): void {}

  resume(): void {}
}

function switchboardOf(machine: Machine, afterInput = (done: () => void): void => done()): Switchboard {
  return new Switchboard({
    clock: machine.clock,
    broker: machine.broker,
    waitingPerClient: 1_000,
    version: '0.0.0',
    instance: INSTANCE,
    pid: 1,
    epoch: 1,
    afterInput,
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

test('the exclusion policy is told in an answer of its own, which is short', async () => {
  const switchboard = switchboardOf(await Machine.started());
  const wire = new FakeWire();
  switchboard.receive(switchboard.connect(wire, 'bot'), jsonRpc.request(1, 'policy', {}));
  expect(JSON.parse(wire.text)).toEqual({ jsonrpc: '2.0', id: 1, result: { exclusive: 'global' } });
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

describe('room for one more connection', () => {
  /** Connects bots, one each second. */
  async function crowd(...names: string[]) {
    const machine = await Machine.started();
    const switchboard = switchboardOf(machine);
    const bots = names.map((name) => {
      machine.clock.advance(1_000);
      const wire = new FakeWire();
      const connection = switchboard.connect(wire, 'bot');
      const send = (method: string, params: object) =>
        switchboard.receive(connection, jsonRpc.request(1, method, params));
      return { name, wire, connection, send };
    });
    const rooms: string[] = [];
    return {
      machine,
      switchboard,
      bot: (name: string) => bots.find((one) => one.name === name) as (typeof bots)[number],
      makeRoom: (most = names.length) => {
        switchboard.makeRoom('bot', most, (room) => rooms.push(room));
        return rooms.at(-1);
      },
      closed: () => bots.filter(({ wire }) => wire.isDestroyed).map(({ name }) => name),
    };
  }

  test('costs no other one while there is some', async () => {
    const { makeRoom, closed } = await crowd('A', 'B');
    expect(makeRoom(3)).toBe('free');
    expect(closed()).toEqual([]);
  });

  test('is made by the one that was used least recently, and each makes room once', async () => {
    const { machine, bot, makeRoom, closed, switchboard } = await crowd('A', 'B', 'C');
    machine.clock.advance(1_000);
    bot('A').send('status', {});
    expect(makeRoom()).toBe('made');
    expect(closed()).toEqual(['B']);
    expect(makeRoom()).toBe('free');
    switchboard.connect(new FakeWire(), 'bot');
    expect(makeRoom()).toBe('made');
    expect(closed()).toEqual(['B', 'C']);
    switchboard.closed(bot('B').connection);
  });

  test('is never made by one that holds, waits, or has not taken its answers, nor by one of the other socket', async () => {
    const { machine, bot, makeRoom, closed, switchboard } = await crowd('holds', 'waits', 'deaf');
    const operator = new FakeWire();
    switchboard.connect(operator, 'admin');
    bot('holds').send('acquire', { account: 'A', ttlMs: 600_000 });
    bot('waits').send('acquire', { account: 'A', waitMs: 600_000 });
    bot('deaf').wire.unsentBytes = 1;
    await settled();
    machine.clock.advance(60_000);
    expect(makeRoom()).toBe('none');
    expect(closed()).toEqual([]);
    expect(operator.isDestroyed).toBe(false);
    bot('deaf').wire.unsentBytes = 0;
    expect(makeRoom()).toBe('made');
    expect(closed()).toEqual(['deaf']);
  });

  test('is not made by one whose lease has just ended, but by one that was idle before', async () => {
    const { machine, bot, makeRoom, closed } = await crowd('held', 'idle');
    bot('held').send('acquire', { account: 'A', ttlMs: 60_000 });
    await settled();
    machine.clock.advance(30_000);
    bot('idle').send('status', {});
    machine.clock.advance(30_000);
    await settled();
    expect(bot('held').wire.text).toContain('revoked');
    makeRoom();
    expect(closed()).toEqual(['idle']);
  });

  test('is looked for only once what had come in was read', async () => {
    const machine = await Machine.started();
    const later: (() => void)[] = [];
    const switchboard = switchboardOf(machine, (done) => later.push(done));
    const wire = new FakeWire();
    const connection = switchboard.connect(wire, 'bot');
    const rooms: string[] = [];
    switchboard.makeRoom('bot', 1, (room) => rooms.push(room));
    switchboard.receive(connection, jsonRpc.request(1, 'acquire', { account: 'A' }));
    for (const done of later.splice(0)) done();
    expect(rooms).toEqual(['none']);
    expect(wire.isDestroyed).toBe(false);
  });
});
