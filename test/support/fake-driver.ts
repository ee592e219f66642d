/**
 * A driver whose instances are functions over an Exchange, for tests of the control plane: what they do, how long they
 * take to start, and whether they can, is said by the test. What a sandbox holds or isolates is not tested with it.
 */
import type { Duplex } from 'node:stream';
import { digestOf } from '../../images/store/index.ts';
import type { Driver, Exit, Instance, InstanceStats, Probe } from '../../runtime/driver.ts';
import { wasmErrors } from '../../runtime/drivers/wasm/errors.ts';
import type { Exchange } from '../../runtime/exchange.ts';
import type { Artifact, Isolation, Limits, Revision } from '../../runtime/workload/revision.ts';

export type Guest = (exchange: Exchange, instance: FakeInstance) => Promise<void> | void;

/** Answers 200 with this text. */
export function says(text: string): Guest {
  return (exchange) => exchange.reply.send(200, ['content-type', 'text/plain'], Buffer.from(text));
}

export interface Gate {
  open(): void;
  readonly opened: Promise<void>;
}

export function gate(): Gate {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

export class FakeDriver implements Driver {
  readonly isolation: Isolation;
  /** As those of containers: more load needs more instances. */
  replicated = false;
  /** `start REVISION`, `started REVISION`, `failed REVISION`, `stop REVISION`, `stopped REVISION`, `release REVISION`, in order. */
  readonly events: string[] = [];
  readonly instances: FakeInstance[] = [];
  /** Called in the midst of each start: may wait, or throw to make it fail. */
  onStart: (revision: Revision) => Promise<void> | void = () => {};
  /** Called for each deploy: throws to refuse it. */
  onCheck: (revision: Revision) => Promise<void> | void = () => {};
  readonly #guests = new Map<string, Guest>();
  readonly #waiters = new Set<() => void>();

  constructor(isolation: Isolation = 'wasm') {
    this.isolation = isolation;
  }

  /** Bytes that the admin API takes as an artifact, and what an instance made of them does. */
  define(bytes: string, guest: Guest = says(bytes)): Artifact {
    const digest = digestOf(Buffer.from(bytes));
    this.#guests.set(digest, guest);
    return { digest, mediaType: 'application/wasm' };
  }

  /** Times that something happened: `times('start')`, `times('start REVISION')`. */
  times(event: string): number {
    return this.events.filter((each) => each === event || each.startsWith(`${event} `)).length;
  }

  /** Resolves when `event` has happened `count` times. */
  async happened(event: string, count = 1): Promise<void> {
    await this.until(() => this.times(event) >= count);
  }

  /** Resolves when `done` is true after some event or request. */
  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => this.#waiters.add(resolve));
  }

  tell(event?: string): void {
    if (event !== undefined) this.events.push(event);
    for (const wake of [...this.#waiters]) {
      this.#waiters.delete(wake);
      wake();
    }
  }

  async probe(): Promise<Probe> {
    return { isolation: this.isolation, available: true, provider: 'fake 1', quality: 'for tests', advice: [] };
  }

  async check(revision: Revision): Promise<void> {
    await this.onCheck(revision);
  }

  async prepare(): Promise<void> {}

  async release(revision: Revision): Promise<void> {
    this.tell(`release ${revision.id}`);
  }

  async start(revision: Revision): Promise<Instance> {
    this.tell(`start ${revision.id}`);
    try {
      await this.onStart(revision);
      const guest = this.#guests.get(revision.artifact.digest);
      if (!guest) throw new Error(`no guest was defined for ${revision.artifact.digest}`);
      const instance = new FakeInstance(revision, guest, this);
      this.instances.push(instance);
      this.tell(`started ${revision.id}`);
      return instance;
    } catch (error) {
      this.tell(`failed ${revision.id}`);
      throw error;
    }
  }

  async recover(): Promise<void> {}

  async adopt(): Promise<null> {
    return null;
  }

  keptBytes(): number {
    return 0;
  }

  async close(): Promise<void> {}
}

export class FakeInstance implements Instance {
  readonly id: string;
  readonly revision: Revision;
  readonly exited: Promise<Exit>;
  inFlight = 0;
  /** The most that ran at once. */
  peak = 0;
  requests = 0;
  /** `pause`, and `resume` by a request. */
  paused = false;
  /** Requests that ran when the time to stop was over. */
  brokenOff = 0;
  readonly #guest: Guest;
  readonly #driver: FakeDriver;
  #stopped: Promise<void> | null = null;
  #exit!: (exit: Exit) => void;

  constructor(revision: Revision, guest: Guest, driver: FakeDriver) {
    this.id = `fake-${driver.instances.length + 1}`;
    this.revision = revision;
    this.#guest = guest;
    this.#driver = driver;
    this.exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }

  async handle(exchange: Exchange): Promise<void> {
    if (this.#stopped) throw wasmErrors.FUNCTION_STOPPED();
    this.paused = false;
    this.inFlight++;
    this.requests++;
    this.peak = Math.max(this.peak, this.inFlight);
    this.#driver.tell();
    try {
      await this.#guest(exchange, this);
    } finally {
      this.inFlight--;
      this.#driver.tell();
    }
  }

  connect(): Promise<Duplex> {
    return Promise.reject(new Error('a fake instance has no ports'));
  }

  signal(): Promise<boolean> {
    return Promise.reject(new Error('not for the fake driver'));
  }

  exec(): Promise<number> {
    return Promise.reject(new Error('a fake instance runs no commands'));
  }

  stats(): InstanceStats {
    const counts = { requests: this.requests, failures: 0, inFlight: this.inFlight, cpuMs: this.requests };
    return { ...counts, memoryBytes: 1024, coldStarts: this.requests, warmStarts: 0, startMs: this.requests };
  }

  async pause(): Promise<void> {
    this.paused = true;
    this.#driver.tell(`pause ${this.revision.id}`);
  }

  async resume(): Promise<void> {
    this.paused = false;
  }

  /** Ends by itself, as a process does that crashes. */
  crash(message = 'it crashed', reason: Exit['reason'] = 'exited'): void {
    this.#exit({ code: 1, signal: null, reason, message });
  }

  async resize(_limits: Limits): Promise<void> {}

  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#drain(graceMs);
    return this.#stopped;
  }

  async #drain(graceMs: number): Promise<void> {
    this.#driver.tell(`stop ${this.revision.id}`);
    let over = false;
    const timer = setTimeout(() => {
      over = true;
      this.#driver.tell();
    }, graceMs);
    await this.#driver.until(() => this.inFlight === 0 || over);
    clearTimeout(timer);
    this.brokenOff = this.inFlight;
    this.#exit({ code: null, signal: null, reason: 'stopped', message: '' });
    this.#driver.tell(`stopped ${this.revision.id}`);
  }
}
