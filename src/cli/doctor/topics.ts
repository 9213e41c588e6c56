import { answerFacts } from './answer-facts.ts';
import { daemonFacts } from './daemon-facts.ts';
import { clockFacts, hostFacts } from './host-facts.ts';
import { processFacts } from './process-facts.ts';
import { serviceFacts } from './service-facts.ts';
import { socketFacts } from './socket-facts.ts';
import { diskFacts, stateFacts } from './storage-facts.ts';

/** What a witness can be sent to look at. */
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

/** To a witness. */
export interface Errand {
  readonly id: number;
  readonly topic: TopicName;
  readonly params: object;
}

/** From a witness. */
export type Account = { readonly id: number } & ({ readonly facts: unknown } | { readonly failure: string });
