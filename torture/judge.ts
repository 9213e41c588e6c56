import type { Told } from './history.ts';
import { type Draw, Series } from './series.ts';
import { laneOf, sequenceOf, unitOf } from './terms.ts';

/**
 * How long the lane of a holder that does not come back after a restart stays closed, minus what clocks may be read
 * late.
 */
const RETURN_MS = 2_000 - 300;
/** An urgent caller may end a background lease from then on. */
const PREEMPT_MS = 3_000;
/** A client counts a lease as over before its time: by a tenth of it, and at most by this. */
const LONGEST_MARGIN_MS = 1_000;
const SLACK_MS = 20;
const RESERVE_MS = 5_000;
const KEPT_ENTRIES = 30_000;
const KEPT_GRANTS = 300;
const KEPT_MS = 10_000;
const EXTRACT_LINES = 40;

export interface Violation {
  readonly invariant: string;
  readonly what: string;
  /** The entries that show it, and what happened to the daemon around them, in order. */
  readonly extract: readonly Told[];
}

/** A lease, as its holder knows it. */
interface Held {
  readonly draw: Draw;
  readonly token: bigint;
  readonly preemptableAt: number;
  /** The epoch of the last daemon that is known to have had it. */
  epoch: number;
  endsAt: number;
  over: boolean;
}

/**
 * Judges the merged histories of a run. It knows what was sent and when, by a clock that all processes share, and
 * shares no code with the daemon. Only what is certain from outside counts: a lease is live from when it came until its
 * holder gives it up, dies, or could have lost it rightly.
 */
export class Judge {
  readonly violations: Violation[] = [];
  readonly refusals = new Map<string, number>();
  readonly counts = { grants: 0, nonces: 0, asked: 0, answered: 0, intrusions: 0, states: 0, lost: 0 };
  #series = new Map<string, Series>();
  readonly #leases = new Map<string, Held>();
  readonly #grants: Held[] = [];
  readonly #kept: Told[] = [];
  /** The policies that may be in force, each from when it was first asked for. */
  #policies: { readonly policy: string; readonly from: number; until: number }[] = [
    { policy: 'global', from: 0, until: Number.POSITIVE_INFINITY },
  ];
  readonly #paused = new Map<string, number>();
  /** When the daemon of each epoch was last certainly alive. */
  readonly #aliveAt = new Map<number, number>();
  readonly #endangered = new Map<number, number>();
  #highestEpoch = { epoch: 0, t: 0 };
  readonly #epochsReceived: { readonly t: number; readonly epoch: number; readonly draw: Draw }[] = [];
  #state: Told<'state'> | undefined;
  /** The last state whose ceilings only a clean stop may lower. */
  #floor: Told<'state'> | undefined;
  readonly #stopping = new Set<number>();
  #highestWallMs = 0;
  #clock = { t: 0, wallMs: 0 };
  #restarts = 0;

  /** Takes in an entry. Must be called in the order of time. */
  hear(told: Told): void {
    this.#kept.push(told);
    if (this.#kept.length > 2 * KEPT_ENTRIES) this.#kept.splice(0, KEPT_ENTRIES);
    switch (told.k) {
      case 'asked':
        this.counts.asked += 1;
        return;
      case 'refused':
        this.counts.answered += 1;
        this.refusals.set(told.code, (this.refusals.get(told.code) ?? 0) + 1);
        return;
      case 'drawn':
        this.#drawn(told);
        return;
      case 'releasing':
        this.#end(told.token);
        return;
      case 'released':
        if (!told.wasLive) this.#endedEarly(told, told.token, told.epoch, 'was over when it was released');
        return;
      case 'lost':
        this.counts.lost += 1;
        this.#endedEarly(told, told.token, told.epoch, `was lost (${told.why})`);
        this.#end(told.token);
        return;
      case 'confirmed':
        this.#confirmed(told.token, told.epoch, told.endsAt);
        return;
      case 'intruded':
        this.counts.intrusions += 1;
        if (told.code !== 'LEASE_LOST')
          this.#report('I5', `${told.what} of ${told.token} by a stranger: ${told.code}`, told);
        return;
      case 'client-ends':
        for (const held of this.#leases.values()) if (held.draw.who === told.client) held.over = true;
        return;
      case 'switching':
        this.#policies.push({ policy: told.policy, from: told.t, until: Number.POSITIVE_INFINITY });
        return;
      case 'switched':
        for (const one of this.#policies) if (one.policy !== told.policy) one.until = Math.min(one.until, told.t);
        this.#policies = this.#policies.filter(({ until }) => until > told.t - 60_000);
        return;
      case 'paused':
        this.#paused.set(told.account, told.t);
        return;
      case 'resuming':
        this.#paused.delete(told.account);
        return;
      case 'signal':
        this.#endangered.set(
          this.#highestEpoch.epoch,
          Math.min(told.t, this.#endangered.get(this.#highestEpoch.epoch) ?? told.t),
        );
        if (told.signal === 'SIGTERM') {
          this.#stopping.add(told.pid);
          this.#floor = undefined;
        }
        return;
      case 'ended':
        this.#stopping.delete(told.pid);
        this.#restarts += 1;
        return;
      case 'clock':
        this.#highestWallMs = this.#wallMs(told.t);
        this.#clock = told;
        return;
      case 'state':
        this.#stateRead(told);
        return;
      case 'found':
        this.#report(told.invariant, told.what, told);
        return;
    }
  }

  /** How many requests have an unknown end, because their processes were killed. */
  get unanswered(): number {
    return Math.max(0, this.counts.asked - this.counts.answered);
  }

  #drawn(draw: Draw): void {
    const { account, epoch, asked, t } = draw;
    this.counts.answered += 1;
    this.counts.nonces += draw.count;
    const first = BigInt(draw.nonce);
    const last = first + BigInt(draw.count) - 1n;
    const name = sequenceOf(account);
    this.#add(name, draw, first, last);
    this.#checkEpoch(draw);
    this.#checkFloor(name, draw, first);
    this.#checkLead(draw, last);
    const pausedAt = this.#paused.get(account);
    if (pausedAt !== undefined && asked > pausedAt)
      this.#report('pause', `${account} is paused and draws ${first}`, draw);
    this.#aliveAt.set(epoch, Math.max(asked, this.#aliveAt.get(epoch) ?? 0));
    if (draw.token === undefined) return;
    if (draw.kind === 'next') {
      this.#confirmed(draw.token, epoch, draw.endsAt ?? 0);
      return;
    }
    this.counts.grants += 1;
    const token = BigInt(draw.token);
    this.#add('tokens', draw, token, token);
    const preemptableAt = draw.priority === 'background' ? asked + PREEMPT_MS : Number.POSITIVE_INFINITY;
    const held: Held = { draw, token, preemptableAt, epoch, endsAt: draw.endsAt ?? t, over: false };
    this.#checkExclusive(held);
    this.#leases.set(draw.token, held);
    this.#grants.push(held);
    if (this.#grants.length > 2 * KEPT_GRANTS) this.#grants.splice(0, KEPT_GRANTS);
  }

  #add(name: string, draw: Draw, first: bigint, last: bigint): void {
    const series = this.#series.get(name) ?? new Series(name);
    this.#series.set(name, series);
    const clash = series.add(draw, first, last);
    if (clash !== undefined) this.#report(name === 'tokens' ? 'I5' : clash.invariant, clash.what, ...told(clash.draws));
  }

  /** Checks that no daemon answers a request that was sent after a later daemon had answered. */
  #checkEpoch(draw: Draw): void {
    const { epoch, asked, t } = draw;
    for (let at = this.#epochsReceived.length - 1; at >= 0; at -= 1) {
      const one = this.#epochsReceived[at];
      if (one === undefined || one.epoch <= epoch) break;
      if (one.t >= asked) continue;
      this.#report(
        'one daemon',
        `epoch ${epoch} answers although epoch ${one.epoch} has answered before`,
        ...told([one.draw, draw]),
      );
      break;
    }
    if (epoch <= this.#highestEpoch.epoch) return;
    this.#highestEpoch = { epoch, t };
    this.#epochsReceived.push({ t, epoch, draw });
  }

  /** I1: the successor of a daemon that was not stopped cleanly begins at the ceiling. */
  #checkFloor(name: string, draw: Draw, first: bigint): void {
    const state = this.#floor;
    if (state === undefined || draw.epoch <= state.epoch) return;
    const ceiling = BigInt(state.ceilings[name] ?? 0);
    if (first >= ceiling) return;
    this.#report(
      'I1',
      `${name}: epoch ${draw.epoch} gives ${first}, below the ceiling ${ceiling} of epoch ${state.epoch}`,
      state,
      draw,
    );
  }

  /** I10: no nonce is further ahead than the clock has been, except by one reserve. */
  #checkLead(draw: Draw, last: bigint): void {
    if (this.#clock.wallMs === 0) return;
    const unit = unitOf(draw.account);
    if (unit === 'counter') {
      const most = 10_000n + 4n * BigInt(this.counts.nonces + 1000 * this.unanswered) + BigInt(this.#restarts) * 4_000n;
      if (last > most)
        this.#report(
          'I10',
          `${last} was not reached by ${this.counts.nonces} nonces and ${this.#restarts} restarts`,
          draw,
        );
      return;
    }
    const perMs = unit === 'ns' ? 1_000_000n : 1n;
    const wallMs = Math.ceil(Math.max(this.#highestWallMs, this.#wallMs(draw.t)));
    // In milliseconds, use alone can be faster than the clock.
    const used =
      unit === 'ms' ? 4n * BigInt(this.counts.nonces + 1000 * this.unanswered) + BigInt(this.#restarts) * 4_000n : 0n;
    const most = BigInt(wallMs + RESERVE_MS + 1_000) * perMs + used;
    if (last > most) this.#report('I10', `${last} is ${(last - most) / perMs} ms above what time and use allow`, draw);
  }

  /** Returns the highest time that the daemon's clock has shown by then. */
  #wallMs(t: number): number {
    return Math.max(this.#highestWallMs, this.#clock.wallMs + t - this.#clock.t);
  }

  #stateRead(state: Told<'state'>): void {
    this.counts.states += 1;
    for (const [name, ceiling] of Object.entries(state.ceilings)) {
      const highest = this.#series.get(name === '#tokens' ? 'tokens' : name)?.highest;
      if (highest !== undefined && highest.last >= BigInt(ceiling)) {
        this.#report(
          'I1',
          `${name}: ${highest.last} had been sent while the ceiling on disk was ${ceiling}`,
          ...told([highest.draw]),
          state,
        );
      }
    }
    const before = this.#state;
    if (before !== undefined) {
      if (state.instance !== before.instance) this.#report('I9', 'the state is another one', before, state);
      if (state.pid === before.pid ? state.epoch !== before.epoch : state.epoch <= before.epoch) {
        this.#report(
          'I9',
          `epoch ${state.epoch} of pid ${state.pid} after ${before.epoch} of pid ${before.pid}`,
          before,
          state,
        );
      }
    }
    for (const [name, ceiling] of Object.entries(this.#floor?.ceilings ?? {})) {
      if (BigInt(state.ceilings[name] ?? 0) >= BigInt(ceiling) || this.#floor === undefined) continue;
      this.#report('I10', `${name}: the ceiling was lowered from ${ceiling}`, this.#floor, state);
    }
    this.#state = state;
    // A clean stop may lower a ceiling to what was used.
    this.#floor = this.#stopping.size > 0 ? undefined : state;
  }

  /** I4: no other lease of its lane may be live. */
  #checkExclusive(held: Held): void {
    for (const other of this.#leases.values()) {
      // A later entry may still say how it ended.
      if (Math.max(other.endsAt, other.draw.t) + KEPT_MS < held.draw.t) this.#leases.delete(other.draw.token ?? '');
      else if (other.token < held.token) this.#collision(other, held);
    }
    // A grant that was read late is earlier than others that have come, and perhaps gone, meanwhile.
    if (held.draw.askedOf !== held.epoch) return;
    for (const other of this.#grants) {
      if (other.token > held.token && other.draw.epoch === held.epoch && other.draw.askedOf === held.epoch)
        this.#collision(held, other);
    }
  }

  /** Checks that `earlier` had ended when `later` came. */
  #collision(earlier: Held, later: Held): void {
    if (earlier.over || !this.#mustShare(earlier, later)) return;
    const aliveAt = this.#aliveAt.get(earlier.epoch) ?? 0;
    const until = Math.min(
      earlier.endsAt,
      earlier.preemptableAt,
      later.draw.epoch > earlier.epoch ? aliveAt + RETURN_MS : Number.POSITIVE_INFINITY,
    );
    if (until - SLACK_MS <= later.draw.t) return;
    this.#report(
      'I4',
      `${later.draw.who} is granted ${later.draw.account} while ${earlier.draw.who} holds ${earlier.draw.account} for ${Math.round(until - later.draw.t)} ms more`,
      ...told([earlier.draw, later.draw]),
    );
  }

  /** Whether both are in one lane under every policy that may have been in force when the later one was granted. */
  #mustShare({ draw: earlier }: Held, { draw: later }: Held): boolean {
    return this.#policies
      .filter(({ from, until }) => from <= later.t && until >= later.asked)
      .every(({ policy }) => {
        const lane = laneOf(later.account, policy);
        return lane !== undefined && lane === laneOf(earlier.account, policy);
      });
  }

  #confirmed(token: string, epoch: number, endsAt: number): void {
    const held = this.#leases.get(token);
    if (held === undefined) return;
    held.epoch = Math.max(held.epoch, epoch);
    if (endsAt > 0) held.endsAt = endsAt;
  }

  #end(token: string): void {
    const held = this.#leases.get(token);
    if (held !== undefined) held.over = true;
  }

  /** I4, I7: checks that the daemon had a reason to end a lease before its time. */
  #endedEarly(entry: Told, token: string, epoch: number, how: string): void {
    const held = this.#leases.get(token);
    if (held === undefined || (held.over && entry.k === 'lost') || epoch < held.epoch || entry.t > held.preemptableAt)
      return;
    const margin = Math.min(LONGEST_MARGIN_MS, (held.endsAt - held.draw.asked) * 0.1) + SLACK_MS;
    const leftMs = held.endsAt - margin - entry.t;
    if (leftMs <= 0) return;
    const shown = [...told([held.draw]), entry];
    if (epoch > held.epoch) {
      // Its holder knows this from the next daemon, so it was back in time.
      const sinceMs = entry.t - (this.#aliveAt.get(held.epoch) ?? 0);
      if (sinceMs > RETURN_MS) return;
      this.#report(
        'I4',
        `the lease ${token} ${how} ${Math.round(sinceMs)} ms after its daemon had last answered`,
        ...shown,
      );
      return;
    }
    if (epoch !== held.draw.askedOf || (this.#endangered.get(epoch) ?? Number.POSITIVE_INFINITY) <= entry.t) return;
    this.#report('I7', `the lease ${token} ${how} ${Math.round(leftMs)} ms before its time`, ...shown);
  }

  #report(invariant: string, what: string, ...shown: readonly Told[]): void {
    if (this.violations.length >= 20) return;
    this.violations.push({ invariant, what, extract: this.#extract(shown) });
  }

  /** Returns the entries that show it and, between them, what happened to the daemon and to their leases. */
  #extract(shown: readonly Told[]): Told[] {
    const times = shown.flatMap((entry) => (entry.k === 'drawn' ? [entry.t, entry.asked] : [entry.t]));
    const [from, to] = [Math.min(...times) - 5, Math.max(...times) + 5];
    const tokens = new Set(
      shown.flatMap((entry) => ('token' in entry && entry.token !== undefined ? [entry.token] : [])),
    );
    const around = this.#kept.filter((entry) => {
      if (shown.includes(entry)) return true;
      if (entry.t < from || entry.t > to || entry.k === 'state') return false;
      return entry.who === 'torture' || ('token' in entry && tokens.has(entry.token ?? ''));
    });
    const all = [...shown.filter((entry) => !around.includes(entry)), ...around].sort((a, b) => a.t - b.t);
    if (all.length <= EXTRACT_LINES) return all;
    const must = all.filter((entry) => shown.includes(entry));
    return [...must, ...all.filter((entry) => !shown.includes(entry)).slice(must.length - EXTRACT_LINES)].sort(
      (a, b) => a.t - b.t,
    );
  }
}

function told(draws: readonly Draw[]): Told[] {
  return draws.map((draw) => draw as Told);
}
