import { printedBy } from './ran.ts';

/** The names of users or groups by their numbers, if they have one. */
export type Names = ReadonlyMap<number, string>;

/** Looks names up in the system's databases. Empty if getent(1) is missing. */
export async function namesOf(database: 'passwd' | 'group', ids: Iterable<number>): Promise<Names> {
  const lines = await Promise.all([...new Set(ids)].map((id) => printedBy('getent', database, String(id))));
  return new Map(
    lines.flatMap((line): [number, string][] => {
      const [name, , id] = line?.split(':') ?? [];
      return name === undefined || id === undefined ? [] : [[Number(id), name]];
    }),
  );
}

export function nameOf(names: Names, id: number): string {
  return names.get(id) ?? String(id);
}
