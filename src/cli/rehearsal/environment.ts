/** What a bot under rehearsal is told of the world, by the names that the examples and common SDK wrappers read. */
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
  /** Names of what the bot does not get to see. */
  readonly withheld: readonly string[];
}

const REAL_EXCHANGE = /\bkraken\.com\b/i;
/** Of names that hold what opens something. */
const CREDENTIAL = /KEY|SECRET|PASS(PHRASE|WORD|WD)|TOKEN|CREDENTIAL/i;

/**
 * This process's environment with everything in it that could lead to a real exchange replaced or taken out: a rehearsal
 * must never place a real order. `passed` names what the bot is to have all the same.
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

/** The first word of a command that names a real exchange. */
export function realExchangeIn(command: readonly string[]): string | undefined {
  return command.find((word) => REAL_EXCHANGE.test(word));
}

function isDangerous(name: string, value: string): boolean {
  return CREDENTIAL.test(name) || name.toUpperCase().startsWith('KRAKEN_') || REAL_EXCHANGE.test(value);
}
