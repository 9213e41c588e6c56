import { systemClock } from '../../clock.ts';
import { describeUnit, nonceFloorAt } from '../../core/nonces/sequence-clock.ts';
import { type Move, planMove } from '../../core/operator/move-plan.ts';
import { summariseProblem } from '../../core/operator/policy-plan.ts';
import { formatDuration } from '../../durations.ts';
import { EXIT, ExitError } from '../../errors.ts';
import { stateCommand } from '../../store/directories.ts';
import { readStateFile } from '../../store/state/state-file.ts';
import { directories } from '../directories.ts';
import { confirm } from '../terminal/confirm.ts';
import { allowedLeadMs } from '../terminal/output.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { changeOffline, stateOf } from './offline-state.ts';

export interface MoveOptions {
  readonly to: string;
  readonly yes: boolean;
  readonly force: boolean;
  readonly stateDir?: string;
  readonly json: boolean;
}

/** Moves an account that has drawn to another sequence for good, while no daemon runs. */
export async function move(account: string, options: MoveOptions, terminal: Terminal): Promise<void> {
  const { stateDir } = directories(options, terminal.env);
  const { to, yes, force, json } = options;
  // Looked at before anything is locked or made.
  stateOf(readStateFile(stateDir), stateDir);
  await changeOffline(stateDir, readStateFile, (found) => {
    const { state, ...identity } = stateOf(found, stateDir);
    const wallMs = systemClock().wallMs();
    const plan = planMove(state, account, to, (unit) => nonceFloorAt(wallMs, unit));
    if ('problem' in plan) {
      throw new ExitError(
        EXIT.usage,
        summariseProblem(plan, (args) => stateCommand(args, stateDir)),
      );
    }
    // --yes says that nobody is there to ask, and not that any distance is right.
    if ((plan.raisedMs ?? 0) > allowedLeadMs({ yes: false, force })) throw tooFar(plan);
    if (!json) for (const line of describe(account, plan)) terminal.printLine(line);
    if (!yes) confirm('Go on?', terminal);
    const done = () => {
      if (json) {
        terminal.printJson({ stateDir, account, from: plan.from, to: plan.to, next: plan.next });
        return;
      }
      terminal.printLine(`${account} draws from sequence ${to} from now on. Put it there in the configuration too.`);
    };
    return { identity, state: plan.state, done };
  });
}

function describe(account: string, { from, to, next, raisedMs }: Move): string[] {
  if (from.name === to.name) {
    return [`${account} already draws from sequence ${to.name}. It stays there, whatever the configuration says.`];
  }
  const lines = [
    `${account} now: sequence ${from.name}, ${describeUnit(from.unit)}; it was given no nonce of ${from.ceiling} or above`,
    `${account} then: sequence ${to.name}, ${describeUnit(to.unit)}; its next nonce is ${next} or above`,
  ];
  if (raisedMs !== undefined) {
    lines.push(
      `For that, sequence ${to.name} is raised for all its accounts, to ${formatDuration(raisedMs)} ahead of the clock.`,
    );
  }
  lines.push(
    from.unit === to.unit
      ? 'This cannot be undone below that nonce: its key never takes a lower one again.'
      : `This cannot be undone: once its key has seen a nonce in ${describeUnit(to.unit)}, it never takes one in ` +
          `${describeUnit(from.unit)} again.`,
  );
  return lines;
}

function tooFar({ to, next, raisedMs = 0 }: Move): ExitError {
  return new ExitError(
    EXIT.usage,
    `sequence ${to.name} would be raised to ${next}, ${formatDuration(raisedMs)} ahead of the clock, for all its accounts, and that ` +
      'cannot be undone; to do it anyway, add --force',
  );
}
