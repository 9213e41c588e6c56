import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { createLog, type LogOptions, type LogStream } from '../../../src/daemon/log/log.ts';

const AT_MS = Date.UTC(2026, 5, 1, 3);

/** A stream whose reader reads when told to. */
class FakeStream extends EventEmitter implements LogStream {
  lines: string[] = [];
  unread = false;
  #written = 0;

  get writableLength(): number {
    return this.unread ? this.#written : 0;
  }

  write(line: string): void {
    this.#written += line.length;
    this.lines.push(line);
  }

  /** This much of what was written has been read; the stream drains once all of it is. */
  read(characters = this.#written): void {
    this.#written -= characters;
    if (this.#written === 0) this.emit('drain');
  }
}

function logTo(stream: FakeStream, over: Partial<LogOptions> = {}) {
  return createLog({ level: 'info', format: 'text', reader: 'other', stream, wallMs: () => AT_MS, ...over });
}

function written(over: Partial<LogOptions>, act: (log: ReturnType<typeof createLog>) => void): string[] {
  const stream = new FakeStream();
  act(logTo(stream, over));
  return stream.lines;
}

const FIELDS = { account: 'MASTER', label: 'close all', pid: 7, nonce: undefined };

test('a person sees the severity as a word if it matters, and the fields after the message', () => {
  const lines = written({ level: 'debug' }, (log) => {
    log.error('the disk failed');
    log.warn('look');
    log.info('call', FIELDS);
    log.debug('granted');
  });
  expect(lines).toEqual([
    'error: the disk failed\n',
    'warn: look\n',
    'call account=MASTER label="close all" pid=7\n',
    'debug: granted\n',
  ]);
});

test('on a terminal a line begins as those of the commands do', () => {
  const act = (log: ReturnType<typeof createLog>) => {
    log.error('the disk failed');
    log.warn('look');
    log.info('nonced is ready');
    log.debug('granted');
  };
  expect(written({ level: 'debug', reader: 'terminal' }, act)).toEqual([
    'nonced: the disk failed\n',
    'nonced: warning: look\n',
    'nonced is ready\n',
    'debug: granted\n',
  ]);
});

test('journald gets the severity as a prefix, in either format', () => {
  const act = (log: ReturnType<typeof createLog>) => {
    log.error('a');
    log.warn('b');
    log.info('c');
    log.debug('d');
  };
  expect(written({ level: 'debug', reader: 'journald' }, act)).toEqual(['<3>a\n', '<4>b\n', '<6>c\n', '<7>d\n']);
  expect(written({ reader: 'journald', format: 'json' }, (log) => log.warn('b'))).toEqual([
    '<4>{"time":"2026-06-01T03:00:00.000Z","level":"warn","message":"b"}\n',
  ]);
});

test('in JSON a line is one object with time, level, message and the fields that are known', () => {
  const lines = written({ format: 'json' }, (log) => log.info('call', FIELDS));
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { time: '2026-06-01T03:00:00.000Z', level: 'info', message: 'call', account: 'MASTER', label: 'close all', pid: 7 },
  ]);
});

test('what is less severe than the level is not written', () => {
  const lines = written({ level: 'warn' }, (log) => {
    log.info('no');
    log.warn('yes');
  });
  expect(lines).toEqual(['warn: yes\n']);
});

test('a line break in a message or in a field cannot forge a line', () => {
  const forged = 'x\nerror: forged';
  const act = (log: ReturnType<typeof createLog>) => log.info(forged, { label: forged });
  expect(written({}, act)).toEqual(['x error: forged label="x\\nerror: forged"\n']);
  expect(written({ format: 'json' }, act)[0]?.trimEnd()).not.toContain('\n');
});

test('a value that is not a plain word is quoted, and what would end the quotes is escaped', () => {
  const lines = written({}, (log) => log.info('call', { a: 'grid bot', b: 'x"y\\z', c: 'k=v', d: '' }));
  expect(lines).toEqual(['call a="grid bot" b="x\\"y\\\\z" c="k=v" d=""\n']);
});

const MEGABYTE = 1_048_576;

test('while no one reads, lines are dropped and not kept, and their number is logged once all was read', () => {
  const stream = new FakeStream();
  const log = logTo(stream);
  stream.unread = true;
  for (let line = 0; line < 100_000; line++) log.info('x'.repeat(99));
  expect(stream.writableLength).toBeLessThanOrEqual(MEGABYTE + 100);
  const kept = stream.lines.length;
  stream.read();
  expect(stream.lines.slice(kept)).toEqual([`warn: ${100_000 - kept} lines dropped: nothing read the log\n`]);
  log.info('again');
  expect(stream.lines.at(-1)).toBe('again\n');
  stream.emit('drain');
  expect(stream.lines.at(-1)).toBe('again\n');
});

test('lines are kept again once half was read, with the number of those dropped before them', () => {
  const stream = new FakeStream();
  const log = logTo(stream);
  stream.unread = true;
  while (stream.writableLength <= MEGABYTE) log.info('x'.repeat(99));
  const kept = stream.lines.length;
  log.info('dropped');
  stream.read(MEGABYTE / 2 - 1000);
  log.error('dropped as well');
  stream.read(2000);
  log.info('kept');
  expect(stream.lines.slice(kept)).toEqual(['warn: 2 lines dropped: nothing read the log\n', 'kept\n']);
});
