import { type ActName, mustRecover, type PlayedAct } from './acts.ts';
import type { WitnessedCall } from './exchange-witness.ts';
import { type ActReport, type Evidence, isWithin, type Sins } from './judge.ts';

/** Something that would hurt on a real exchange. */
export interface Finding {
  readonly kind: string;
  readonly count: number;
  /** The acts in which it happened, in their order. */
  readonly acts: readonly ActName[];
  readonly fact: string;
  readonly fix: string;
}

type Told = readonly [what: 'call' | 'order', fact: string, fix: string];

const SINS: Readonly<Record<keyof Sins, Told>> = {
  foreign: [
    'call',
    'with a key that is not of the rehearsal, or with a wrong signature',
    'Let the bot take its key from KRAKEN_KEY and KRAKEN_SECRET, or from the file named by KRAKEN_KEYS, which has the labels too.',
  ],
  withoutGrant: [
    'call',
    'with a nonce that the daemon never handed out',
    'Some program makes its own nonces. Sign each call with grant.nonce, inside exclusive(), and switch off the nonces of the SDK (see its adapter). Run a program that you cannot change under nonced exec --own-clock, and then add --own-clock here too.',
  ],
  rejectedNonces: [
    'call',
    'rejected for the nonce',
    'Make every call of a key through the daemon, inside the lease that its nonce came with, and end it before the lease ends.',
  ],
  nonceTwice: [
    'call',
    'with a nonce that an earlier call had already carried',
    'Switch off the retries of the HTTP library and of the SDK. A retry must take a new nonce: await grant.next().',
  ],
  ordersTwice: [
    'order',
    'sent again although the first may have been carried out',
    'After a lost answer, look for the order by its cl_ord_id (OpenOrders, then ClosedOrders) before you send it again.',
  ],
  overlaps: [
    'call',
    'made while another call of the lane was under way',
    'Make the call inside exclusive(), pass grant.signal to it, and make ttlMs longer than its time limit.',
  ],
  endless: [
    'call',
    'that waited for an answer without a time limit',
    'Give every call a time limit that covers the body too: pass grant.signal to it, or set one that is shorter than ttlMs.',
  ],
  calledOn: [
    'call',
    'made although the exchange had said that the key is locked out',
    'Release the lease with the outcome locked-out: the daemon then holds the calls back. More calls make a lockout longer.',
  ],
};

export function findingsOf(evidence: Evidence, sins: Sins, reports: readonly ActReport[]): Finding[] {
  const { acts } = evidence;
  const found = (Object.keys(SINS) as (keyof Sins)[]).flatMap((kind) => {
    const [what, fact, fix] = SINS[kind];
    const guilty = sins[kind];
    const [first] = guilty;
    if (first === undefined) return [];
    return [
      {
        kind,
        count: guilty.length,
        acts: actsOf(guilty, acts),
        fact: `${numberOf(guilty.length, what)} ${fact}; the first: ${nameOf(first)}`,
        fix,
      },
    ];
  });
  return [...noCalls(evidence), ...found, ...crashes(evidence), ...unrecovered(reports)];
}

/** Returns what is worth knowing about a rehearsal and is not wrong. */
export function notesOf({ calls, ends, acts }: Evidence, reports: readonly ActReport[]): string[] {
  const notes: string[] = [];
  const unknown = [...new Set(calls.filter(({ verdict }) => verdict === 'unknown-method').map(({ method }) => method))];
  if (unknown.length > 0)
    notes.push(`the exchange of the rehearsal does not know these methods: ${unknown.join(', ')}`);
  if (calls.length > 0 && calls.every(({ order }) => order === undefined)) {
    notes.push('the bot placed no order, so it was not seen what it does when the answer to one is lost');
  }
  const missed = reports.filter(({ happened }) => !happened).map(({ act }) => act);
  if (missed.length > 0)
    notes.push(`no call came that could go wrong in: ${missed.join(', ')}; give it longer (--limit)`);
  const done = ends.filter(({ code }) => code === 0).length;
  if (done > 0 && acts.length > 0) notes.push(`the bot ended ${numberOf(done, 'time')} with exit code 0`);
  return notes;
}

function noCalls({ calls, handedOut: { grants } }: Evidence): Finding[] {
  if (calls.length > 0) return [];
  const fact = 'no call of the bot reached the exchange of the rehearsal';
  return [
    {
      kind: 'no-call',
      count: 1,
      acts: [],
      fact:
        grants === 0 ? fact : `${fact}, although it was granted ${numberOf(grants, 'lease')}: ITS CALLS WENT ELSEWHERE`,
      fix: 'Let it take the address of the exchange from NONCED_REHEARSAL_URL or KRAKEN_URL. A bot with a fixed address, or one from a file, calls the real exchange.',
    },
  ];
}

function crashes({ ends, acts, isGone }: Evidence): Finding[] {
  // A bot that has done its work and is started again by its supervisor ends with 0.
  const crashed = ends.filter(({ code }) => isGone || code !== 0);
  if (crashed.length === 0) return [];
  const codes = [...new Set(crashed.map(({ code }) => (typeof code === 'number' ? `exit code ${code}` : code)))];
  return [
    {
      kind: 'ended',
      count: crashed.length,
      acts: namesOf(acts, ({ startMs, endMs }) => crashed.some(({ atMs }) => startMs <= atMs && atMs < endMs)),
      fact: `the bot ended ${numberOf(crashed.length, 'time')} by itself (${codes.join(', ')})`,
      fix: 'Let it survive errors: a missing answer, HTTP 503 and UNAVAILABLE pass. The client reconnects by itself.',
    },
  ];
}

function unrecovered(reports: readonly ActReport[]): Finding[] {
  const lost = reports.filter(({ act, happened, recoveredMs }) => mustRecover(act) && happened && recoveredMs === null);
  if (lost.length === 0) return [];
  return [
    {
      kind: 'not-recovered',
      count: lost.length,
      acts: lost.map(({ act }) => act),
      fact: `no call was accepted again after ${numberOf(lost.length, 'act')}`,
      fix: 'Find out from its log what it waits for: a call without a time limit, or an error after which it does not try again.',
    },
  ];
}

function actsOf(calls: readonly WitnessedCall[], acts: readonly PlayedAct[]): ActName[] {
  return namesOf(acts, (act) => calls.some((call) => isWithin(call, act)));
}

function namesOf(acts: readonly PlayedAct[], fits: (act: PlayedAct) => boolean): ActName[] {
  return acts.filter(fits).map(({ name }) => name);
}

function nameOf({ method, account, nonce, order }: WitnessedCall): string {
  const whose = account === undefined ? '' : ` of ${account}`;
  const which = order?.reference === undefined ? '' : ` with ${order.reference}`;
  return `${method}${whose}${which}${nonce === undefined ? '' : `, nonce ${nonce}`}`;
}

function numberOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
