import { type Account, type Errand, TOPICS } from './topics.ts';

// A process that looks at things, as the user it is told to become, and tells what it has seen. The one that judges
// looks at nothing itself: a look may hang for good in a file system that is gone, and then only a process can be left
// behind. All it needs is loaded by now: the user need not be able to read this program.

// Node has it, and its types do not.
type Initgroups = typeof process & { initgroups?(user: string, extraGroup: number): void };

const [name, uid, gid] = process.argv.slice(2);
if (name !== undefined) {
  process.chdir('/');
  // The groups that a new session of his would have.
  (process as Initgroups).initgroups?.(name, Number(gid));
  process.setgid?.(Number(gid));
  process.setuid?.(Number(uid));
}

process.on('message', ({ id, topic, params }: Errand) => {
  const tell = (account: Account) => process.send?.(account);
  const look = TOPICS[topic] as (params: object) => Promise<unknown>;
  look(params).then(
    (facts) => tell({ id, facts }),
    (error) => tell({ id, failure: error instanceof Error ? error.message : String(error) }),
  );
});
