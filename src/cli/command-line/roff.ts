// Text for man(7). troff takes a dot or an apostrophe at the start of a line, and a backslash anywhere, for a request,
// and prints a plain hyphen or quote as the typographic one.

const CODE_ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\(rs',
  '-': '\\-',
  "'": '\\(aq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
  '"': '\\(dq',
};

/**
 * Returns text that a reader may copy and type, with every character as it is. It may stand anywhere, also in an
 * argument.
 */
export function codeText(text: string): string {
  return plain(text.replaceAll(/[-\\'`^~"]/g, (character) => CODE_ESCAPES[character] ?? character));
}

/** Returns sentences, in which hyphens stay typographic unless they begin an option. */
export function prose(text: string): string {
  return plain(
    text
      .replaceAll('\\', '\\(rs')
      .replaceAll(/(?<![\w-])-{1,2}(?=\w)/g, (dashes) => dashes.replaceAll('-', '\\-'))
      .replaceAll("'", '\\(aq'),
  );
}

/** Returns prose in which `code` is set in bold. */
export function richProse(text: string): string {
  return text
    .split('`')
    .map((part, index) => (index % 2 === 1 ? `\\fB${codeText(part)}\\fR` : prose(part)))
    .join('');
}

export function bold(text: string): string {
  return `\\fB${codeText(text)}\\fR`;
}

/** Returns lines that are shown as they are. */
export function exampleLines(lines: readonly string[]): string[] {
  return ['.EX', ...lines.map((line) => guarded(codeText(line))), '.EE'];
}

/** Returns the line of a paragraph so that it is never a request, whatever it begins with. */
export function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

function plain(text: string): string {
  return text.replaceAll(/[^\x20-\x7e\n]/gu, (character) => {
    const point = character.codePointAt(0) ?? 0;
    return `\\[u${point.toString(16).toUpperCase().padStart(4, '0')}]`;
  });
}
