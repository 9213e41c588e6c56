/**
 * What has come into the protocol since its first release. A daemon tells its minor version with its answer to `hello`;
 * the first release told none, which counts as 0. A daemon refuses a field that it does not know, and the call with it.
 * So a client sends a field only to a daemon that knows it.
 *
 * `hello` itself gets no new field: the client sends it before it knows the daemon. docs/protocol.md has the same table.
 */
import { type Refusal, refusal } from '../errors.ts';
import { PROTOCOL } from './messages.ts';

/** The minor version of the protocol, which `hello` returns. */
export const MINOR = 1;

interface Addition {
  readonly method: string;
  /** Undefined: the whole method is new. */
  readonly field: string | undefined;
  /** The first minor version that has it. */
  readonly since: number;
  /**
   * What `informs` the daemon is left out for an older one, which then only knows less. What `protects` the caller is
   * refused by the client: left out, the mistake that it guards against would go unnoticed.
   */
  readonly purpose: 'informs' | 'protects';
}

export const ADDITIONS: readonly Addition[] = [
  { method: 'acquire', field: 'within', since: 1, purpose: 'informs' },
  { method: 'next', field: 'unit', since: 1, purpose: 'protects' },
  { method: 'next', field: 'key', since: 1, purpose: 'protects' },
  { method: 'policy', field: undefined, since: 1, purpose: 'protects' },
  { method: 'refusals', field: undefined, since: 1, purpose: 'protects' },
  { method: 'report', field: undefined, since: 1, purpose: 'informs' },
  { method: 'refuse', field: undefined, since: 1, purpose: 'informs' },
];

/** What a daemon has told of itself. */
export interface DaemonVersion {
  readonly version: string;
  readonly minor: number;
}

/** Returns the minor version that a daemon must have to know all that the message has. */
export function minorNeeded(method: string, params: object): number {
  return Math.max(0, ...unknownTo({ version: '', minor: 0 }, method, params).map(({ since }) => since));
}

/**
 * Returns the parameters without what this daemon does not know; or a refusal, if that protects, or is the method itself.
 */
export function fitted(daemon: DaemonVersion, method: string, params: object): object | Refusal {
  // Nearly always, and on the way of every call.
  if (daemon.minor >= MINOR) return params;
  let fitting = params;
  for (const { field, purpose } of unknownTo(daemon, method, params)) {
    if (field === undefined) return unsupported(daemon, method);
    if (purpose === 'protects') return unsupported(daemon, `\`${field}\` of \`${method}\``);
    fitting = { ...fitting, [field]: undefined };
  }
  return fitting;
}

/** Whether the parameters are a refusal in their place. No method has a field `code`. */
export function isUnsupported(fitting: object | Refusal): fitting is Refusal {
  return 'code' in fitting;
}

/** Refuses, in the client, what the daemon is too old for. */
function unsupported({ version, minor }: DaemonVersion, what: string): Refusal {
  return refusal(
    'UNSUPPORTED',
    `the daemon is ${version} (protocol ${PROTOCOL}.${minor}) and does not know ${what}; upgrade it first: install this ` +
      'version of nonced on the host, then `sudo nonced systemd install`',
  );
}

function unknownTo(daemon: DaemonVersion, method: string, params: object): readonly Addition[] {
  return ADDITIONS.filter(
    (addition) => addition.method === method && addition.since > daemon.minor && isGiven(addition, params),
  );
}

function isGiven({ field }: Addition, params: object): boolean {
  return field === undefined || (params as Readonly<Record<string, unknown>>)[field] !== undefined;
}
