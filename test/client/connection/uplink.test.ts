import { expect, test } from 'vitest';
import type { Greeting } from '../../../src/client/connection/answers.ts';
import { type Need, Uplink, type UplinkEvents } from '../../../src/client/connection/uplink.ts';
import type { NoncedError } from '../../../src/errors.ts';
import type { Message } from '../../../src/protocol/messages.ts';
import { settle } from '../../fixtures/virtual-clock.ts';
import { FakeDaemon } from '../fake-daemon.ts';

/** What an uplink reports, in order, for a test that says how much a connection is wanted. */
class Listener implements UplinkEvents {
  wanted: Need = 'none';
  readonly told: string[] = [];
  #lastId = 0;

  need(): Need {
    return this.wanted;
  }

  newId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  up({ instance }: Greeting): void {
    this.told.push(`up ${instance}`);
  }

  message({ kind }: Message): void {
    this.told.push(kind);
  }

  written(): void {}

  down({ message }: Error): void {
    this.told.push(`down ${message}`);
  }

  replaced({ code }: NoncedError): void {
    this.told.push(`replaced ${code}`);
  }
}

function uplink(wanted: Need) {
  const daemon = new FakeDaemon();
  const listener = new Listener();
  const up = new Uplink(daemon.ports(), listener);
  listener.wanted = wanted;
  up.reconsider();
  return { daemon, listener, up, clock: daemon.clock };
}

test('a connection is made when it is wanted and not before, and is of use once the daemon has greeted', async () => {
  const { daemon, listener, up } = uplink('none');
  expect(daemon.dialled).toEqual([]);
  listener.wanted = 'busy';
  up.reconsider();
  await settle();
  expect(up.connection).toBeUndefined();
  daemon.greet();
  expect(up.connection).toBeDefined();
  expect(listener.told).toEqual(['up one']);
});

test('a connection that breaks is made again while it is wanted, and one that is not wanted is left', async () => {
  const { daemon, listener, up, clock } = uplink('busy');
  await settle();
  daemon.greet();
  daemon.line.break('ECONNRESET');
  expect(up.connection).toBeUndefined();
  await clock.advanceSettled(5);
  daemon.greet();
  expect(up.connection).toBeDefined();
  listener.wanted = 'none';
  daemon.line.break('ECONNRESET');
  await clock.advanceSettled(60_000);
  expect(listener.told).toEqual(['up one', 'down ECONNRESET', 'up one', 'down ECONNRESET']);
  expect(daemon.dialled).toHaveLength(2);
});

test('it rests for up to a second while only a release is owed, and never over 250 ms while something waits', async () => {
  const { daemon, listener, up, clock } = uplink('owed');
  daemon.state = 'ENOENT';
  await settle();
  daemon.line.break('ENOENT');
  await clock.advanceSettled(5_000);
  const slow = daemon.dialled.length;
  listener.wanted = 'busy';
  up.reconsider();
  expect(clock.nextInMs).toBeLessThanOrEqual(250);
  await clock.advanceSettled(5_000);
  expect(daemon.dialled.length - slow).toBeGreaterThanOrEqual(20);
  listener.wanted = 'none';
  up.reconsider();
  expect(clock.timers).toBe(0);
});

test('a client that meets another instance tells it which one it expected, and then closes the connection', async () => {
  const { daemon, clock } = uplink('busy');
  await settle();
  daemon.greet();
  daemon.greeting = { ...daemon.greeting, instance: 'two' };
  daemon.line.break();
  await clock.advanceSettled(5);
  daemon.greet();
  expect(daemon.line.open).toBe(false);
  expect(await daemon.hear('refuse')).toMatchObject({ line: daemon.line, params: { expected: 'one' } });
});

test('a daemon of the first release is not told, because it does not know the method', async () => {
  const { daemon, clock, listener } = uplink('busy');
  await settle();
  daemon.greet();
  daemon.greeting = { ...daemon.greeting, instance: 'two', minor: 0 };
  daemon.line.break();
  await clock.advanceSettled(5);
  daemon.greet();
  expect(listener.told.at(-1)).toBe('replaced UNAVAILABLE');
  expect(daemon.line.open).toBe(false);
  expect(daemon.methods()).not.toContain('refuse');
});

test('another instance is reported once, and no further connection is made', async () => {
  const { daemon, listener, up, clock } = uplink('busy');
  await settle();
  daemon.greet();
  daemon.greeting = { ...daemon.greeting, instance: 'two' };
  daemon.line.break();
  await clock.advanceSettled(5);
  daemon.greet();
  expect(listener.told.at(-1)).toBe('replaced UNAVAILABLE');
  expect(daemon.line.open).toBe(false);
  up.reconsider();
  await clock.advanceSettled(60_000);
  expect(daemon.dialled).toHaveLength(2);
  expect(clock.timers).toBe(0);
});
