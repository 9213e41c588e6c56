/** What a look brought. */
export type Look<Facts> =
  | { readonly kind: 'seen'; readonly facts: Facts }
  /** `why` completes the sentence "this cannot be told: …". */
  | { readonly kind: 'unseen'; readonly why: string };

/** Nobody looked, on purpose. */
export interface Unlooked {
  readonly kind: 'unlooked';
  readonly why: string;
}

export function factsOf<Facts>(look: Look<Facts> | Unlooked): Facts | undefined {
  return look.kind === 'seen' ? look.facts : undefined;
}
