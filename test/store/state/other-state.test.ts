import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EXIT } from '../../../src/errors.ts';
import { leaveSign, refuseSecondState } from '../../../src/store/state/other-state.ts';
import { refusalOf } from '../scratch.ts';

let dir: string;
let home: string;
let xdg: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'nonced-'));
  home = join(dir, 'home/.local/state/nonced');
  xdg = join(dir, 'xdg/nonced');
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

function makeState(stateDir: string): void {
  mkdirSync(stateDir, { recursive: true });
  writeFileSync(join(stateDir, 'state.json'), '{}\n');
}

const inCron = () => ({ stateDir: home, homeStateDir: home });
const inShell = () => ({ stateDir: xdg, homeStateDir: home });

test('a first start anywhere is none of its business, and makes nothing', () => {
  refuseSecondState(inCron());
  refuseSecondState(inShell());
  expect(existsSync(join(dir, 'home'))).toBe(false);
});

test('a shell with XDG_STATE_HOME makes no second state beside the one that cron made', () => {
  makeState(home);
  const { exitCode, message } = refusalOf(() => refuseSecondState(inShell()));
  expect(exitCode).toBe(EXIT.config);
  expect(message).toContain(`nonced serve --state-dir ${home}`);
  refuseSecondState(inCron());
});

test('cron makes no second state beside the one that a shell with XDG_STATE_HOME made', () => {
  makeState(xdg);
  expect(leaveSign(inShell())).toBeUndefined();
  const { exitCode, message } = refusalOf(() => refuseSecondState(inCron()));
  expect(exitCode).toBe(EXIT.config);
  expect(message).toContain(`nonced serve --state-dir ${xdg}`);
  refuseSecondState(inShell());
});

test('a state that its operator has made in spite of the other one is used', () => {
  makeState(xdg);
  leaveSign(inShell());
  makeState(home);
  refuseSecondState(inCron());
  refuseSecondState(inShell());
});

test('a sign of the same place, or of a place that was given by an option, is none', () => {
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'state-is-elsewhere'), `${home}\n`);
  refuseSecondState(inCron());
  expect(leaveSign({ stateDir: join(dir, 'given'), homeStateDir: undefined })).toBeUndefined();
  expect(readFileSync(join(home, 'state-is-elsewhere'), 'utf8')).toBe(`${home}\n`);
});

test('a sign that cannot be left is an error to tell, and one that is there already is not written again', () => {
  mkdirSync(join(dir, 'home'));
  writeFileSync(join(dir, 'home/.local'), '');
  expect(leaveSign(inShell())).toMatchObject({ code: 'ENOTDIR' });
  rmSync(join(dir, 'home/.local'));
  expect(leaveSign(inShell())).toBeUndefined();
  rmSync(join(home, 'state-is-elsewhere'));
  writeFileSync(join(home, 'state-is-elsewhere'), xdg);
  leaveSign(inShell());
  expect(readFileSync(join(home, 'state-is-elsewhere'), 'utf8')).toBe(xdg);
});
