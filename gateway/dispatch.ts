/** From an Exchange to an instance: route, revision by traffic, admission, the driver; and what goes wrong on the way. */
import type { Duplex } from 'node:stream';
import { asSkerryError, type SkerryError } from '../errors/skerry-error.ts';
import type { Instance } from '../runtime/driver.ts';
import { routeKey } from '../runtime/monitor/learned/service-times.ts';
import type { Waiter } from '../runtime/scheduler/admission/waiter.ts';
import { chooseInstance } from '../runtime/scheduler/balancing/choose-instance.ts';
import type {
  RouteEntry,
  ServedInstance,
  ServedRevision,
  ServedWorkload,
  Snapshot,
  SnapshotSource,
} from '../runtime/snapshot.ts';
import { parsePreviewHost } from '../runtime/workload/routes.ts';
import { formatBytes } from '../runtime/workload/units.ts';
import { gatewayErrors } from './errors.ts';
import type { GatewayExchange } from './exchange.ts';
import { sendProblem } from './problem.ts';
import { RouteTable } from './router/route-table.ts';

/** What happened to one request: told once, when it is over. */
export interface Outcome {
  readonly workload: string;
  readonly revision: string;
  readonly requestId: string;
  readonly durationMs: number;
  /** Null when the answer went out whole, or the client left. */
  readonly error: SkerryError | null;
}

/** Time past the deadline after which the gateway itself answers for a driver that has not. */
const BACKSTOP_MS = 250;

/** The revision that one random draw in [0, 1) gives to a request; undefined when the workload has none to serve. */
export function pickRevision(workload: Pick<ServedWorkload, 'traffic'>, draw: number): ServedRevision | undefined {
  const { traffic } = workload;
  let left = draw * 100;
  for (const share of traffic) {
    left -= share.percent;
    if (left < 0) return share.revision;
  }
  return traffic[traffic.length - 1]?.revision;
}

/** Of failures that are an instance's: it broke off or spoke bad HTTP, or it is ending. */
const BLAMED_STATUS: ReadonlySet<number> = new Set([502, 503]);

/** `now`: on the clock of `performance.now()`. */
function instanceFor({ instances, admission, revision }: ServedRevision, now: number): ServedInstance | undefined {
  // One pool, as for Wasm: nothing to choose from.
  if (instances.length <= 1) return instances[0];
  const { concurrency } = revision.limits;
  return chooseInstance(instances, { running: admission.running, concurrency, now, random: Math.random });
}

/** `/NAME/x` → `/x`, `/NAME` → `/`. */
function targetOf(exchange: GatewayExchange, prefix: string): string {
  if (prefix === '') return exchange.path + exchange.query;
  const rest = exchange.path.slice(prefix.length);
  return (rest === '' ? '/' : rest) + exchange.query;
}

export class Dispatcher {
  readonly #source: SnapshotSource;
  readonly #observe: (outcome: Outcome) => void;
  #table = new RouteTable([]);
  #tableOf: readonly RouteEntry[] = [];
  /** Set while the node stops: new requests are refused, those in flight go on. */
  stopping = false;

  constructor(source: SnapshotSource, observe: (outcome: Outcome) => void) {
    this.#source = source;
    this.#observe = observe;
  }

  /** Serves an exchange by its host and path. */
  dispatch(exchange: GatewayExchange): void {
    if (this.stopping) return sendProblem(exchange, gatewayErrors.NODE_STOPPING());
    const snapshot = this.#source.current;
    const route = this.#match(snapshot, exchange);
    if (route) return this.#serve(exchange, snapshot.workloads.get(route.workload), null, route.stripPrefix);
    const preview = parsePreviewHost(exchange.host);
    const workload = preview && snapshot.workloads.get(preview.workload);
    if (!preview || !workload?.revisions.has(preview.revision)) {
      return sendProblem(exchange, gatewayErrors.NO_ROUTE());
    }
    this.#serve(exchange, workload, preview.revision, '');
  }

  /** Serves an exchange by the workload's name, whatever its host and path. */
  dispatchTo(name: string, exchange: GatewayExchange): void {
    if (this.stopping) return sendProblem(exchange, gatewayErrors.NODE_STOPPING());
    this.#serve(exchange, this.#source.current.workloads.get(name), null, '');
  }

  /** The same for a call of another workload: requests that are in flight while the node stops need what they call. */
  dispatchCall(name: string, exchange: GatewayExchange): void {
    this.#serve(exchange, this.#source.current.workloads.get(name), null, '', true);
  }

  /**
   * A connection to a port of a workload, which is started when it is cold, and kept from resting while the connection is
   * open. Throws NO_ROUTE, PARKED, NOT_STARTABLE, and what the driver does.
   */
  async connectTo(name: string, port: number, signal: AbortSignal): Promise<Duplex> {
    const workload = this.#source.current.workloads.get(name);
    if (!workload) throw gatewayErrors.NO_ROUTE();
    if (workload.parked) throw gatewayErrors.PARKED(name);
    const served = pickRevision(workload, Math.random());
    if (!served) throw gatewayErrors.NOT_STARTABLE(name, 'the node cannot read its revision');
    const { id } = served.revision;
    const running = () => {
      const now = this.#source.current.workloads.get(name)?.revisions.get(id);
      return now && instanceFor(now, performance.now());
    };
    if (!running()) await unlessAborted(this.#source.wake(name, id), signal);
    const place = running();
    if (!place || signal.aborted) throw gatewayErrors.NOT_STARTABLE(name, 'it was removed meanwhile');
    place.inFlight++;
    place.paused = false;
    const leave = () => {
      place.inFlight--;
      place.idleSince = performance.now();
      served.usage.lastUsed = place.idleSince;
    };
    try {
      await place.instance.resume();
      return (await connectedWhenUp(place.instance, port, signal)).once('close', leave);
    } catch (error) {
      leave();
      throw error;
    }
  }

  #match(snapshot: Snapshot, exchange: GatewayExchange): RouteEntry | null {
    if (snapshot.routes !== this.#tableOf) {
      this.#table = new RouteTable(snapshot.routes);
      this.#tableOf = snapshot.routes;
    }
    // A preview host is asked for by that name alone: no route without a host may take it.
    if (exchange.host.includes('--') && parsePreviewHost(exchange.host)) return null;
    return this.#table.match(exchange.host, exchange.path);
  }

  #serve(
    exchange: GatewayExchange,
    workload: ServedWorkload | undefined,
    pinned: string | null,
    prefix: string,
    nested = false,
  ): void {
    if (!workload) return sendProblem(exchange, gatewayErrors.NO_ROUTE());
    if (workload.parked) return sendProblem(exchange, gatewayErrors.PARKED(workload.name));
    const served = pinned === null ? pickRevision(workload, Math.random()) : workload.revisions.get(pinned);
    if (!served) {
      const why = 'the node cannot read its revision';
      return sendProblem(exchange, gatewayErrors.NOT_STARTABLE(workload.name, why));
    }
    const started = performance.now();
    const { limits } = served.revision;
    const route = routeKey(exchange.path);
    const expectedMs = served.usage.service.expect(route);
    exchange.route(targetOf(exchange, prefix), prefix, started + limits.timeoutMs, served.revision, expectedMs);
    const flight = new Flight(exchange, served, this.#source, { started, route, expectedMs, nested }, this.#observe);
    const length = exchange.body?.length ?? 0;
    if (length <= limits.maxRequestBytes) flight.enter();
    else flight.refuse(gatewayErrors.REQUEST_TOO_LARGE(formatBytes(limits.maxRequestBytes)));
  }
}

/** What is known of a request when it comes. */
interface Arrival {
  /** On the clock of `performance.now()`. */
  readonly started: number;
  /** What its time is learned under. */
  readonly route: number;
  readonly expectedMs: number;
  /** Another workload waits for it. */
  readonly nested: boolean;
}

/** One request from admission to its end. */
class Flight implements Waiter {
  readonly nested: boolean;
  readonly expectedMs: number;
  readonly #exchange: GatewayExchange;
  readonly #served: ServedRevision;
  readonly #source: SnapshotSource;
  readonly #started: number;
  readonly #observe: (outcome: Outcome) => void;
  readonly #route: number;
  /** When a sandbox got it, on the clock of `performance.now()`; 0: none has. */
  #begun = 0;
  /** The instance that has it. */
  #place: ServedInstance | null = null;

  constructor(
    exchange: GatewayExchange,
    served: ServedRevision,
    source: SnapshotSource,
    { started, route, expectedMs, nested }: Arrival,
    observe: (outcome: Outcome) => void,
  ) {
    this.#exchange = exchange;
    this.#served = served;
    this.#source = source;
    this.#started = started;
    this.nested = nested;
    this.#observe = observe;
    this.#route = route;
    this.expectedMs = expectedMs;
  }

  enter(): void {
    this.#served.admission.enter(this, this.#started);
  }

  // The waiter's side of admission.

  get deadline(): number {
    return this.#exchange.deadline;
  }

  get aborted(): boolean {
    return this.#exchange.aborted;
  }

  run(now: number): void {
    this.#served.usage.requests++;
    this.#begun = now;
    this.#handled().then(
      () => {
        const ended = performance.now();
        this.#place?.record.succeeded(ended - this.#begun, ended);
        this.#leave(ended);
        this.#over(null, ended);
      },
      (reason: unknown) => {
        const ended = performance.now();
        const error = asSkerryError(reason);
        if (BLAMED_STATUS.has(error.status)) this.#place?.record.failed(ended);
        this.#leave(ended);
        this.refuse(error, ended);
      },
    );
  }

  #leave(now: number): void {
    const place = this.#place;
    if (!place) return this.#served.admission.leave();
    place.inFlight--;
    place.idleSince = now;
    const servedMs = now - this.#begun;
    this.#served.usage.service.observe(this.#route, servedMs);
    this.#served.admission.leave(servedMs);
  }

  refuse(error: SkerryError, now = performance.now()): void {
    if (this.#exchange.aborted) return this.#over(null, now);
    sendProblem(this.#exchange, error);
    this.#over(error, now);
  }

  /** Not an async function: those cost a promise more. */
  #handled(): Promise<void> {
    try {
      return this.#handle();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Hands the exchange to an instance; starts one first when the revision is cold. */
  #handle(): Promise<void> {
    // Not the revision that the request was routed by but that of now: while it waited its instance may have gone.
    const { workload, id } = this.#served.revision;
    const now = this.#source.current.workloads.get(workload)?.revisions.get(id) ?? this.#served;
    const place = instanceFor(now, this.#begun);
    return place ? this.#handleIn(place) : this.#wake(workload, id);
  }

  #handleIn(place: ServedInstance): Promise<void> {
    place.inFlight++;
    place.paused = false;
    this.#place = place;
    return place.instance.handle(this.#exchange);
  }

  async #wake(workload: string, id: string): Promise<void> {
    const cancel = this.#backstop();
    try {
      await Promise.race([this.#source.wake(workload, id), cancel.passed]);
    } catch (reason) {
      const error = asSkerryError(reason);
      if (error.code === 'DEADLINE') throw error;
      throw gatewayErrors.NOT_STARTABLE(workload, error.what).because(error);
    } finally {
      cancel.clear();
    }
    // What the start took says nothing of other requests.
    this.#begun = performance.now();
    const woken = this.#source.current.workloads.get(workload)?.revisions.get(id);
    const place = woken && instanceFor(woken, this.#begun);
    if (!place) throw gatewayErrors.NOT_STARTABLE(workload, 'it was removed while the request waited');
    if (!this.#exchange.aborted) await this.#handleIn(place);
  }

  /** Rejects with DEADLINE when a start takes longer than the request may. */
  #backstop(): { passed: Promise<never>; clear: () => void } {
    let timer: NodeJS.Timeout;
    const passed = new Promise<never>((_, reject) => {
      const delay = this.#exchange.deadline - performance.now() + BACKSTOP_MS;
      timer = setTimeout(() => reject(gatewayErrors.DEADLINE()), Math.max(1, delay));
    });
    passed.catch(() => {});
    return { passed, clear: () => clearTimeout(timer) };
  }

  #over(error: SkerryError | null, now: number): void {
    const { usage, revision } = this.#served;
    usage.lastUsed = now;
    usage.latency.observe(now - this.#started);
    const failure = this.#exchange.failure ?? error;
    if (failure) usage.failures++;
    this.#observe({
      workload: revision.workload,
      revision: revision.id,
      requestId: this.#exchange.id,
      durationMs: now - this.#started,
      error: failure,
    });
  }
}

/** Another port of an instance may open a little later than the one that it is ready by; in milliseconds. */
const PORT_OPENS_MS = 1000;
const PORT_TRIES_EVERY_MS = 50;

/** What is awaited goes on; who has gone does not wait for it. Rejects with the signal's reason. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let leave = () => {};
  const left = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason);
    signal.addEventListener('abort', leave);
  });
  try {
    return await Promise.race([work, left]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}

async function connectedWhenUp(instance: Instance, port: number, signal: AbortSignal): Promise<Duplex> {
  const until = performance.now() + PORT_OPENS_MS;
  for (;;) {
    try {
      return await instance.connect(port);
    } catch (error) {
      const refused = (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
      if (!refused || signal.aborted || performance.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, PORT_TRIES_EVERY_MS));
    }
  }
}
