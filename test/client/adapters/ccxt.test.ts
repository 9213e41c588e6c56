import ccxt from 'ccxt';
import { expect, test } from 'vitest';
import { withNonced } from '../../../src/client/adapters/ccxt.ts';
import { fingerprintOf } from '../../../src/client/adapters/fingerprint.ts';
import { NoncedError } from '../../../src/errors.ts';
import {
  bench,
  type CcxtClass,
  type CcxtObject,
  CREDENTIALS,
  json,
  PRO,
  REST,
  stalled,
} from '../../fixtures/ccxt-stub.ts';
import { settle } from '../../fixtures/virtual-clock.ts';
import { outcomeOf } from '../fake-daemon.ts';

const KRAKEN = REST['kraken'] as CcxtClass;
const NONCE = 1_795_364_912_801_000_000n;

const balance = (exchange: CcxtObject, params = {}) => exchange.fetch2('Balance', 'private', 'POST', params);
const order = (exchange: CcxtObject, params = {}) => exchange.fetch2('AddOrder', 'private', 'POST', params);
const nonceIn = (body: string | undefined) => new URLSearchParams(body).get('nonce');

test('a private call says whose it is and what it is, is signed with its grant, and tells how it ended', async () => {
  const { daemon, exchange, grant, transport } = await bench(KRAKEN, { account: 'MASTER' });
  const answered = balance(exchange);
  const { params } = await grant(NONCE);
  expect(params).toEqual({
    account: 'MASTER',
    key: fingerprintOf(CREDENTIALS.apiKey),
    unit: 'ns',
    priority: 'background',
    cost: 1,
    ttlMs: 15_000,
    label: 'kraken Balance',
    waitMs: expect.any(Number),
  });
  expect(await answered).toEqual({ error: [], result: {} });
  expect(nonceIn(transport.sent[0]?.body)).toBe(String(NONCE));
  const plain = new KRAKEN(CREDENTIALS);
  plain.nonce = () => String(NONCE);
  const { url, headers } = plain.sign('Balance', 'private', 'POST', {});
  expect(transport.sent[0]).toMatchObject({ url, headers });
  expect((await daemon.hear('release')).params).toEqual({ token: 1n, outcome: 'ok' });
  expect(daemon.clock.timers).toBe(0);
});

test('without an account the fingerprint of the key that is there at the time names it', async () => {
  const { exchange, grant } = await bench(KRAKEN, {}, { apiKey: undefined });
  await expect(balance(exchange)).rejects.toThrow(ccxt.AuthenticationError);
  Object.assign(exchange, { apiKey: 'set later' });
  const answered = balance(exchange);
  const { params } = await grant(NONCE);
  expect(params['account']).toBeUndefined();
  expect(params['key']).toBe(fingerprintOf('set later'));
  await answered;
});

test('without a key nothing is asked for, also of an exchange where ccxt itself would sign', async () => {
  const { daemon, exchange, transport } = await bench(REST['p2b'] as CcxtClass, {}, { apiKey: undefined });
  const failed = exchange.fetch2('account/balances', 'private', 'POST', {});
  await expect(failed).rejects.toThrow(ccxt.AuthenticationError);
  expect([daemon.heard, transport.sent]).toEqual([[], []]);
});

test('in sandbox mode the call goes there', async () => {
  const { exchange, grant, transport } = await bench(REST['gemini'] as CcxtClass);
  (exchange as unknown as { setSandboxMode(on: boolean): void }).setSandboxMode(true);
  const answered = exchange.fetch2('v1/balances', 'private', 'POST', {});
  await grant(1_795_364_912_801n);
  await answered;
  expect(transport.sent[0]?.url).toBe('https://api.sandbox.gemini.com/v1/balances');
});

test('no key and no secret goes to the daemon', async () => {
  const { exchange, grant } = await bench(KRAKEN);
  const answered = order(exchange, { pair: 'XBTUSD', cl_ord_id: 'mine' });
  const said = JSON.stringify((await grant(NONCE)).params);
  for (const secret of [CREDENTIALS.apiKey, CREDENTIALS.secret, 'XBTUSD', 'mine']) expect(said).not.toContain(secret);
  await answered;
});

test('a public call asks the daemon nothing', async () => {
  const { daemon, exchange, transport } = await bench(KRAKEN);
  await exchange.fetch2('Time', 'public', 'GET', {});
  expect(transport.sent).toHaveLength(1);
  expect(daemon.heard).toEqual([]);
});

test('a retry of maxRetriesOnFailure takes a new grant, and the one before is released first', async () => {
  const { daemon, exchange, grant, transport } = await bench(KRAKEN, {}, { options: { maxRetriesOnFailure: 2 } });
  const outcomes: unknown[] = [];
  transport.answer = () => json({ error: ['EAPI:Invalid nonce'] });
  const answered = balance(exchange);
  const settled = outcomeOf(answered);
  for (const nonce of [NONCE, NONCE + 1n, NONCE + 2n]) {
    const known = transport.sent.length;
    await grant(nonce);
    await transport.arrived(known + 1);
    await settle();
    outcomes.push((await daemon.hear('release')).params['outcome']);
  }
  await expect(answered).rejects.toThrow(ccxt.InvalidNonce);
  await settled;
  expect(transport.sent.map(({ body }) => nonceIn(body))).toEqual([NONCE, NONCE + 1n, NONCE + 2n].map(String));
  expect(outcomes).toEqual(['invalid-nonce', 'invalid-nonce', 'invalid-nonce']);
});

test('an option that repeats every failed call does not repeat an order, one for this call or this method does', async () => {
  const { daemon, exchange, grant, transport } = await bench(KRAKEN, {}, { options: { maxRetriesOnFailure: 1 } });
  transport.answer = () => json({}, 502);
  const once = order(exchange);
  await grant(NONCE);
  await expect(once).rejects.toThrow(ccxt.ExchangeNotAvailable);
  expect(daemon.methods()).not.toContain('acquire');
  const expectTwo = async (call: Promise<unknown>) => {
    const known = transport.sent.length;
    await grant(NONCE);
    await transport.arrived(known + 1);
    await settle();
    await grant(NONCE + 1n);
    await expect(call).rejects.toThrow(ccxt.ExchangeNotAvailable);
  };
  await expectTwo(order(exchange, { maxRetriesOnFailure: 1 }));
  Object.assign(exchange.options ?? {}, { AddOrder: { maxRetriesOnFailure: 1 } });
  await expectTwo(order(exchange));
  await expectTwo(exchange.fetch2('CancelOrder', 'private', 'POST', { txid: 'a' }));
});

test('a body that stalls ends 3 s after the timeout, as a timeout of ccxt, and is reported as unsettled', async () => {
  const { daemon, exchange, grant, transport } = await bench(KRAKEN);
  transport.answer = stalled;
  const answered = order(exchange);
  await grant(NONCE);
  await transport.arrived(1);
  await daemon.clock.advanceSettled(12_999);
  expect(await outcomeOf(answered)).toBe('pending');
  expect(daemon.methods()).not.toContain('release');
  await daemon.clock.advanceSettled(1);
  await expect(answered).rejects.toThrow(ccxt.RequestTimeout);
  await expect(answered).rejects.toThrow('may have been carried out');
  expect((await daemon.hear('release')).params['outcome']).toBe('unsettled');
  expect(daemon.clock.timers).toBe(0);
});

test('a lease shorter than was asked for ends the call as a timeout, before it is over', async () => {
  const { daemon, exchange, grant, transport } = await bench(KRAKEN);
  transport.answer = stalled;
  const answered = order(exchange);
  await grant(NONCE, 5_000);
  const failed = expect(answered).rejects.toThrow(ccxt.RequestTimeout);
  await transport.arrived(1);
  await daemon.clock.advanceSettled(4_500);
  await failed;
  await expect(answered).rejects.toMatchObject({ cause: { code: 'LEASE_LOST', sent: 'unknown' } });
  expect((await daemon.hear('release')).params['outcome']).toBe('unsettled');
});

test.each([
  [500, 5_500],
  [595_000, 600_000],
  [10_000_000, 600_000],
  [undefined, 15_000],
  ['10', 15_000],
])('with a timeout of %s the lease lasts %i ms, and it is looked at for each call', async (timeout, ttlMs) => {
  const { exchange, grant } = await bench(KRAKEN);
  Object.assign(exchange, { timeout });
  const answered = balance(exchange);
  answered.catch(() => {});
  expect((await grant(NONCE)).params['ttlMs']).toBe(ttlMs);
});

test('calls at once on one object each get their own nonce, also where grants come in another order', async () => {
  const { daemon, exchange, transport } = await bench(KRAKEN);
  const names = ['Balance', 'OpenOrders', 'TradeBalance', 'Ledgers'];
  const calls = names.map((name) => exchange.fetch2(name, 'private', 'POST', { name }));
  await settle();
  const asked = await Promise.all(names.map(() => daemon.hear('acquire')));
  asked.toReversed().forEach((one, index) => {
    one.grant({ token: BigInt(index + 1), nonce: NONCE + BigInt(index) });
  });
  await Promise.all(calls);
  const sent = transport.sent.map(({ body }) => [new URLSearchParams(body).get('name'), nonceIn(body)]);
  expect(Object.fromEntries(sent)).toEqual(
    Object.fromEntries(names.toReversed().map((name, index) => [name, String(NONCE + BigInt(index))])),
  );
});

test('last_request_body and its kin show what was sent', async () => {
  const { exchange, grant, transport } = await bench(KRAKEN);
  const answered = balance(exchange);
  await grant(NONCE);
  await answered;
  expect(exchange).toMatchObject({
    last_request_body: transport.sent[0]?.body,
    last_request_url: transport.sent[0]?.url,
  });
});

test('the key may not change while a call waits: nothing is sent', async () => {
  const { daemon, exchange, grant, transport } = await bench(KRAKEN);
  const answered = balance(exchange);
  await settle();
  Object.assign(exchange, { apiKey: 'another' });
  await grant(NONCE);
  await expect(answered).rejects.toMatchObject({ cause: { code: 'BAD_REQUEST', sent: false } });
  expect(transport.sent).toEqual([]);
  expect((await daemon.hear('release')).params['outcome']).toBe('unused');
});

test('inside an exclusive of the bot a call shares its lease and takes a fresh nonce', async () => {
  const { client, daemon, exchange, grant, transport } = await bench(KRAKEN, { account: 'MASTER' });
  const done = client.exclusive({ account: 'MASTER' }, () => balance(exchange));
  await grant(NONCE);
  const next = await daemon.hear('next');
  next.answer({ nonce: NONCE + 1n, count: 1 });
  await done;
  expect(nonceIn(transport.sent[0]?.body)).toBe(String(NONCE + 1n));
  expect(daemon.methods()).not.toContain('acquire');
});

test('inside an exclusive of the bot a nonce of another unit is not sent', async () => {
  const { client, daemon, exchange, grant, transport } = await bench(REST['bitso'] as CcxtClass, { account: 'MASTER' });
  const done = client.exclusive({ account: 'MASTER' }, () => exchange.fetch2('balance', 'private', 'GET', {}));
  await grant(NONCE);
  (await daemon.hear('next')).answer({ nonce: NONCE + 1n, count: 1 });
  await expect(done).rejects.toThrow(ccxt.ExchangeError);
  await expect(done).rejects.toThrow('not in ms');
  expect(transport.sent).toEqual([]);
});

test('if the lease around it is lost before the call begins, nothing was sent', async () => {
  const { client, daemon, exchange, grant, transport } = await bench(KRAKEN, { account: 'MASTER' });
  let inner: unknown;
  const done = client.exclusive({ account: 'MASTER' }, async (around) => {
    daemon.line.revoke(around.token);
    await settle();
    inner = await balance(exchange).catch((error: unknown) => error);
  });
  await grant(NONCE);
  await expect(done).rejects.toMatchObject({ code: 'LEASE_LOST' });
  await settle();
  expect(inner).toBeInstanceOf(ccxt.ExchangeNotAvailable);
  expect(inner).toMatchObject({ cause: { code: 'LEASE_LOST', sent: false } });
  expect(transport.sent).toEqual([]);
});

test('a client that is closed fails calls at once and for good, and public calls go on', async () => {
  const { client, exchange, transport } = await bench(KRAKEN, {}, { options: { maxRetriesOnFailure: 3 } });
  await client.close();
  await expect(balance(exchange)).rejects.toThrow(ccxt.ExchangeError);
  await expect(balance(exchange)).rejects.toMatchObject({ cause: { code: 'CANCELLED', sent: false } });
  expect(transport.sent).toEqual([]);
  await exchange.fetch2('Time', 'public', 'GET', {});
});

test('closing the client while a call is under way ends it as a timeout, while it waits as not sent', async () => {
  const { client, exchange, grant, transport } = await bench(KRAKEN);
  transport.answer = stalled;
  const begun = order(exchange);
  await grant(NONCE);
  await transport.arrived(1);
  const waiting = balance(exchange);
  const [first, second] = [outcomeOf(begun), outcomeOf(waiting)];
  await settle();
  await client.close();
  await Promise.all([first, second]);
  await expect(waiting).rejects.toMatchObject({ cause: { sent: false } });
  await expect(begun).rejects.toThrow(ccxt.RequestTimeout);
});

test('a nonce() of the bot is refused in every form', async () => {
  const { Adapted, exchange } = await bench(KRAKEN);
  const own = () => 5;
  expect(() => new Adapted({ nonce: own })).toThrow('nonce() of its own');
  class ByField extends Adapted {
    override nonce = own;
  }
  expect(() => new ByField()).toThrow('redefine');
  class ByPrototype extends Adapted {
    override nonce(): number {
      return 5;
    }
  }
  expect(() => new ByPrototype()).toThrow('nonce() of its own');
  expect(() => Object.assign(exchange, { nonce: own })).toThrow('nonce() of its own');
  expect(() => exchange.nonce()).toThrow('outside of sign()');
});

test('one in the class that is adapted is refused, and so is an incrementingNonce(), however far up', async () => {
  class OwnClock extends KRAKEN {
    override nonce(): number {
      return 5;
    }
  }
  class Derived extends OwnClock {}
  class Incrementing extends KRAKEN {
    override incrementingNonce(): number {
      return 5;
    }
  }
  class Signing extends OwnClock {
    override sign(...args: Parameters<CcxtObject['sign']>) {
      return super.sign(...args);
    }
  }
  for (const Own of [OwnClock, Derived, Incrementing, Signing]) {
    await expect(bench(Own)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining('nonce() of its own'),
    });
  }
  class Harmless extends KRAKEN {}
  await expect(bench(Harmless)).resolves.toBeDefined();
});

/** A ccxt whose `sign` makes its nonces in another way. */
function signingWith(sign: (exchange: CcxtObject) => string): CcxtClass {
  return class extends KRAKEN {
    override sign(path: unknown) {
      const body = `nonce=${sign(this)}`;
      return {
        url: `https://api.kraken.com/${String(path)}`,
        method: 'POST',
        headers: { 'API-Key': 'account-key' },
        body,
      };
    }
  };
}

test('incrementingNonce() asks the daemon, too', async () => {
  const { exchange, grant, transport } = await bench(signingWith((own) => String(own.incrementingNonce?.())));
  const answered = balance(exchange);
  await grant(NONCE);
  await answered;
  expect(nonceIn(transport.sent[0]?.body)).toBe(String(NONCE));
  expect(() => Object.assign(exchange, { incrementingNonce: () => 5 })).toThrow('nonce() of its own');
});

test('a signed request without the granted nonce is not sent, and its lease was unused', async () => {
  const lastDigitOff = (own: CcxtObject) => String(own.nonce()).replace(/.$/, '7');
  const longer = (own: CcxtObject) => `${String(own.nonce())}0`;
  for (const sign of [lastDigitOff, longer]) {
    const { daemon, exchange, grant, transport } = await bench(signingWith(sign));
    const answered = expect(balance(exchange)).rejects.toMatchObject({
      message: expect.stringContaining(`does not bear the nonce ${NONCE}`),
      cause: { code: 'BAD_REQUEST', sent: false },
    });
    await grant(NONCE);
    await answered;
    expect((await daemon.hear('release')).params['outcome']).toBe('unused');
    expect(transport.sent).toEqual([]);
  }
});

test('a request that is signed without asking for a nonce is not sent', async () => {
  const { daemon, exchange, transport } = await bench(signingWith(() => '1795364912801'));
  await expect(balance(exchange)).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining('without asking for a nonce'),
  });
  expect(daemon.methods()).toEqual([]);
  expect(transport.sent).toEqual([]);
});

test('a derived class may put its own around sign and fetch, and what it is given there is signed', async () => {
  const { Adapted, make, grant, transport } = await bench(KRAKEN);
  const seen: unknown[] = [];
  class Derived extends Adapted {
    override sign(...args: Parameters<CcxtObject['sign']>) {
      const [path, api, method, params] = args;
      const signed = super.sign(path, api, method, { ...(params as object), otp: '1' });
      return { ...signed, headers: { ...signed.headers, 'X-Own': 'yes' } };
    }
    override async fetch(...args: Parameters<CcxtObject['fetch']>) {
      await settle();
      seen.push(nonceIn(String(args[3])));
      return super.fetch(...args);
    }
  }
  const answered = balance(make(Derived));
  await settle();
  await grant(NONCE);
  await answered;
  expect(seen).toEqual([String(NONCE)]);
  expect(transport.sent[0]?.headers).toMatchObject({ 'X-Own': 'yes' });
  expect(transport.sent[0]?.body).toBe(`nonce=${NONCE}&otp=1`);
});

test('sign and fetch that a bot assigns later are used, within the lease', async () => {
  const { exchange, grant, transport } = await bench(KRAKEN);
  const { sign } = new KRAKEN(CREDENTIALS);
  const seen: unknown[] = [];
  Object.assign(exchange, {
    sign(this: CcxtObject, ...args: Parameters<CcxtObject['sign']>) {
      const [path, api, method] = args;
      return sign.call(this, path, api, method, { otp: '1' });
    },
    fetch: async (_url: string, _method: string, _headers: unknown, body: string) => {
      seen.push(body);
      return {};
    },
  });
  const answered = balance(exchange);
  await grant(NONCE);
  await answered;
  expect(seen).toEqual([`nonce=${NONCE}&otp=1`]);
  expect(transport.sent).toEqual([]);
});

test('sign and fetch one after the other, as a bot may do it, take a lease too', async () => {
  const { exchange, grant, transport } = await bench(KRAKEN);
  const { url, method, headers, body } = exchange.sign('Balance', 'private', 'POST', {});
  await exchange.fetch2('Time', 'public', 'GET', {});
  const answered = exchange.fetch(url, method, { ...headers }, body);
  await grant(NONCE);
  await answered;
  expect(nonceIn(transport.sent[1]?.body)).toBe(String(NONCE));
});

test('a request that is signed outside of a call has a nonce that no exchange accepts', async () => {
  const { exchange } = await bench(KRAKEN);
  expect(exchange.sign('Balance', 'private', 'POST', {}).body).toBe('nonce=0');
});

test('a sign that asks twice, or signs within signing, gets one nonce for one request', async () => {
  class Twice extends KRAKEN {
    override sign(...args: Parameters<CcxtObject['sign']>) {
      super.sign('Other', 'private', 'POST', {});
      const signed = super.sign(...args);
      return { ...signed, headers: { ...signed.headers, nonce: String(this.nonce()) } };
    }
  }
  const { exchange, grant, transport } = await bench(Twice);
  const answered = balance(exchange);
  await grant(NONCE);
  await answered;
  expect(transport.sent[0]?.headers['nonce']).toBe(String(NONCE));
  expect(nonceIn(transport.sent[0]?.body)).toBe(String(NONCE));
});

test('a sign that throws once it has its nonce sends nothing, and says so', async () => {
  let calls = 0;
  class Throwing extends KRAKEN {
    override sign(...args: Parameters<CcxtObject['sign']>) {
      calls += 1;
      if (calls > 1) throw new Error('a mistake of the bot');
      return super.sign(...args);
    }
  }
  const { daemon, exchange, grant, transport } = await bench(Throwing);
  const answered = balance(exchange);
  await grant(NONCE);
  await expect(answered).rejects.toThrow('a mistake of the bot');
  expect(transport.sent).toEqual([]);
  expect((await daemon.hear('release')).params['outcome']).toBe('unused');
  expect(() => exchange.nonce()).toThrow('outside of sign()');
});

test('an object behind a proxy works as well', async () => {
  const { exchange, grant, transport } = await bench(KRAKEN);
  const answered = balance(new Proxy(exchange, {}));
  await grant(NONCE);
  await answered;
  expect(nonceIn(transport.sent[0]?.body)).toBe(String(NONCE));
});

test('a class with streams makes its REST calls in the same way', async () => {
  const { exchange, grant, transport } = await bench(PRO['kraken'] as CcxtClass);
  transport.answer = () => json({ error: [], result: { token: 'for the stream', expires: 900 } });
  const answered = exchange.fetch2('GetWebSocketsToken', 'private', 'POST', {});
  await grant(NONCE);
  expect(await answered).toMatchObject({ result: { token: 'for the stream' } });
  expect(nonceIn(transport.sent[0]?.body)).toBe(String(NONCE));
});

test.each(['bitfinex', 'gemini'])('the private streams of %s are refused: they sign behind the daemon', async (id) => {
  const { exchange } = await bench(PRO[id] as CcxtClass);
  await expect(exchange.authenticate?.({})).rejects.toThrow('nonces of their own');
});

test('whitebit numbers its stream messages as before', async () => {
  const { exchange } = await bench(PRO['whitebit'] as CcxtClass);
  expect(String(exchange.nonce())).toHaveLength(13);
});

test('the type is the class that was given', async () => {
  const { client } = await bench(KRAKEN);
  const Kraken = withNonced(ccxt.kraken, { client });
  const exchange: InstanceType<typeof ccxt.kraken> = new Kraken({ apiKey: 'k', secret: 'c2VjcmV0' });
  expect(exchange).toBeInstanceOf(ccxt.kraken);
  const Pro: typeof ccxt.pro.kraken = withNonced(ccxt.pro.kraken, { client });
  expect(new Pro().id).toBe('kraken');
});

test('what it is given is checked, and the message says what to give', async () => {
  const { client } = await bench(KRAKEN);
  const badly = (base: unknown, options: unknown) => () =>
    withNonced(base as typeof ccxt.kraken, options as { client: typeof client });
  expect(badly(ccxt.kraken, undefined)).toThrow('no client');
  expect(badly(ccxt.kraken, { client: Promise.resolve(client) })).toThrow('await connect()');
  expect(badly(ccxt.kraken, { client, acount: 'MASTER' })).toThrow('acount');
  expect(badly(ccxt.kraken, { client, account: 5 })).toThrow('account');
  expect(badly(undefined, { client })).toThrow('no class');
  expect(badly(ccxt.kraken, { client, unit: 'days' })).toThrow('not in days');
  expect(badly(ccxt.bitso, { client, unit: 'ns' })).toThrow('bitso takes nonces in ms, not in ns');
  expect(badly(ccxt.kraken, {})).toThrow(NoncedError);
});
