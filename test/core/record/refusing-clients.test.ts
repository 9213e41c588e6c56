import { expect, test } from 'vitest';
import { RefusingClients } from '../../../src/core/record/refusing-clients.ts';

const OTHER = 'b'.repeat(32);
const HOUR_MS = 3_600_000;

function refusing(...pids: readonly number[]): RefusingClients {
  const clients = new RefusingClients();
  for (const pid of pids) clients.refused({ name: 'bot', pid }, OTHER, 0);
  return clients;
}

const pidsOf = (clients: RefusingClients, nowMs = 0) => [...clients.lately(nowMs)].map(({ pid }) => pid);

test('a client that refuses twice is one, with the instance that it told last', () => {
  const clients = new RefusingClients();
  expect(clients.refused({ name: 'bot', pid: 1 }, OTHER, 0)).toBe(true);
  expect(clients.refused({ name: 'bot', pid: 1 }, 'c'.repeat(32), 5)).toBe(false);
  expect([...clients.lately(5)]).toEqual([{ name: 'bot', pid: 1, expected: 'c'.repeat(32), sinceMs: 5 }]);
});

test('it is forgotten after an hour, and at once when it uses the daemon', () => {
  const clients = refusing(1, 2);
  clients.accepted({ name: 'bot', pid: 2 });
  expect(pidsOf(clients, HOUR_MS)).toEqual([1]);
  expect(pidsOf(clients, HOUR_MS + 1)).toEqual([]);
});

test('a restarted bot has another pid: it takes the place of one process of its name, however often it connects', () => {
  const clients = refusing(1, 2, 3);
  for (let times = 0; times < 3; times += 1) clients.accepted({ name: 'bot', pid: 4 });
  expect(pidsOf(clients)).toEqual([2, 3]);
  clients.accepted({ name: 'bot', pid: 5 });
  expect(pidsOf(clients)).toEqual([3]);
});

test('a client of another name, or without one, takes the place of none', () => {
  const clients = refusing(1);
  clients.refused({ name: undefined, pid: 2 }, OTHER, 0);
  clients.accepted({ name: 'other', pid: 3 });
  clients.accepted({ name: undefined, pid: 3 });
  expect(pidsOf(clients)).toEqual([1, 2]);
});

test('at most 64 are remembered, the first ones, and there is room again after an hour', () => {
  const clients = refusing(...Array.from({ length: 1_000 }, (_, index) => index + 1));
  expect(pidsOf(clients)).toEqual(Array.from({ length: 64 }, (_, index) => index + 1));
  expect(clients.refused({ name: 'bot', pid: 1_001 }, OTHER, 0)).toBe(false);
  clients.refused({ name: 'late', pid: 7 }, OTHER, HOUR_MS + 1);
  expect(pidsOf(clients, HOUR_MS + 1)).toEqual([7]);
});
