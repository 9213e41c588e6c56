import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseJson } from '../../../src/daemon/configuration/policy-json.ts';
import { describeProblem } from '../../../src/daemon/configuration/policy-problem.ts';
import { anyText } from '../../fixtures/any-text.ts';
import { shareOf } from '../../fixtures/effort.ts';

function duplicatesIn(text: string): string[] {
  const parsed = parseJson(text);
  if (parsed.kind === 'broken') return expect.fail(parsed.problem.message);
  return parsed.duplicates.map(describeProblem);
}

function breakIn(text: string): string {
  const parsed = parseJson(text);
  return parsed.kind === 'broken' ? parsed.problem.message : expect.fail('it was taken for JSON');
}

function valueIn(text: string): unknown {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return 'broken';
  }
}

describe('JSON', () => {
  test('is what JSON.parse takes for it, with the same value, and nothing else', () => {
    const pieces = fc.constantFrom(
      ...['{', '}', '[', ']', ':', ',', '"', '"a"', '"b":1', '\\', '\\u0', '\\n', '\n', '\t', ' ', '\u00a0', '\u0000'],
      ...['1', '-', '0', '01', '1e5', '.5', '-0', 'true', 'null', 'nul', 'é', '//', "'", '"\\"', '"a":{}', '[]'],
    );
    const pasted = fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join(''));
    const spoiled = fc
      .tuple(fc.json(), fc.nat(), fc.nat(3), fc.oneof(pieces, fc.constant('')))
      .map(([text, at, cut, put]) => {
        const from = at % (text.length + 1);
        return text.slice(0, from) + put + text.slice(from + cut);
      });
    fc.assert(
      fc.property(fc.oneof(fc.json(), pasted, spoiled), (text) => {
        const parsed = parseJson(text);
        expect(parsed.kind === 'broken' ? 'broken' : { value: parsed.value }).toEqual(valueIn(text));
      }),
      { numRuns: shareOf(5_000) },
    );
  }, 30_000);

  test('with no key twice in one object has no duplicates, however often it is in several', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(duplicatesIn(JSON.stringify(JSON.parse(text)))).toEqual([]);
      }),
    );
    expect(duplicatesIn('{"a": {"a": {}, "b": 1}, "b": [{"a": 1}, {"a": 1}]}')).toEqual([]);
  });
});

describe('a key that is twice in one object', () => {
  test('is reported with its path and its lines', () => {
    const text = '{\n  "accounts": {\n    "USER:*": {},\n    "A": {},\n    "USER:*": {}\n  }\n}';
    expect(duplicatesIn(text)).toEqual([
      'accounts["USER:*"]: is there twice, in line 3 and in line 5, and only the last would count; keep one',
    ]);
    expect(duplicatesIn('{"a":1,"a":2}')).toEqual([
      'a: is there twice, in line 1, and only the last would count; keep one',
    ]);
  });

  test('is found each time, at any depth, and behind what looks like its end', () => {
    expect(duplicatesIn('{"a":1,"a":1,"b":{"c":"}","x":"\\"","c":[{"d":1,"d":2}]},"a":3}')).toHaveLength(4);
  });

  test('is found if one of the two is written with an escape', () => {
    expect(duplicatesIn('{"MASTER":{},"M\\u0041STER":{}}')).toHaveLength(1);
  });

  test('is found under names that every object has', () => {
    expect(duplicatesIn('{"__proto__":1,"constructor":1,"__proto__":2,"constructor":2}')).toHaveLength(2);
  });
});

describe('text that is not JSON', () => {
  test.each([
    ['{', 'line 1, column 2: a key in double quotes is missing; the file ends too early'],
    ['{"a": 1,\n}', 'line 2, column 1: a key in double quotes is missing; remove the comma before the closing bracket'],
    ['[1,]', 'line 1, column 4: a value is missing; remove the comma before the closing bracket'],
    [
      '{\n  // mine\n}',
      'line 2, column 3: a key in double quotes is missing; JSON has no comments, so use a "$comment" key',
    ],
    ['{} # mine', 'line 1, column 4: there is text after the end; JSON has no comments, so use a "$comment" key'],
    ["{'a': 1}", 'line 1, column 2: a key in double quotes is missing; JSON takes double quotes only'],
    ['{a: 1}', "line 1, column 2: a key in double quotes is missing; it goes on with 'a: 1}'"],
    ['{"a" 1}', "line 1, column 6: a colon after the key is missing; it goes on with '1}'"],
    ['{"a": 1\n "b": 2}', `line 2, column 2: a comma or a closing brace is missing; it goes on with '"b": 2}'`],
    ['[1 2]', "line 1, column 4: a comma or a closing bracket is missing; it goes on with '2]'"],
    ['{"a": yes}', "line 1, column 7: a value is missing; it goes on with 'yes}'"],
    ['{"a": "b}', 'line 1, column 7: a value is missing; the quote that opens here is never closed'],
    [
      '{"a": "x\ny"}',
      'line 1, column 7: a text in quotes contains a line break, a control character or an unknown escape',
    ],
    [
      '{"a": "\\x"}',
      'line 1, column 7: a text in quotes contains a line break, a control character or an unknown escape',
    ],
    ['{} {}', "line 1, column 4: there is text after the end; it goes on with '{}'"],
  ])('%j is reported by line and column, with the fix', (text, message) => {
    expect(breakIn(text)).toContain(message);
  });

  test('is reported on one line, whatever is in it', () => {
    fc.assert(
      fc.property(anyText(), (text) => {
        const parsed = parseJson(text);
        if (parsed.kind === 'broken') expect(parsed.problem.message).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
      }),
    );
  }, 30_000);

  test('is reported for a megabyte of anything', () => {
    const size = 1024 * 1024;
    expect(breakIn('['.repeat(size))).toContain('nested deeper than any configuration is');
    expect(breakIn('{"a":'.repeat(size / 8))).toContain('nested deeper than any configuration is');
    expect(breakIn(`"${'x'.repeat(size)}`)).toContain('never closed');
    expect(breakIn(`"${'\\n'.repeat(size / 2)}`)).toContain('never closed');
    expect(breakIn(' '.repeat(size))).toContain('ends too early');
    expect(breakIn(`{${'"a":1,'.repeat(size / 8)}}`)).toContain('remove the comma');
    expect(duplicatesIn(`{${'"a":1,\n'.repeat(size / 8)}"b":1}`)).toHaveLength(size / 8 - 1);
  }, 30_000);
});
