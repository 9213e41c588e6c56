import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseStrictly } from '../cli/metrics/strict-parser.ts';
import { eventually } from '../fixtures/eventually.ts';
import { install, nonced } from './installed.ts';
import { cannotBoot, Machine } from './machine.ts';

const UNIT = 'nonced-metrics.service';
const skipped = cannotBoot && ` (skipped: ${cannotBoot})`;

let machine: Machine;

describe.skipIf(cannotBoot !== '')(`the service that serves the metrics${skipped}`, () => {
  beforeAll(async () => {
    machine = await Machine.boot();
    await install(machine);
    await machine.must(['cp', resolve(`systemd/${UNIT}`), '/etc/systemd/system/']);
    // As docs/metrics.md says for a copy; on any port, because this machine shares its ports with others.
    const command = [...nonced('metrics', '--listen'), '127.0.0.1:0'].join(' ');
    const dropIn = `/etc/systemd/system/${UNIT}.d`;
    await machine.must([
      'sh',
      '-c',
      `mkdir ${dropIn} && printf '[Service]\\nExecStart=\\nExecStart=%s\\n' "$0" >${dropIn}/own.conf`,
      command,
    ]);
    await machine.must(['systemctl', 'daemon-reload']);
    await machine.must(['systemctl', 'enable', '--now', UNIT]);
  });

  afterAll(async () => {
    await machine?.end();
  });

  const place = () =>
    eventually('it listens', async () => {
      const { stdout } = await machine.run(['journalctl', '--no-pager', '-o', 'cat', '-u', UNIT]);
      return /at (http:\S+)$/m.exec(stdout)?.[1];
    });

  test('asks the daemon from its sandbox, as a user of its own in the group nonced', async () => {
    const families = parseStrictly(await (await fetch(await place())).text());
    expect(families.get('nonced_up')?.samples.get('nonced_up')).toBe(1);
    const pid = await machine.property('MainPID', UNIT);
    const ids = await machine.must(['sh', '-c', `grep -E '^(Uid|Groups|CapEff):' /proc/${pid}/status`]);
    const group = (await machine.must(['getent', 'group', 'nonced'])).split(':')[2];
    expect(ids).not.toMatch(/^Uid:\s+0\b/m);
    expect(ids).toMatch(new RegExp(`^Groups:.*\\b${group}\\b`, 'm'));
    expect(ids).toMatch(/^CapEff:\s+0+$/m);
  });

  test('rates 1.2 or better, and systemd finds nothing wrong with it', async () => {
    const rating = await machine.must(['systemd-analyze', 'security', '--no-pager', UNIT]);
    expect(Number(/Overall exposure level for \S+: ([\d.]+)/.exec(rating)?.[1])).toBeLessThanOrEqual(1.2);
    const verified = await machine.run(['systemd-analyze', 'verify', `/etc/systemd/system/${UNIT}`]);
    expect(verified.stderr.split('\n').filter((line) => line.includes('nonced'))).toEqual([]);
  });

  test('ends at once and without an error when it is stopped', async () => {
    await machine.must(['systemctl', 'stop', UNIT]);
    expect(await machine.property('Result', UNIT)).toBe('success');
    expect(await machine.property('ExecMainStatus', UNIT)).toBe('0');
  });
});
