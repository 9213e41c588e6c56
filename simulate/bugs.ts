/** A change of the compiled program. */
export interface Change {
  /** The compiled file, below `src/`. */
  readonly file: string;
  /** A text that is in it exactly once, and what replaces it. */
  readonly from: string;
  readonly to: string;
}

/** A deliberate bug. */
export interface Bug extends Change {
  readonly name: string;
  /** Further changes, if one is not enough. */
  readonly also?: readonly Change[];
}

export const BUGS: readonly Bug[] = [
  {
    name: 'the reply goes out before the ceiling is durable',
    file: 'core/nonces/ceiling-writer.js',
    from: 'const failure = await store.write(next);',
    to: 'for (const [sequence, proposal] of proposals) sequence.adopt(proposal);\n        const failure = await store.write(next);',
  },
  {
    name: 'the directory is not synced',
    file: 'store/state/state-file.js',
    from: 'await this.#steps.syncDirectory(this.#dirFd);',
    to: '',
  },
  {
    name: 'the ceiling is read at the start but the sequence begins below it',
    file: 'core/nonces/nonce-sequence.js',
    from: 'this.#last = durable.ceiling - 1n;',
    to: 'this.#last = durable.ceiling - 1000000000n;',
  },
  {
    name: 'the ceiling is read at the start, and used as if it had been raised',
    file: 'core/nonces/nonce-sequence.js',
    from: 'this.#end = min(durable.ceiling, durable.max + 1n);',
    to: 'this.#end = durable.ceiling + 5000000000n;',
  },
  {
    name: 'a token is enough to release a lease',
    file: 'core/leases/lease-ends.js',
    from: 'const { ledger, leases } = this.#parts;\n        const lease = leases.own(client, token);',
    to: 'const { ledger, leases } = this.#parts;\n        const lease = [...leases.values()].find((one) => one.token === token);',
  },
  {
    name: 'a token is not checked against its connection',
    file: 'core/leases/lease-table.js',
    from: 'return lease?.client === client ? lease : undefined;',
    to: 'return lease;',
  },
  {
    name: 'the nonce is drawn when the request is queued',
    file: 'core/leases/grants.js',
    from: 'const drawn = ledger.take(account.sequence, count);',
    to: 'const drawn = waiter.early ?? ledger.take(account.sequence, count);',
    also: [
      {
        file: 'core/leases/admission.js',
        from: 'switch (this.#grants.admit(waiter)) {',
        to: 'waiter.early = this.#grants.early(account, params.count);\n        switch (this.#grants.admit(waiter)) {',
      },
      {
        file: 'core/leases/grants.js',
        from: 'get made() {',
        to: "early(account, count) {\n        const taken = account.enlisted ? this.#parts.ledger.take(account.sequence, count) : undefined;\n        return taken?.kind === 'taken' ? taken : undefined;\n    }\n    get made() {",
      },
    ],
  },
  {
    name: 'after a stall leases expire before the waiting input is read',
    file: 'daemon/sockets/switchboard.js',
    from: 'this.#afterInput(() => {\n                this.#timer = undefined;',
    to: '((done) => done())(() => {\n                this.#timer = undefined;',
  },
  {
    name: 'a release does not wake the next waiter',
    file: 'core/leases/lease-ends.js',
    from: 'begunAtMs: lease.begunAtMs, outcome });\n        this.#grants.pumpLanesOf(lease);',
    to: 'begunAtMs: lease.begunAtMs, outcome });',
  },
  {
    name: 'a cancelled waiter stays in its queue',
    file: 'core/leases/admission.js',
    from: 'this.#room.refuse(waiting, CANCELLED);',
    to: 'client.peer.refused(id, CANCELLED);',
  },
  {
    name: 'the notes of leases are ignored at the start',
    file: 'core/leases/restart.js',
    from: 'for (const noted of found.leases) {',
    to: 'for (const noted of []) {',
  },
  {
    name: 'pacing lets one call too many through',
    file: 'core/accounts/pacing.js',
    from: 'this.#emptyAtMs - (this.pacing.max - cost) * this.#msPerUnit',
    to: 'this.#emptyAtMs - (this.pacing.max - cost + 1) * this.#msPerUnit',
  },
  {
    name: 'a lease is not noted before its grant is sent',
    file: 'core/leases/lease-table.js',
    from: 'this.#notes.note({ account, token, priority, ttlMs, expiresAtMs, sessionHash, requestId, nonces, label });',
    to: '',
  },
  {
    name: 'the lane of a holder from before a restart opens at once',
    file: 'core/leases/restart.js',
    from: 'export const RETURN_MS = 2_000;',
    to: 'export const RETURN_MS = 0;',
  },
  {
    name: 'damaged notes do not close the lanes',
    file: 'core/leases/restart.js',
    from: 'this.#allClosed = found.damaged;',
    to: 'this.#allClosed = false;',
  },
  {
    name: 'the checksum of the state is not looked at',
    file: 'store/state/state-format.js',
    from: 'return serialiseBody(body).equals(bytes);',
    to: 'return true;',
  },
  {
    name: 'a lease of a closed connection lives on',
    file: 'core/broker.js',
    from: "this.#ends.end(lease, 'disconnected', 'unknown', false);",
    to: '',
  },
  {
    name: 'a waiter of a closed connection stays in its queue',
    file: 'core/broker.js',
    from: 'lanes.add(waiting.lane);\n            this.#leave(waiting);',
    to: 'lanes.add(waiting.lane);',
  },
  {
    name: 'a renewal does not move the end of its lease',
    file: 'core/leases/lease-ends.js',
    from: 'deadlines.reschedule(lease, lease.expiresAtMs);\n        // Never more',
    to: '// Never more',
  },
  {
    name: 'a renewal is not noted',
    file: 'core/leases/lease-ends.js',
    from: 'if (!leases.note(lease))\n            return SHUTTING_DOWN;',
    to: '',
  },
  {
    name: 'an urgent waiter preempts any lease',
    file: 'core/lanes/lane.js',
    from: "if (lease.priority !== 'background')\n                return undefined;",
    to: '',
  },
  {
    name: 'waiters are served by arrival alone',
    file: 'core/lanes/lane.js',
    from: 'return this.#passedOver >= AGED_SHARE - 1 ? oldest : byPriority;',
    to: 'return oldest;',
  },
  {
    name: 'an account draws before its sequence is durable',
    file: 'core/nonces/ledger.js',
    from: "return 'under-way';",
    to: "account.enlisted = true;\n            return 'enlisted';",
  },
  {
    name: 'a switch of the exclusion policy takes effect before it is durable',
    file: 'core/operator/operations.js',
    from: 'return { exclusive: policy, inEffect };',
    to: 'this.#grants.switchTo(policy);\n            return { exclusive: policy, inEffect };',
  },
  {
    name: 'a clock from a wrong future is followed',
    file: 'core/nonces/sequence-clock.js',
    from: 'return yardstickMs;',
    to: 'return wallMs;',
  },
  {
    name: 'a raised ceiling is used a little beyond what is durable',
    file: 'core/nonces/nonce-sequence.js',
    from: 'this.#ceiling = max(this.#ceiling, proposal.ceiling);',
    to: 'this.#ceiling = max(this.#ceiling, proposal.ceiling) + 1000000n;',
  },
  {
    name: 'the ceiling is off by one',
    file: 'core/nonces/nonce-sequence.js',
    from: 'if (first + span > this.#end) {\n            if (first',
    to: 'if (first + span > this.#end + 1n) {\n            if (first',
  },
  {
    name: 'a bucket is empty after a crash',
    file: 'core/accounts/account-table.js',
    from: 'return new LeakyBucket(pacing, noted.level, noted.atMs);',
    to: 'return new LeakyBucket(pacing, 0, nowMs);',
  },
  {
    name: 'a session that comes back is told of nothing that it holds',
    file: 'core/leases/lease-table.js',
    from: 'if (lease.sessionHash !== sessionHash)\n                continue;',
    to: 'continue;',
  },
  {
    name: 'a clean stop writes a ceiling below the last nonce',
    file: 'core/nonces/ceiling-writer.js',
    from: 'sequence.durable(sequence.last + 1n)',
    to: 'sequence.durable(sequence.last - 10n)',
  },
  {
    name: 'no waiter is granted for having waited long',
    file: 'core/lanes/lane.js',
    from: 'return this.#passedOver >= AGED_SHARE - 1 ? oldest : byPriority;',
    to: 'return byPriority;',
  },
  {
    name: 'a second request under an id that already waits is accepted',
    file: 'core/leases/admission.js',
    from: 'if (client.waiting.has(id)) {',
    to: 'if (false) {',
  },
  {
    name: 'a waiter is not told that it has waited too long',
    file: 'core/broker.js',
    from: 'this.#room.refuse(due, waitTimeout(due, nowMs));',
    to: 'this.#room.drop(due);',
  },
  {
    name: 'a waiter for a write of the ceiling is not served after it',
    file: 'core/broker.js',
    from: 'this.#room.unwatchWrite();\n        this.#serveBlocked(failure);',
    to: 'this.#room.unwatchWrite();',
  },
  {
    name: 'the timer is not set again after it has fired',
    file: 'daemon/sockets/switchboard.js',
    from: 'if (nextMs !== undefined)\n                    this.#arm(nextMs);',
    to: '',
  },
  {
    name: 'a failed write is not tried again',
    file: 'core/nonces/ceiling-writer.js',
    from: 'const timer = this.#options.clock.after(this.#retryMs, () => this.#start());',
    to: 'const timer = this.#options.clock.after(this.#retryMs, () => { });',
  },
  {
    name: 'a configuration moves an account that has drawn',
    file: 'core/operator/policy-plan.js',
    from: 'misplaced.push(refused(misplacement, policies, sequences.has(other)));',
    to: 'places.set(account, { sequence: other });',
  },
  {
    name: 'the client counts its lease from when the answer came',
    file: 'client/leases/acquire.js',
    from: 'return Math.min((this.sentAtMs ?? nowMs) + waitedMs, nowMs) + ttlMs;',
    to: 'return nowMs + ttlMs;',
  },
  {
    name: 'rejected nonces do not open the breaker',
    file: 'core/accounts/breaker.js',
    from: 'const opens = rejected &&',
    to: 'const opens = false &&',
  },
  {
    name: 'a restart closes the breaker',
    file: 'core/accounts/account-table.js',
    from: 'new Breaker(noted?.breaker)',
    to: 'new Breaker()',
  },
  {
    name: 'a call counts as if it had arrived when it was granted',
    file: 'core/accounts/pacing.js',
    from: 'this.#emptyAtMs = Math.max(this.#emptyAtMs, nowMs + this.#underWay * this.#msPerUnit);',
    to: '',
  },
  {
    name: 'a lost state is replaced although notes of this boot show it',
    file: 'daemon/opening.js',
    from: 'return traces.notes ?',
    to: 'return false ?',
  },
  {
    name: 'a lost state is replaced although a temporary file shows it',
    file: 'daemon/opening.js',
    from: 'if (traces.temporaryFiles)',
    to: 'if (false)',
  },
  {
    name: 'a lost state is replaced although a lock shows it',
    file: 'daemon/opening.js',
    from: 'if (traces.lock)',
    to: 'if (false)',
  },
  {
    name: 'the lost state of an installed service is replaced',
    file: 'daemon/opening.js',
    from: 'if (traces.isService)',
    to: 'if (false)',
  },
  {
    name: 'temporary files are swept before they are looked at',
    file: 'daemon/authority.js',
    from: 'const reading = directory.read();',
    to: 'const reading = directory.read();\n    directory.sweep();',
  },
  {
    name: 'notes are made before there is a state',
    file: 'daemon/authority.js',
    from: 'if (isFirst) {',
    to: 'openLeaseNotes({ dir: runtimeDir, bootId, monotonicMs: clock.monotonicMs(), ...notes }).close();\n    if (isFirst) {',
  },
  {
    name: 'an older state that was put back is served',
    file: 'daemon/opening.js',
    from: 'refuseForeign(found, reading.state) ?? refuseRolledBack(found, reading.state)',
    to: 'refuseForeign(found, reading.state)',
  },
  {
    name: 'missing notes of leases count as none',
    file: 'store/notes/slot-file.js',
    from: "kind.meaning === 'allows' || expected",
    to: "kind.meaning === 'allows'",
  },
  {
    name: 'the state of another machine is taken',
    file: 'daemon/opening.js',
    from: 'found.machine === machine)',
    to: 'true)',
  },
  {
    name: 'a retired state is taken',
    file: 'daemon/opening.js',
    from: 'if (found.retiredAtMs !== undefined) {',
    to: 'if (false) {',
  },
  {
    name: 'a first start begins by a clock from before the program',
    file: 'daemon/opening.js',
    from: 'return wallMs < RELEASED_MS ?',
    to: 'return false ?',
  },
  {
    name: 'an age does not count that the machine was paused',
    file: 'client/calls/age.js',
    from: 'return Math.max(ageMs, this.#clock.wallMs() - this.#sinceWallMs);',
    to: 'return ageMs;',
  },
  {
    name: 'a clock that is years ahead is believed after a reboot',
    file: 'core/nonces/sequence-clock.js',
    from: 'export const PLAUSIBLE_GAP_MS = 27 * DAY_MS;',
    to: 'export const PLAUSIBLE_GAP_MS = 40_000 * DAY_MS;',
  },
  {
    name: 'one process without an answer takes the exchange down for all',
    file: 'core/accounts/exchange.js',
    from: 'return counts.length > 1 && ',
    to: 'return counts.length > 0 && ',
  },
];
