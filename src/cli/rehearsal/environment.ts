/**
 * What a bot under rehearsal learns from its environment, by the names that the examples and common SDK wrappers read.
 */
export interface Given {
  readonly socket: string;
  readonly url: string;
  readonly key: string;
  readonly secret: string;
  readonly keysFile: string;
  readonly keyFile: string;
  readonly secretFile: string;
}

export interface BotEnvironment {
  readonly variables: NodeJS.ProcessEnv;
  /** The names of the variables that are kept from the bot. */
  readonly withheld: readonly string[];
}

const REAL_EXCHANGE = /\bkraken\.com\b/i;
/** Matches names of variables that may be credentials. */
const CREDENTIAL = /KEY|SECRET|PASS(PHRASE|WORD|WD)|TOKEN|CREDENTIAL/i;

/**
 * Returns this process's environment, in which everything that could lead to a real exchange is replaced or removed: a
 * rehearsal must never place a real order. `passed` names variables that the bot gets anyway.
 */
export function botEnvironment(
  variables: NodeJS.ProcessEnv,
  given: Given,
  passed: readonly string[] = [],
): BotEnvironment {
  const ours: Readonly<Record<string, string>> = {
    NONCED_SOCKET: given.socket,
    NONCED_REHEARSAL_URL: given.url,
    KRAKEN_URL: given.url,
    KRAKEN_KEYS: given.keysFile,
    KRAKEN_KEY: given.key,
    KRAKEN_SECRET: given.secret,
    KRAKEN_KEY_FILE: given.keyFile,
    KRAKEN_SECRET_FILE: given.secretFile,
    KRAKEN_API_KEY: given.key,
    KRAKEN_API_SECRET: given.secret,
  };
  const withheld = Object.entries(variables)
    .filter(([name, value = '']) => !(name in ours) && !passed.includes(name) && isDangerous(name, value))
    .map(([name]) => name);
  const kept = Object.fromEntries(Object.entries(variables).filter(([name]) => !withheld.includes(name)));
  return { variables: { ...kept, ...ours }, withheld };
}

/** Returns the first word of a command that names a real exchange. */
export function realExchangeIn(command: readonly string[]): string | undefined {
  return command.find((word) => REAL_EXCHANGE.test(word));
}

function isDangerous(name: string, value: string): boolean {
  return CREDENTIAL.test(name) || name.toUpperCase().startsWith('KRAKEN_') || REAL_EXCHANGE.test(value);
}
