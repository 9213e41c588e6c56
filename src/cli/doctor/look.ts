/** The result of a look. */
export type Look<Facts> =
  | { readonly kind: 'seen'; readonly facts: Facts }
  /** `why` completes the sentence "this could not be tested: …". */
  | { readonly kind: 'unseen'; readonly why: string };

/** Not looked at, on purpose. */
export interface Unlooked {
  readonly kind: 'unlooked';
  readonly why: string;
}

export function factsOf<Facts>(look: Look<Facts> | Unlooked): Facts | undefined {
  return look.kind === 'seen' ? look.facts : undefined;
}
