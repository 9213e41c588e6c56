import { describe, expect, test } from 'vitest';
import { FIRST_VIEW, type Key, press, SORTS, type View } from '../../../src/cli/top/view.ts';

const LISTED = { accounts: ['A', 'B', 'C'], calls: 30 };

/** A key by its name, or what it writes. */
const keyOf = (name: string): Key => {
  const text = name.length === 1 ? name : undefined;
  return { name: /^[/?:@.]$/.test(name) ? undefined : name, text, ctrl: false };
};
const ctrl = (name: string): Key => ({ name, text: undefined, ctrl: true });

/** The view after these keys. */
function keyed(keys: readonly (string | Key)[], from: View = FIRST_VIEW, listed = LISTED): View | 'quit' {
  return keys.reduce<View | 'quit'>(
    (view, key) => (view === 'quit' ? view : press(view, typeof key === 'string' ? keyOf(key) : key, listed)),
    from,
  );
}

test.each([['q'], [ctrl('c')]])('%j quits, on every page', (key) => {
  for (const before of [[], ['h'], ['return'], ['return', 'h']]) expect(keyed([...before, key])).toBe('quit');
});

test('while a filter is typed q is a letter, and ctrl-c still quits', () => {
  expect(keyed(['/', 'q'])).toMatchObject({ filter: 'q' });
  expect(keyed(['/', 'q', ctrl('c')])).toBe('quit');
});

describe('a filter', () => {
  test('is typed, with what names are made of, and kept by enter', () => {
    expect(keyed(['/', 'U', ':', 'a', '@', '.', 'return'])).toMatchObject({ filter: 'U:a@.', filterBefore: undefined });
  });

  test('takes no blanks, no escape sequences and no more than a name has', () => {
    expect(keyed(['/', 'space', 'up', ctrl('l'), '日'])).toMatchObject({ filter: '' });
    expect(keyed(['/', ...Array(100).fill('x')])).toMatchObject({ filter: 'x'.repeat(64) });
  });

  test('is corrected by backspace, emptied by ctrl-u, and as it was before after escape', () => {
    expect(keyed(['/', 'a', 'b', 'backspace'])).toMatchObject({ filter: 'a' });
    expect(keyed(['/', 'backspace'])).toMatchObject({ filter: '', filterBefore: '' });
    expect(keyed(['/', 'a', ctrl('u')])).toMatchObject({ filter: '' });
    expect(keyed(['/', 'a', 'return', '/', 'b', 'escape'])).toMatchObject({ filter: 'a', filterBefore: undefined });
  });

  test('is gone after escape on the overview', () => {
    expect(keyed(['/', 'a', 'return', 'escape'])).toMatchObject({ filter: '' });
  });
});

describe('a selection', () => {
  test('moves up and down and stays within the list', () => {
    expect(keyed(['down'])).toMatchObject({ selected: 'A' });
    expect(keyed(['down', 'down', 'j'])).toMatchObject({ selected: 'C' });
    expect(keyed(['down', 'down', 'down', 'down', 'k'])).toMatchObject({ selected: 'B' });
    expect(keyed(['down', 'up', 'up'])).toMatchObject({ selected: 'A' });
    expect(keyed(['down', 'pagedown'])).toMatchObject({ selected: 'C' });
  });

  test('begins at the top where what was selected is not listed any more', () => {
    expect(keyed(['down'], { ...FIRST_VIEW, selected: 'GONE' })).toMatchObject({ selected: 'A' });
    expect(keyed(['down', 'return'], FIRST_VIEW, { accounts: [], calls: 0 })).toEqual(FIRST_VIEW);
  });
});

describe('an account', () => {
  test('is opened by enter, the first one where none is selected, and left by escape', () => {
    expect(keyed(['return'])).toMatchObject({ page: { kind: 'account', account: 'A', offset: 0 }, selected: 'A' });
    expect(keyed(['down', 'down', 'return'])).toMatchObject({ page: { account: 'B' } });
    expect(keyed(['return', 'escape'])).toMatchObject({ page: { kind: 'overview' } });
  });

  test('has calls to scroll, from the first to the last', () => {
    expect(keyed(['return', 'down', 'pagedown'])).toMatchObject({ page: { offset: 11 } });
    expect(keyed(['return', 'up'])).toMatchObject({ page: { offset: 0 } });
    expect(keyed(['return', ...Array(9).fill('pagedown')])).toMatchObject({ page: { offset: 29 } });
  });

  test('is opened in a display that goes on: its calls have to be read', () => {
    expect(keyed(['space', 'return'])).toMatchObject({ paused: false });
  });
});

test('help is shown over every page, which is there again afterwards', () => {
  expect(keyed(['return', '?'])).toMatchObject({ page: { kind: 'help', before: { kind: 'account' } } });
  for (const back of ['h', 'escape', '?'])
    expect(keyed(['return', 'h', back])).toMatchObject({ page: { kind: 'account' } });
});

test('s goes through all ways to sort and begins again, r reverses them, space pauses the display', () => {
  for (const [index, sort] of SORTS.entries()) expect(keyed(Array(index).fill('s'))).toMatchObject({ sort });
  expect(keyed(Array(SORTS.length).fill('s'))).toMatchObject({ sort: SORTS[0] });
  expect(keyed(['r'])).toMatchObject({ reversed: true });
  expect(keyed(['space'])).toMatchObject({ paused: true });
  expect(keyed(['space', 'space'])).toEqual(FIRST_VIEW);
});

test('any other key changes nothing', () => {
  for (const key of ['x', 'f1', 'tab', ':']) expect(keyed([key]), key).toEqual(FIRST_VIEW);
  expect(keyed([ctrl('x')])).toEqual(FIRST_VIEW);
});
