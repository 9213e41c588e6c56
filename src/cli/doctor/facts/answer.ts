import { readGreeting, readStatus } from '../../../client/connection/answers.ts';
import { Connection } from '../../../client/connection/connection.ts';
import { dialUnixSocket } from '../../../client/connection/unix-socket.ts';
import { systemClock } from '../../../clock.ts';
import { systemErrorCode } from '../../../errors.ts';
import type { Message, StatusResult, WhyResult } from '../../../protocol/messages.ts';
import { msgpackRpc } from '../../../protocol/msgpack-rpc.ts';
import type { Unit } from '../../../terms.ts';

/** A daemon has answered. */
export interface Answered {
  readonly kind: 'answered';
  /** The time from the attempt to connect to the first answer. */
  readonly tookMs: number;
  readonly status: StatusResult;
  /** The accounts in use whose programs asked for another unit than that of their sequence. */
  readonly refusedUnits: readonly RefusedUnits[];
}

export interface RefusedUnits {
  readonly account: string;
  readonly unit: Unit;
  readonly asked: { readonly count: number; readonly unit: Unit };
}

/** The result of asking a socket. */
export type Answer =
  | Answered
  /** The kernel refused the connection. */
  | { readonly kind: 'refused'; readonly code: string }
  /** The connection was made, but no answer came. */
  | { readonly kind: 'silent'; readonly afterMs: number }
  /** nonced refused to answer. */
  | { readonly kind: 'declined'; readonly code: string; readonly message: string }
  /** What listens there is not nonced. */
  | { readonly kind: 'stranger' };

export interface Question {
  readonly path: string;
  readonly withinMs: number;
}

/** An optional list may be missing: an older daemon does not have it. */
type Shape = string | readonly [Shape, 'optional'?] | { readonly [field: string]: Shape };

/** The fields of a status that are judged. Any program may listen there, and its answer must not break the judge. */
const JUDGED: Shape = {
  version: 'string',
  instance: 'string',
  pid: 'number',
  totals: { accounts: 'number', leases: 'number', waiting: 'number' },
  sequences: [{ name: 'string', unit: 'string', leadMs: 'number|null' }],
  paused: ['string'],
  exchanges: [
    { exchange: 'string', downForMs: 'number|null', heldBack: [{ name: 'string|null', forMs: 'number' }, 'optional'] },
  ],
  accounts: [{ account: 'string', breaker: 'object|null' }],
  lanes: [{ lane: 'string', waiting: 'number', oldestWaitMs: 'number' }],
  refusals: [{ code: 'string', count: 'number', agoMs: 'number', longestWaitMs: 'number' }, 'optional'],
  refusingClients: [{ name: 'string|null', expected: 'string', forMs: 'number' }, 'optional'],
  durability: { state: 'string' },
  clock: { state: 'string', offMs: 'number' },
};

function fits(value: unknown, shape: Shape): boolean {
  if (typeof shape === 'string') return shape.split('|').includes(value === null ? 'null' : typeof value);
  if (isList(shape)) {
    const [of, optional] = shape;
    return Array.isArray(value) ? value.every((item) => fits(item, of)) : value === undefined && optional !== undefined;
  }
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(shape).every(([field, of]) => fits((value as Record<string, unknown>)[field], of));
}

function isList(shape: Shape): shape is readonly [Shape, 'optional'?] {
  return Array.isArray(shape);
}

const HELLO_ID = 1;
const STATUS_ID = 2;
const FIRST_WHY_ID = 3;

/** Asks a socket who is there and how it is doing. Draws no nonce. Never rejects. */
export function answerFacts({ path, withinMs }: Question): Promise<Answer> {
  const clock = systemClock();
  const startMs = clock.monotonicMs();
  return new Promise((resolve) => {
    let tookMs: number | undefined;
    let status: StatusResult | undefined;
    const whys: WhyResult[] = [];
    let unanswered = 0;

    const settle = (answer: Answer) => {
      timer.cancel();
      connection.destroy();
      resolve(answer);
    };
    const settleAnswered = () => {
      if (status === undefined || tookMs === undefined) return;
      settle({ kind: 'answered', tookMs, status, refusedUnits: whys.flatMap(refusedIn) });
    };
    const message = (heard: Message) => {
      tookMs ??= clock.monotonicMs() - startMs;
      if (heard.kind === 'error' && status === undefined) {
        settle({ kind: 'declined', code: heard.error.code, message: heard.error.message });
      } else if (heard.kind === 'answer' && heard.id === HELLO_ID) {
        if (readGreeting(heard.result) === undefined) settle({ kind: 'stranger' });
      } else if (heard.kind === 'answer' && heard.id === STATUS_ID) {
        status = readStatus(heard.result);
        if (status === undefined || !fits(status, JUDGED)) {
          settle({ kind: 'stranger' });
          return;
        }
        const accounts = status.accounts.map(({ account }) => account);
        unanswered = accounts.length;
        accounts.forEach((account, index) => {
          connection.send(msgpackRpc.request(FIRST_WHY_ID + index, 'why', { account }));
        });
        if (unanswered === 0) settleAnswered();
      } else if (heard.kind === 'answer' || heard.kind === 'error') {
        if (heard.kind === 'answer') whys.push(heard.result as WhyResult);
        unanswered -= 1;
        if (unanswered === 0) settleAnswered();
      }
    };
    const broken = (reason: Error | undefined) => {
      const code = systemErrorCode(reason);
      settle(code === undefined || tookMs !== undefined ? { kind: 'stranger' } : { kind: 'refused', code });
    };
    const timer = clock.after(withinMs, () => {
      settle({ kind: 'silent', afterMs: withinMs });
    });
    const connection = new Connection(dialUnixSocket, path, msgpackRpc, { message, broken });
    connection.send(msgpackRpc.request(HELLO_ID, 'hello', { name: 'nonced doctor', pid: process.pid }));
    connection.send(msgpackRpc.request(STATUS_ID, 'status', {}));
  });
}

function refusedIn({ account, unit, refusedUnits }: WhyResult): RefusedUnits[] {
  // An older daemon does not report it.
  return refusedUnits ? [{ account, unit, asked: refusedUnits }] : [];
}
