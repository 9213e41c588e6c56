import { answerFacts } from './facts/answer.ts';
import { daemonFacts } from './facts/daemons.ts';
import { clockFacts, hostFacts } from './facts/host.ts';
import { processFacts } from './facts/processes.ts';
import { serviceFacts } from './facts/service.ts';
import { socketFacts } from './facts/socket.ts';
import { diskFacts, stateFacts } from './facts/storage.ts';

/** What a witness can look at. */
export const TOPICS = {
  answer: answerFacts,
  clock: clockFacts,
  daemons: daemonFacts,
  disk: diskFacts,
  host: hostFacts,
  processes: processFacts,
  service: serviceFacts,
  socket: socketFacts,
  state: stateFacts,
} as const;

export type TopicName = keyof typeof TOPICS;
export type Params<Topic extends TopicName> = Parameters<(typeof TOPICS)[Topic]>[0];
export type Facts<Topic extends TopicName> = Awaited<ReturnType<(typeof TOPICS)[Topic]>>;

/** A message to a witness. */
export interface Errand {
  readonly id: number;
  readonly topic: TopicName;
  readonly params: object;
}

/** A message from a witness. */
export type Account = { readonly id: number } & ({ readonly facts: unknown } | { readonly failure: string });
