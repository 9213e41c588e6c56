import type { ExclusiveOptions, Grant } from '../src/client/api.ts';
import { Client } from '../src/client/client.ts';
import { countingSleep } from '../src/clock.ts';
import { NoncedError } from '../src/errors.ts';
import { msgpackRpc } from '../src/protocol/msgpack-rpc.ts';
import type { Outcome } from '../src/terms.ts';
import { type Exchange, NoAnswer, RejectedNonce } from './exchange.ts';
import type { Host } from './host.ts';
import { RUNTIME_DIR } from './memory.ts';
import { Random } from './random.ts';
import { RawPeer } from './raw-peer.ts';
import type { Deed, Step, Wish } from './scenario.ts';
import { Process } from './world.ts';

type Of<Kind extends Step['kind']> = Extract<Step, { readonly kind: Kind }>;

const BY_THE_LIBRARY: ReadonlySet<Step['kind']> = new Set([
  'exclusive',
  'rush',
  'siege',
  'hold',
  'cancel',
  'nonce',
  'status',
]);

/** Whether a bot must live with the error. Anything else that its library throws is a defect. */
function isExpected(error: unknown): boolean {
  return error instanceof NoncedError || error instanceof RejectedNonce || error instanceof NoAnswer;
}

/** A program that trades with the real client library. At times it speaks the protocol by itself, or misbehaves. */
export class Bot {
  readonly #host: Host;
  readonly #exchange: Exchange;
  readonly #number: number;
  readonly #random: Random;
  #process: Process;
  #client: Promise<Client> | undefined;
  #lives = 0;
  readonly #unsettled = new Set<Step>();
  /** Called for a defect of the library that this bot has met. */
  readonly onDefect: (error: unknown) => void;

  constructor(host: Host, exchange: Exchange, number: number, seed: number, onDefect: (error: unknown) => void) {
    this.#host = host;
    this.#exchange = exchange;
    this.#number = number;
    this.#random = new Random(seed, 100 + number);
    this.#process = this.#born();
    this.onDefect = onDefect;
    host.onRestart.push(() => this.crash(0));
  }

  get process(): Process {
    return this.#process;
  }

  /** Begins what the step says. */
  perform(step: Step): void {
    if (!this.#process.isAlive) return;
    this.#process.wake('input', () => {
      const process = this.#process;
      if (BY_THE_LIBRARY.has(step.kind)) this.#unsettled.add(step);
      this.#do(step)
        .catch((error: unknown) => {
          if (process.isAlive && !isExpected(error)) this.onDefect(error);
        })
        .finally(() => this.#unsettled.delete(step));
    });
  }

  /** The requests to its library that have not settled yet. */
  get unsettled(): Iterable<Step> {
    return this.#unsettled;
  }

  crash(downMs: number): void {
    if (!this.#process.isAlive) return;
    this.#unsettled.clear();
    this.#host.history.note(`${this.#process.name} crashes`);
    this.#process.die();
    this.#client = undefined;
    this.#host.world.after(downMs, () => {
      // With the power off nothing starts.
      if (this.#host.isOff) this.#host.world.after(1_000, () => this.#reborn());
      else this.#reborn();
    });
  }

  stall(ms: number): void {
    const process = this.#process;
    process.stop();
    this.#host.world.after(ms, () => process.continue());
  }

  #reborn(): void {
    if (!this.#process.isAlive) this.#process = this.#born();
  }

  #born(): Process {
    this.#lives += 1;
    return new Process(`bot ${this.#number}.${this.#lives}`, this.#host.world, this.#host.clock);
  }

  async #do(step: Step): Promise<void> {
    switch (step.kind) {
      case 'exclusive':
        await this.#exclusive(step);
        break;
      case 'rush':
        for (let left = step.times; left > 0; left--)
          await this.#exclusive({ ...step, kind: 'exclusive', nested: false });
        break;
      case 'siege':
        await this.#siege(step);
        break;
      case 'hold':
        await this.#hold(step);
        break;
      case 'cancel':
        await this.#cancel(step);
        break;
      case 'nonce':
        await (await this.#connected()).nonce({ account: step.account, count: step.count, waitMs: 5_000 });
        break;
      case 'status':
        await (await this.#connected()).status();
        break;
      case 'renewer':
        await this.#renewer(step);
        break;
      case 'raw-cancel':
        await this.#rawCancel(step);
        break;
      case 'twice': {
        const peer = this.#raw('msgpack');
        peer.request('acquire', wishOf(step), 7);
        peer.request('acquire', wishOf(step), 7);
        await this.#process.sleep(step.callMs);
        peer.close();
        break;
      }
      case 'leave': {
        const peer = this.#raw('msgpack');
        peer.request('acquire', wishOf(step));
        peer.request('nonce', { account: step.account });
        await this.#process.sleep(step.afterMs);
        if (step.how === 'close') peer.close();
        else peer.halfClose();
        break;
      }
      case 'steal':
        await this.#steal(step);
        break;
      case 'garbage': {
        const peer = this.#raw('msgpack');
        peer.bytes(Buffer.alloc(step.bytes, 0xc1));
        await this.#process.sleep(1_000);
        peer.close();
        break;
      }
      case 'half': {
        const peer = this.#raw('msgpack');
        const whole = msgpackRpc.request(1, 'acquire', { account: 'MASTER' });
        peer.bytes(whole.subarray(0, 1 + this.#random.below(whole.length - 1)));
        await this.#process.sleep(2_000);
        peer.close();
        break;
      }
      case 'json': {
        const peer = this.#raw('json');
        const granted = await peer.request('acquire', wishOf(step));
        await this.#process.sleep(step.callMs);
        if (granted.kind === 'answer') await peer.request('release', { token: granted.result['token'], outcome: 'ok' });
        peer.close();
        break;
      }
    }
  }

  /** Returns the library's client, connected if it is not. */
  #connected(): Promise<Client> {
    this.#client ??= this.#connect();
    return this.#client;
  }

  async #connect(): Promise<Client> {
    const process = this.#process;
    const client = new Client({
      dial: (_path, events) => this.#host.network.dial(process, 'bot', events),
      find: () => ({ path: `${RUNTIME_DIR}/nonced.sock`, ownDirectory: undefined }),
      trust: () => {},
      codec: msgpackRpc,
      clock: countingSleep(process),
      random: () => this.#random.fraction(),
      introduction: { name: process.name, pid: 1 + this.#number, session: this.#session() },
      connectTimeoutMs: 5_000,
    });
    try {
      await client.open(undefined);
      return client;
    } catch (error) {
      if (this.#process === process) this.#client = undefined;
      throw error;
    }
  }

  #session(): string {
    return [0, 0, 0, 0].map(() => this.#random.next().toString(16).padStart(8, '0')).join('');
  }

  #raw(encoding: 'msgpack' | 'json'): RawPeer {
    return new RawPeer(this.#host.network, this.#process, 'bot', encoding);
  }

  async #exclusive(step: Of<'exclusive'>): Promise<void> {
    const client = await this.#connected();
    const options: ExclusiveOptions = {
      ...optionsOf(step),
      ...(step.maxHoldMs === undefined ? {} : { maxHoldMs: step.maxHoldMs }),
      outcome: (end) => (end.ok ? 'ok' : outcomeOf(end.error)),
    };
    const wantedAtMs = this.#host.clock.tellableMs();
    await client.exclusive(options, async (grant) => {
      this.#host.checker.callBegun(this.#host.clock.tellableMs() - wantedAtMs, step.maxAgeMs);
      await this.#call(grant, grant.nonce, grant.account, step.callMs);
      if (!step.nested) return;
      await client.exclusive({ account: step.account, waitMs: 2_000, outcome: options.outcome }, (inner) =>
        this.#call(inner, inner.nonce, inner.account, step.callMs / 2),
      );
    });
  }

  /** Makes one call that can wait, and three streams of urgent ones. */
  async #siege(step: Of<'siege'>): Promise<void> {
    const storm = async (): Promise<void> => {
      const urgent = { ...step, kind: 'exclusive', nested: false, priority: 'urgent', count: 1, cost: 0 } as const;
      for (let left = step.times; left > 0; left--) await this.#exclusive(urgent);
    };
    const patient = this.#exclusive({ ...step, kind: 'exclusive', nested: false, callMs: 20 });
    const ends = await Promise.allSettled([storm(), storm(), storm(), patient]);
    for (const end of ends) if (end.status === 'rejected' && !isExpected(end.reason)) throw end.reason;
  }

  async #hold(step: Of<'hold'>): Promise<void> {
    const client = await this.#connected();
    const wantedAtMs = this.#host.clock.tellableMs();
    const grant = await client.acquire(optionsOf(step));
    this.#host.checker.callBegun(this.#host.clock.tellableMs() - wantedAtMs, step.maxAgeMs);
    let outcome: Outcome = 'ok';
    try {
      let unused: bigint | undefined = grant.nonce;
      for (const deed of step.deeds) {
        // Each nonce is sent once.
        if (deed === 'call' && unused === undefined) unused = await grant.next({ cost: 1 });
        if (deed === 'call' && unused !== undefined) await this.#call(grant, unused, grant.account, step.callMs);
        else await this.#deed(deed, grant, step);
        if (deed === 'call' || deed === 'next') unused = undefined;
      }
    } catch (error) {
      if (!isExpected(error)) throw error;
      outcome = outcomeOf(error);
    }
    if (step.end === 'release') await grant.release(outcome);
    if (step.end === 'own-clock') await grant.release(outcome, { usedOwnClock: true });
    if (step.end === 'drop') await grant[Symbol.asyncDispose]();
  }

  async #deed(deed: Deed, grant: Grant, step: Wish): Promise<void> {
    switch (deed) {
      case 'call':
        break;
      case 'next': {
        const nonce = await grant.next({ cost: step.cost, count: step.count });
        await this.#call(grant, nonce, grant.account, step.callMs);
        break;
      }
      case 'next-other':
        await grant.next({ account: 'OTHER', cost: 1 });
        break;
      case 'renew':
        await grant.renew(this.#random.chance(0.5) ? undefined : this.#random.between(200, 4_000));
        break;
      case 'idle':
        await this.#process.sleep(this.#random.between(10, 4_000));
        break;
    }
  }

  async #cancel(step: Of<'cancel'>): Promise<void> {
    const client = await this.#connected();
    const controller = new AbortController();
    this.#process.after(step.afterMs, () => controller.abort());
    const grant = await client.acquire({ ...optionsOf(step), signal: controller.signal });
    await this.#call(grant, grant.nonce, grant.account, step.callMs);
    await grant.release('ok');
  }

  /** Holds a lease by renewing it over and over, without the library. */
  async #renewer(step: Of<'renewer'>): Promise<void> {
    const peer = this.#raw('msgpack');
    await peer.request('hello', { name: 'renewer', session: this.#session() });
    const granted = await peer.request('acquire', wishOf(step));
    if (granted.kind === 'answer') {
      const { token } = granted.result;
      for (let times = 0; times < step.times; times++) {
        await this.#process.sleep(step.everyMs);
        peer.request('renew', { token, ttlMs: step.ttlMs ?? 2_000 });
      }
      peer.notify('release', { token, outcome: 'ok' });
    }
    await this.#process.sleep(100);
    peer.close();
  }

  async #rawCancel(step: Of<'raw-cancel'>): Promise<void> {
    const peer = this.#raw('msgpack');
    const answer = peer.request('acquire', wishOf(step), 11);
    await this.#process.sleep(step.afterMs);
    peer.notify('cancel', { id: 11 });
    const granted = await answer;
    await this.#process.sleep(step.callMs);
    if (granted.kind === 'answer') peer.notify('release', { token: granted.result['token'] });
    await this.#process.sleep(5_000);
    peer.close();
  }

  /** With tokens that are others'. */
  async #steal(step: Of<'steal'>): Promise<void> {
    const peer = this.#raw('msgpack');
    for (const token of this.#host.checker.liveTokens()) {
      peer.request('renew', { token, ttlMs: 60_000 });
      peer.request('next', { token, account: step.account });
      peer.request('release', { token, outcome: 'invalid-nonce' });
      peer.notify('release', { token });
    }
    await this.#process.sleep(3_000);
    peer.close();
  }

  /** Makes the call. It is sent now, if the grant still holds, and arrives even if the bot has gone by then. */
  #call(grant: Grant, nonce: bigint, account: string, callMs: number): Promise<void> {
    const { world } = this.#host;
    const process = this.#process;
    const { token, signal } = grant;
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error);
        return;
      }
      this.#host.checker.callBegins(process.name, token);
      if (this.#exchange.isCutOff(this.#number)) {
        world.after(callMs / 2, () => process.wake('input', () => reject(new NoAnswer('cut off'))));
        return;
      }
      world.after(callMs / 2, () => {
        let failure: unknown;
        try {
          this.#exchange.judge(account, token, nonce);
        } catch (error) {
          failure = error;
        }
        // Some calls hang although they have arrived.
        if (failure instanceof NoAnswer)
          return void world.after(2_000, () => process.wake('input', () => reject(failure)));
        world.after(callMs / 2, () =>
          process.wake('input', () => (failure === undefined ? resolve() : reject(failure))),
        );
      });
    });
  }
}

function outcomeOf(error: unknown): Outcome {
  if (error instanceof RejectedNonce) return 'invalid-nonce';
  return error instanceof NoAnswer ? 'unavailable' : 'unknown';
}

function wishOf({ account, priority, ttlMs, waitMs, count, cost }: Wish): object {
  return { account, priority, ...(ttlMs === undefined ? {} : { ttlMs }), waitMs, count, cost };
}

function optionsOf(wish: Wish): object {
  return { ...wishOf(wish), ...(wish.maxAgeMs === undefined ? {} : { maxAgeMs: wish.maxAgeMs }) };
}
