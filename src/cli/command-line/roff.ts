// Text for man(7), whose troff reads a dot or an apostrophe at the beginning of a line, and a backslash anywhere, as
// orders, and prints a plain hyphen or quote as the typographic one.

const CODE_ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\(rs',
  '-': '\\-',
  "'": '\\(aq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
  '"': '\\(dq',
};

/** What somebody may copy and type: every character as it is. May stand anywhere on a line, in an argument too. */
export function codeText(text: string): string {
  return plain(text.replaceAll(/[-\\'`^~"]/g, (character) => CODE_ESCAPES[character] ?? character));
}

/** Sentences: hyphens stay hyphens, except before what is an option. */
export function prose(text: string): string {
  return plain(
    text
      .replaceAll('\\', '\\(rs')
      .replaceAll(/(?<![\w-])-{1,2}(?=\w)/g, (dashes) => dashes.replaceAll('-', '\\-'))
      .replaceAll("'", '\\(aq'),
  );
}

/** Prose in which `code` is set as such. */
export function richProse(text: string): string {
  return text
    .split('`')
    .map((part, index) => (index % 2 === 1 ? `\\fB${codeText(part)}\\fR` : prose(part)))
    .join('');
}

export function bold(text: string): string {
  return `\\fB${codeText(text)}\\fR`;
}

/** Lines that are shown as they are. */
export function exampleLines(lines: readonly string[]): string[] {
  return ['.EX', ...lines.map((line) => guarded(codeText(line))), '.EE'];
}

/** A paragraph's line, which is no order whatever it begins with. */
export function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

function plain(text: string): string {
  return text.replaceAll(/[^\x20-\x7e\n]/gu, (character) => {
    const point = character.codePointAt(0) ?? 0;
    return `\\[u${point.toString(16).toUpperCase().padStart(4, '0')}]`;
  });
}
