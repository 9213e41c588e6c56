import { type Account, type Errand, TOPICS } from './topics.ts';

// This process looks at things as the user that it is told to become, and reports what it sees. The process that judges
// looks at nothing itself: a look may hang for good in a file system that is gone, and only a process can be left
// behind. Everything that it needs is loaded before it becomes the user, who may not be able to read this program.

// Node has it, but its types do not.
type Initgroups = typeof process & { initgroups?(user: string, extraGroup: number): void };

const [name, uid, gid] = process.argv.slice(2);
if (name !== undefined) {
  process.chdir('/');
  // The groups that a new login of that user would have.
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
