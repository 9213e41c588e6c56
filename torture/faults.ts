import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../simulate/random.ts';
import type { Clients } from './clients.ts';
import type { Daemon, Daemons } from './daemons.ts';
import type { HistoryWriter } from './history.ts';
import { askOnce } from './json-lines.ts';
import type { Place } from './place.ts';
import { configuration } from './terms.ts';

const ADMIN_MS = 4_000;
const READY_WITHIN_MS = 20_000;
const PACE_PER_SECOND = 20;
const WILD_SECONDS = 7_200;

export interface Ground {
  readonly place: Place;
  readonly daemons: Daemons;
  readonly clients: Clients;
  readonly history: HistoryWriter;
  readonly seed: number;
  readonly signal: AbortSignal;
}

type Need = keyof Place['lacks'];
interface Kind {
  readonly weight: number;
  readonly needs?: Need;
  readonly run: () => Promise<unknown>;
}
type Kinds = Readonly<Record<string, Kind>>;

/** Makes faults of every kind at once, in four threads. The seed decides the order in each thread. */
export class Faults {
  /** How often each kind of fault was made. */
  readonly made = new Map<string, number>();
  readonly #ground: Ground;
  readonly #random: Random;
  #tracer: ChildProcess | undefined;
  #diskIsFull = false;

  constructor(ground: Ground) {
    this.#ground = ground;
    this.#random = new Random(ground.seed, 1);
  }

  /** The kinds of faults that this machine cannot do, with the reason. */
  get skipped(): ReadonlyMap<string, string> {
    const skipped = new Map<string, string>();
    for (const kinds of this.#threads().map(({ kinds }) => kinds)) {
      for (const [name, { needs }] of Object.entries(kinds)) {
        const reason = needs === undefined ? undefined : this.#ground.place.lacks[needs];
        if (reason !== undefined) skipped.set(name, reason);
      }
    }
    return skipped;
  }

  /** Makes faults until the signal aborts, and then takes all of them back. */
  async run(): Promise<void> {
    await Promise.all(this.#threads().map((thread, index) => this.#thread(thread.kinds, thread.pauseMs, index)));
    this.#tracer?.kill('SIGKILL');
    for (const { child } of this.#ground.daemons.running) child.kill('SIGCONT');
    for (const { child } of this.#ground.clients.all) child?.kill('SIGCONT');
    this.#ground.place.freeDisk();
  }

  #threads(): readonly { readonly kinds: Kinds; readonly pauseMs: readonly [number, number] }[] {
    return [
      { kinds: this.#daemonKinds(), pauseMs: [200, 2_500] },
      { kinds: this.#machineKinds(), pauseMs: [500, 4_000] },
      { kinds: this.#clientKinds(), pauseMs: [300, 2_500] },
      { kinds: this.#operatorKinds(), pauseMs: [300, 3_000] },
    ];
  }

  #daemonKinds(): Kinds {
    return {
      'daemon killed': { weight: 6, run: () => this.#onServing((daemon) => this.#kill(daemon)) },
      'daemon killed while clients were stopped': {
        weight: 2,
        run: () => this.#onServing((daemon) => this.#killBehindStopped(daemon)),
      },
      'daemon killed at its start': { weight: 2, run: () => this.#killAtStart() },
      'daemon terminated': { weight: 3, run: () => this.#onServing((daemon) => this.#terminate(daemon)) },
      'daemon stopped and continued': { weight: 4, run: () => this.#onServing((daemon) => this.#stop(daemon)) },
      'daemons raced for the state': { weight: 3, run: () => this.#race() },
      'second daemon beside': { weight: 2, run: () => this.#beside() },
      'syncs failed (EIO)': {
        weight: 2,
        needs: 'strace',
        run: () => this.#onServing((daemon) => this.#failSyncs(daemon)),
      },
      'syncs slowed': { weight: 2, needs: 'strace', run: () => this.#onServing((daemon) => this.#slowSyncs(daemon)) },
      'daemon killed in a write': {
        weight: 3,
        needs: 'strace',
        run: () => this.#onServing((daemon) => this.#killInWrite(daemon)),
      },
      'configuration broken and reloaded': {
        weight: 1,
        run: () => this.#onServing((daemon) => this.#reloadBroken(daemon)),
      },
    };
  }

  #machineKinds(): Kinds {
    const step = (low: number, high: number) => async () => this.#stepClock(this.#random.between(low, high));
    return {
      'clock stepped back': { weight: 4, needs: 'clock', run: step(-900, -1) },
      'clock stepped forward': { weight: 4, needs: 'clock', run: step(0, 20) },
      'clock stepped forward by an hour less a bit': { weight: 0.2, needs: 'clock', run: step(1_000, 3_000) },
      'clock stepped two hours ahead': { weight: 1, needs: 'clock', run: () => this.#wildClock() },
      'disk filled': { weight: 4, needs: 'disk', run: () => this.#fillDisk() },
    };
  }

  #clientKinds(): Kinds {
    const one = () => this.#random.pick([...this.#ground.clients.all] as [Clients['all'][number]]);
    return {
      'client killed': { weight: 1, run: () => this.#ground.clients.kill(one()) },
      'client stopped and continued': {
        weight: 1,
        run: async () => {
          const { child, name } = one();
          this.#note('client stopped', name);
          child?.kill('SIGSTOP');
          await this.#pause(50, 4_000);
          child?.kill('SIGCONT');
        },
      },
    };
  }

  #operatorKinds(): Kinds {
    return {
      'policy switched': { weight: 3, run: () => this.#switchPolicy() },
      'account paused and resumed': { weight: 3, run: () => this.#pauseAccount() },
      'configuration changed and reloaded': { weight: 1, run: () => this.#reload() },
    };
  }

  async #thread(kinds: Kinds, [least, most]: readonly [number, number], index: number): Promise<void> {
    const random = new Random(this.#ground.seed, 100 + index);
    const possible = Object.entries(kinds).filter(
      ([, { needs }]) => needs === undefined || this.#ground.place.lacks[needs] === undefined,
    );
    const all = possible.reduce((sum, [, { weight }]) => sum + weight, 0);
    while (!this.#ground.signal.aborted) {
      await sleep(random.between(least, most), undefined, { signal: this.#ground.signal }).catch(() => {});
      if (this.#ground.signal.aborted) return;
      const chosen = byWeight(possible, random.fraction() * all);
      if (chosen === undefined) continue;
      const [name, kind] = chosen;
      this.#note(name);
      const came = await kind.run();
      if (came !== false) this.made.set(name, (this.made.get(name) ?? 0) + 1);
    }
  }

  #note(kind: string, detail?: string): void {
    this.#ground.history.write({ k: 'fault', kind, ...(detail === undefined ? {} : { detail }) });
  }

  async #pause(least: number, most: number): Promise<void> {
    await sleep(this.#random.between(least, most), undefined, { signal: this.#ground.signal }).catch(() => {});
  }

  /** Returns false if no daemon serves: then the fault cannot be made. */
  async #onServing(run: (daemon: Daemon) => Promise<unknown>): Promise<unknown> {
    const { serving } = this.#ground.daemons;
    return serving === undefined ? false : run(serving);
  }

  async #kill(daemon: Daemon): Promise<void> {
    this.#ground.daemons.signal(daemon, 'SIGKILL');
  }

  async #killAtStart(): Promise<unknown> {
    const { daemons } = this.#ground;
    return this.#onServing(async (daemon) => {
      daemons.signal(daemon, 'SIGKILL');
      await this.#pause(20, 300);
      for (const starting of daemons.running) daemons.signal(starting, 'SIGKILL');
    });
  }

  /** Kills the daemon while clients are stopped: they come back to the next one late, but in time. */
  async #killBehindStopped(daemon: Daemon): Promise<void> {
    const { clients, daemons } = this.#ground;
    const stopped = clients.all.filter(() => this.#random.chance(0.5)).map(({ child }) => child);
    for (const child of stopped) child?.kill('SIGSTOP');
    daemons.signal(daemon, 'SIGKILL');
    await this.#until(() => daemons.serving !== undefined && daemons.serving !== daemon, 3_000);
    await this.#pause(250, 900);
    for (const child of stopped) child?.kill('SIGCONT');
  }

  async #terminate(daemon: Daemon): Promise<void> {
    this.#ground.daemons.signal(daemon, 'SIGTERM');
    // Sometimes it is killed before it has ended.
    if (this.#random.chance(0.3)) {
      await this.#pause(0, 20);
      if (daemon.ended === undefined) this.#ground.daemons.signal(daemon, 'SIGKILL');
    }
    await this.#untilEnded(daemon);
  }

  async #stop(daemon: Daemon): Promise<void> {
    daemon.child.kill('SIGSTOP');
    await this.#pause(20, this.#random.chance(0.3) ? 5_000 : 600);
    if (this.#random.chance(0.3)) this.#ground.daemons.signal(daemon, 'SIGKILL');
    else daemon.child.kill('SIGCONT');
  }

  /** Starts two daemons at once while one serves, or as it ends. */
  async #race(): Promise<void> {
    const { daemons } = this.#ground;
    const contenders = [daemons.start(), daemons.start()];
    await this.#pause(0, 800);
    const { serving } = daemons;
    if (serving !== undefined && !contenders.includes(serving)) {
      if (this.#random.chance(0.3)) {
        serving.child.kill('SIGSTOP');
        await this.#pause(100, 1_500);
        serving.child.kill('SIGCONT');
      } else if (this.#random.chance(0.9)) daemons.signal(serving, 'SIGKILL');
    }
    // A daemon that has not got the state by then has given up.
    await Promise.race([Promise.all(contenders.map((one) => this.#untilEnded(one))), this.#pause(1_500, 2_500)]);
  }

  /** Starts a daemon with the same state and sockets elsewhere. The one that serves may be stopped meanwhile. */
  async #beside(): Promise<unknown> {
    const { daemons } = this.#ground;
    return this.#onServing(async (serving) => {
      const stops = this.#random.chance(0.5);
      if (stops) serving.child.kill('SIGSTOP');
      const beside = daemons.start(true);
      await Promise.race([this.#untilEnded(beside), sleep(3_000)]);
      if (beside.ended === undefined) {
        daemons.signal(beside, 'SIGKILL');
        await this.#untilEnded(beside);
      }
      if (stops) serving.child.kill('SIGCONT');
    });
  }

  async #failSyncs(daemon: Daemon): Promise<unknown> {
    this.#ground.daemons.doom(daemon, 'EIO');
    const only = this.#random.chance(0.5) ? ['-P', this.#ground.place.stateDir] : [];
    return this.#traced(daemon, ['-e', 'trace=fsync', '-e', 'inject=fsync:error=EIO', ...only], async () => {
      // Nothing that needs a write now can be durable.
      if (await this.#operate('advance', { by: '1' })) {
        const what = `pid ${daemon.pid}, whose syncs fail, says that an advance is done`;
        this.#ground.history.write({ k: 'found', invariant: 'I1', what });
      }
      await Promise.race([this.#untilEnded(daemon), sleep(8_000)]);
    });
  }

  async #slowSyncs(daemon: Daemon): Promise<unknown> {
    const delayUs = this.#random.between(50, 1_500) * 1_000;
    return this.#traced(daemon, ['-e', 'trace=fsync', '-e', `inject=fsync:delay_enter=${delayUs}`], async () => {
      await this.#pause(500, 4_000);
      // The write under way is not durable, and nothing that needs it may have been sent.
      if (this.#random.chance(0.6)) this.#ground.daemons.signal(daemon, 'SIGKILL');
    });
  }

  async #killInWrite(daemon: Daemon): Promise<unknown> {
    this.#ground.daemons.doom(daemon, 'KILL');
    const call = this.#random.pick(['rename', 'fsync', 'fsync', 'close']);
    const inject = `inject=${call}:signal=KILL:when=${this.#random.between(1, 3)}`;
    return this.#traced(daemon, ['-e', `trace=${call}`, '-e', inject], async () => {
      await Promise.race([this.#untilEnded(daemon), sleep(8_000)]);
    });
  }

  async #traced(daemon: Daemon, options: readonly string[], meanwhile: () => Promise<void>): Promise<unknown> {
    const tracer = spawn('strace', ['-f', '-qq', '-o', '/dev/null', ...options, '-p', String(daemon.pid)], {
      stdio: 'ignore',
      detached: true,
    });
    this.#tracer = tracer;
    const gone = once(tracer, 'exit');
    const isHeld = await this.#until(() => daemon.ended !== undefined || isTraced(daemon.pid), 3_000);
    // A write comes soon: the bots' draws cause it.
    if (isHeld) await meanwhile();
    // It then detaches from the daemon.
    tracer.kill('SIGTERM');
    await Promise.race([gone, sleep(3_000)]);
    tracer.kill('SIGKILL');
    return isHeld;
  }

  async #reloadBroken(daemon: Daemon): Promise<void> {
    const { place, daemons } = this.#ground;
    daemons.configIsBad = true;
    place.configure('{"accounts": {');
    daemon.child.kill('SIGHUP');
    await this.#pause(50, 300);
    place.configure(configuration(PACE_PER_SECOND));
    // A start that had read it before may say so a moment later.
    await sleep(1_500);
    daemons.configIsBad = false;
  }

  async #stepClock(seconds: number): Promise<void> {
    this.#writeClock(seconds, true);
  }

  async #wildClock(): Promise<void> {
    this.#writeClock(WILD_SECONDS, false);
    await this.#pause(200, 3_000);
    this.#writeClock(0, true);
  }

  #writeClock(seconds: number, followed: boolean): void {
    this.#ground.history.write({ k: 'clock', wallMs: Date.now() + (followed ? seconds * 1_000 : 0) });
    this.#ground.place.setClock(seconds < 0 ? `${seconds}` : `+${seconds}`);
  }

  async #fillDisk(): Promise<void> {
    this.#diskIsFull = true;
    this.#ground.place.fillDisk();
    await this.#pause(200, 5_000);
    this.#ground.place.freeDisk();
    this.#diskIsFull = false;
  }

  async #switchPolicy(): Promise<unknown> {
    const policy = this.#random.pick(['global', 'global', 'account', 'account', 'off']);
    this.#ground.history.write({ k: 'switching', policy });
    const done = await this.#operate('set-exclusive', { policy });
    if (done) this.#ground.history.write({ k: 'switched', policy });
    return done;
  }

  async #pauseAccount(): Promise<unknown> {
    const account = this.#random.pick(['USER:b', 'CNT:b', 'MS:a']);
    const done = await this.#operate('pause', { account });
    if (done) this.#ground.history.write({ k: 'paused', account });
    await this.#pause(100, 6_000);
    this.#ground.history.write({ k: 'resuming', account });
    // Also at the end of the run, or the account would not be served then.
    for (let tries = 0; tries < 100 && !(await this.#operate('resume-account', { account })); tries += 1)
      await sleep(200);
    return done;
  }

  async #reload(): Promise<unknown> {
    this.#ground.place.configure(configuration(this.#random.between(5, 40)));
    // The signal ends a daemon that does not listen for it yet, so only one that serves gets it.
    return this.#onServing(async ({ child }) => child.kill('SIGHUP'));
  }

  /** Asks as an operator. Returns whether the daemon said that it was done. */
  async #operate(method: string, params: object): Promise<boolean> {
    if (this.#diskIsFull && this.#random.chance(0.5)) return false;
    try {
      await askOnce(this.#ground.place.adminSocket, method, params, ADMIN_MS);
      return true;
    } catch {
      return false;
    }
  }

  async #untilEnded(daemon: Daemon): Promise<void> {
    await this.#until(() => daemon.ended !== undefined, READY_WITHIN_MS);
  }

  async #until(holds: () => boolean, withinMs: number): Promise<boolean> {
    for (let waitedMs = 0; waitedMs < withinMs; waitedMs += 10) {
      if (holds()) return true;
      await sleep(10);
    }
    return false;
  }
}

/** Returns the kind in whose share `at` is. */
function byWeight(kinds: readonly [string, Kind][], at: number): [string, Kind] | undefined {
  let end = 0;
  for (const one of kinds) {
    end += one[1].weight;
    if (at < end) return one;
  }
  return undefined;
}

function isTraced(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every(
      (task) => !/^TracerPid:\s+0$/m.test(readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8')),
    );
  } catch {
    return false;
  }
}
