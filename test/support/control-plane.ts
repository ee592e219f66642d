/** A node without its process and its sandboxes: real state, reconciler, dispatcher and listener over the fake driver. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SkerryError } from '../../errors/skerry-error.ts';
import { Dispatcher, type Outcome } from '../../gateway/dispatch.ts';
import type { GatewayExchange } from '../../gateway/exchange.ts';
import { type Listener, type ListenOptions, listen } from '../../gateway/listener/listen.ts';
import { answerOwn } from '../../gateway/own-paths.ts';
import { Monitor } from '../../runtime/monitor/monitor.ts';
import { Reconciler } from '../../runtime/reconciler/reconciler.ts';
import { Admission } from '../../runtime/scheduler/admission/admission.ts';
import { DecisionLog } from '../../runtime/scheduler/decisions.ts';
import { openStateStore, type StateStore } from '../../runtime/state/index.ts';
import { type Change, DesiredState } from '../../runtime/workload/desired-state.ts';
import type { Isolation } from '../../runtime/workload/revision.ts';
import { revisionOf } from '../../runtime/workload/revision-of.ts';
import type { WorkloadSettings } from '../../runtime/workload/settings.ts';
import { FakeDriver, type Guest, says } from './fake-driver.ts';

const OFFERED = new Set(['wasm'] as const);

export class ControlPlane {
  readonly driver = new FakeDriver();
  readonly drivers = new Map<Isolation, FakeDriver>([['wasm', this.driver]]);
  readonly decisions = new DecisionLog();
  readonly outcomes: Outcome[] = [];
  readonly removed: string[] = [];
  readonly corrupt: string[] = [];
  readonly store: StateStore;
  readonly desired: DesiredState;
  readonly reconciler: Reconciler;
  readonly monitor: Monitor;
  readonly dispatcher: Dispatcher;
  readonly folder: string;
  readonly admission: Admission;
  #listener: Listener | null = null;

  private constructor(
    store: StateStore,
    folder: string,
    desired: DesiredState,
    admission: Admission,
    memoryBytes: number,
  ) {
    this.admission = admission;
    this.store = store;
    this.folder = folder;
    this.desired = desired;
    this.monitor = new Monitor(
      () => this.reconciler.current,
      () => this.driver.keptBytes(),
    );
    this.reconciler = new Reconciler({
      desired,
      drivers: this.drivers,
      admission: this.admission,
      decisions: this.decisions,
      memoryBytes,
      log: () => {},
      onStarted: (instance) => this.monitor.started(instance),
      onRemoved: (name) => {
        this.monitor.forget(name);
        this.removed.push(name);
        this.driver.tell();
      },
    });
    this.dispatcher = new Dispatcher(this.reconciler, (outcome) => {
      this.outcomes.push(outcome);
      this.monitor.observe(outcome.workload, outcome.durationMs, outcome.error?.code ?? null);
      this.driver.tell();
    });
  }

  /** `folder`: of a control plane that was stopped with `stop`. */
  static async start(
    folder = mkdtempSync(join(tmpdir(), 'skerry-plane-')),
    admission = new Admission(),
    memoryBytes = 2 ** 40,
  ): Promise<ControlPlane> {
    const corrupt: string[] = [];
    const onCorrupt = (key: string, _error: SkerryError) => void corrupt.push(key);
    const store = await openStateStore(folder, { onCorrupt });
    const plane = new ControlPlane(store, folder, new DesiredState(store, onCorrupt), admission, memoryBytes);
    plane.corrupt.push(...corrupt);
    return plane;
  }

  /** Starts the reconciler and the listener. */
  async serve(options: Pick<ListenOptions, 'certificate' | 'limits'> = {}): Promise<this> {
    this.reconciler.start();
    const handlers = {
      dispatch: (exchange: GatewayExchange) => this.dispatcher.dispatch(exchange),
      own: answerOwn(this.dispatcher),
    };
    this.#listener = await listen({ at: { host: '127.0.0.1', port: 0 }, handlers, ...options });
    return this;
  }

  get url(): string {
    if (!this.#listener) throw new Error('serve() was not called');
    return this.#listener.url;
  }

  /** Deploys an artifact that says `bytes`, or does what `guest` does. */
  async deploy(
    name: string,
    bytes: string,
    settings: WorkloadSettings = {},
    guest: Guest = says(bytes),
  ): Promise<Change> {
    const artifact = this.driver.define(bytes, guest);
    const revision = revisionOf(name, artifact, bytes, settings, OFFERED);
    const [change] = await this.desired.deploy([{ name, revisions: [{ revision, percent: 100 }], settings }]);
    return change as Change;
  }

  status(name: string) {
    return this.reconciler.controller(name)?.status;
  }

  /** Waits until the workload's last change was carried out, or failed. */
  async settled(name: string): Promise<NonNullable<ReturnType<ControlPlane['status']>>> {
    const generation = this.desired.require(name).generation;
    await this.reconciler.until(() => {
      const status = this.status(name);
      return status !== undefined && status.observedGeneration >= generation && status.phase !== 'progressing';
    }, 20_000);
    return this.status(name)!;
  }

  async settledDeploy(...deploy: Parameters<ControlPlane['deploy']>): Promise<Change> {
    const change = await this.deploy(...deploy);
    await this.settled(deploy[0]);
    return change;
  }

  /** A GET of `path` with `Host: host`, the whole answer. */
  async get(path: string, host = 'localhost'): Promise<{ status: number; text: string; headers: Headers }> {
    const { request } = await import('node:http');
    const { hostname, port } = new URL(this.url);
    return new Promise((resolve, reject) => {
      const outgoing = request({ hostname, port, path, headers: { host }, agent: false }, (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece) => pieces.push(piece));
        response.on('error', reject);
        response.on('end', () => {
          const headers = new Headers();
          for (let i = 0; i < response.rawHeaders.length; i += 2) {
            headers.append(response.rawHeaders[i]!, response.rawHeaders[i + 1]!);
          }
          resolve({ status: response.statusCode!, text: Buffer.concat(pieces).toString(), headers });
        });
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  }

  /** Stops the listener alone. */
  async stopListening(graceMs: number): Promise<void> {
    const listener = this.#listener;
    this.#listener = null;
    await listener?.close(graceMs);
  }

  /** Stops it and keeps its state. */
  async stop(graceMs = 100): Promise<void> {
    await this.stopListening(graceMs);
    await this.reconciler.close(graceMs);
    await this.store.close();
  }

  async close(): Promise<void> {
    await this.stop(0);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs `work` over a control plane of its own. */
export async function withPlane(
  work: (plane: ControlPlane) => Promise<void>,
  options?: Parameters<ControlPlane['serve']>[0],
): Promise<void> {
  const plane = await (await ControlPlane.start()).serve(options);
  try {
    await work(plane);
  } finally {
    await plane.close();
  }
}
