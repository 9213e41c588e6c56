import { expect, test } from 'vitest';
import { type Environment, findDirectories } from '../../../src/daemon/host/directories.ts';
import { EXIT } from '../../../src/errors.ts';
import { refusalOf } from '../../store/scratch.ts';

const USER: Environment = {
  variables: {},
  uid: 1000,
  homeDir: () => '/home/trader',
  temporaryDir: '/tmp',
  exists: () => true,
};

const withVariables = (variables: Environment['variables'], others: Partial<Environment> = {}): Environment => ({
  ...USER,
  ...others,
  variables,
});

test("they are the flags', or else systemd's, or else root's, the XDG ones or the user's own", () => {
  const own = { stateDir: '/home/trader/.local/state/nonced', runtimeDir: '/tmp/nonced-1000', isService: false };
  const home = { homeStateDir: own.stateDir };
  expect(findDirectories({}, USER)).toEqual({ ...own, ...home });
  expect(findDirectories({}, withVariables({ XDG_STATE_HOME: '/s', XDG_RUNTIME_DIR: '/r' }))).toMatchObject({
    stateDir: '/s/nonced',
    runtimeDir: '/r/nonced',
    ...home,
  });
  const systemd = withVariables({ STATE_DIRECTORY: '/var/lib/x', RUNTIME_DIRECTORY: '/run/x' });
  expect(findDirectories({}, systemd)).toMatchObject({ stateDir: '/var/lib/x', runtimeDir: '/run/x', isService: true });
  const none = { homeStateDir: undefined };
  expect(findDirectories({ stateDir: 'here' }, systemd)).toEqual({
    stateDir: 'here',
    runtimeDir: '/run/x',
    isService: false,
    ...none,
  });
  expect(findDirectories({ stateDir: 'here' }, USER)).toMatchObject(none);
  expect(findDirectories({}, { ...USER, uid: 0 })).toMatchObject({ stateDir: '/var/lib/nonced', ...none });
});

test('a variable that is set to nothing is as one that is not set', () => {
  const variables = { XDG_STATE_HOME: '', XDG_RUNTIME_DIR: '', STATE_DIRECTORY: '', RUNTIME_DIRECTORY: '' };
  expect(findDirectories({}, withVariables(variables))).toEqual(findDirectories({}, USER));
});

test.each<[string, Environment, string, RegExp]>([
  ['HOME is empty', { ...USER, homeDir: () => '' }, '--state-dir', /HOME\) is empty/],
  ['HOME is relative', { ...USER, homeDir: () => 'trader' }, '--state-dir', /HOME\) is "trader", .* not an absolute/],
  [
    'XDG_STATE_HOME is relative',
    withVariables({ XDG_STATE_HOME: 'state' }),
    '--state-dir',
    /XDG_STATE_HOME is "state"/,
  ],
  ['STATE_DIRECTORY is relative', withVariables({ STATE_DIRECTORY: 'nonced' }), '--state-dir', /STATE_DIRECTORY is/],
  [
    'XDG_RUNTIME_DIR is relative',
    withVariables({ XDG_RUNTIME_DIR: 'run' }),
    '--runtime-dir',
    /XDG_RUNTIME_DIR is "run"/,
  ],
  ['TMPDIR is relative', { ...USER, temporaryDir: 'tmp' }, '--runtime-dir', /TMPDIR\) is "tmp"/],
])(
  'if %s, nothing is made in the working directory: it is an error with the option to give',
  (_what, around, option, fact) => {
    const { exitCode, message } = refusalOf(() => findDirectories({}, around));
    expect({ exitCode, message }).toEqual({ exitCode: EXIT.config, message: expect.stringMatching(fact) });
    expect(message).toContain(`${option} DIR`);
    // With both options it does not matter.
    expect(findDirectories({ stateDir: '/s', runtimeDir: '/r' }, { ...around, variables: {} })).toMatchObject({
      stateDir: '/s',
      runtimeDir: '/r',
    });
  },
);

test('a user without an entry in the password file is told so, and needs none with --state-dir', () => {
  const around = {
    ...USER,
    homeDir: () => {
      throw new Error('uv_os_homedir returned ENOENT');
    },
  };
  expect(refusalOf(() => findDirectories({}, around)).message).toBe(
    'HOME is not set, and user 1000 has no home directory; set it, or name the directory: --state-dir DIR',
  );
  expect(findDirectories({ stateDir: '/s' }, around).stateDir).toBe('/s');
});
