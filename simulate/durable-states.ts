/** A state file as the checker reads it, without the daemon's code. */
export interface ReadState {
  readonly ceilingOf: ReadonlyMap<string, bigint>;
  /** Returns the sequence that an account has durably drawn from. */
  sequenceOf(account: string): string | undefined;
  /** The accounts that a configuration may not move: they have drawn, and no operator has placed them. */
  readonly unplaced: readonly string[];
  readonly exclusive: string;
  readonly instance: string;
  /** The machine whose state it is. */
  readonly machine: string | undefined;
  readonly isRetired: boolean;
}

const READ = new WeakMap<Buffer, ReadState | 'unreadable'>();

/** Returns what a state file says; `unreadable` if it is not one, `absent` if there is no file. */
export function readState(bytes: Buffer | undefined): ReadState | 'unreadable' | 'absent' {
  if (bytes === undefined) return 'absent';
  const known = READ.get(bytes);
  if (known !== undefined) return known;
  const read = parse(bytes);
  READ.set(bytes, read);
  return read;
}

function parse(bytes: Buffer): ReadState | 'unreadable' {
  let raw: Record<string, unknown>;
  try {
    raw = JSON.parse(bytes.toString()) as Record<string, unknown>;
  } catch {
    return 'unreadable';
  }
  const sequences = Object.entries((raw['sequences'] ?? {}) as Record<string, { readonly ceiling: string }>);
  const accounts = new Map(Object.entries((raw['accounts'] ?? {}) as Record<string, string>));
  const placed = (raw['placed'] as { readonly accounts?: readonly string[] } | undefined)?.accounts ?? [];
  return {
    unplaced: [...accounts]
      .filter(([name, from]) => !placed.includes(name) && !from.startsWith('account:'))
      .map(([name]) => name),
    ceilingOf: new Map(sequences.map(([name, { ceiling }]) => [name, BigInt(ceiling)])),
    sequenceOf: (account) => accounts.get(account) ?? accounts.get('*'),
    exclusive: String(raw['exclusive']),
    instance: String(raw['instance']),
    machine: typeof raw['machine'] === 'string' ? raw['machine'] : undefined,
    isRetired: typeof raw['retiredAtMs'] === 'number',
  };
}
