import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import { thisProgram } from '../systemd/program.ts';
import type { Look } from './look.ts';
import type { OtherUser } from './subject.ts';
import type { Account, Errand, Facts, Params, TopicName } from './topics.ts';

const WITHIN_MS = 8_000;

/** A child process that looks at things for this one, as this user or as another. */
export class Witness {
  readonly #child: ChildProcess;
  readonly #clock: Clock = systemClock();
  readonly #waiting = new Map<number, (look: Look<unknown>) => void>();
  #ended: string | undefined;
  #lastId = 0;

  /** Looks as this process's user, or as `user`, which needs root. */
  constructor(user?: OtherUser) {
    const file = join(thisProgram().packageDir, 'dist/cli/doctor/witness-process.js');
    this.#child = fork(file, user === undefined ? [] : [user.name, String(user.uid), String(user.gid)], {
      // This also passes Maps and bigints.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: user === undefined ? process.env : environmentOf(user),
      execArgv: [],
    });
    this.#child.on('message', (account: Account) => this.#told(account));
    const gone = (why: string) => this.#gone(why);
    this.#child.once('error', (error) => gone(`no process can be started (${error.message})`));
    this.#child.once('exit', () =>
      gone(user === undefined ? 'the process ended' : `no process could become ${user.name}`),
    );
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Lets it look at something. Always resolves, and in time. */
  look<Topic extends TopicName>(topic: Topic, params: Params<Topic>): Promise<Look<Facts<Topic>>> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve) => {
      const settle = (look: Look<unknown>) => {
        timer.cancel();
        this.#waiting.delete(id);
        resolve(look as Look<Facts<Topic>>);
      };
      const timer = this.#clock.after(WITHIN_MS, () =>
        settle({ kind: 'unseen', why: `no result within ${formatDuration(WITHIN_MS)}` }),
      );
      this.#waiting.set(id, settle);
      if (this.#ended !== undefined) settle({ kind: 'unseen', why: this.#ended });
      else this.#child.send({ id, topic, params } satisfies Errand, () => {});
    });
  }

  /** Kills it and does not wait: a process that hangs in the kernel may not even die. */
  end(): void {
    this.#child.removeAllListeners();
    this.#child.on('error', () => {});
    if (this.#child.connected) this.#child.disconnect();
    this.#child.kill('SIGKILL');
    this.#child.unref();
  }

  #told(account: Account): void {
    this.#waiting.get(account.id)?.(
      'facts' in account ? { kind: 'seen', facts: account.facts } : { kind: 'unseen', why: account.failure },
    );
  }

  #gone(why: string): void {
    this.#ended ??= why;
    for (const settle of this.#waiting.values()) settle({ kind: 'unseen', why });
  }
}

/** Returns the environment of a login, without what the administrator's says about sockets and directories. */
function environmentOf({ name, home }: OtherUser): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], HOME: home, USER: name, LOGNAME: name };
}
