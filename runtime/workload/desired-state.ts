/**
 * The wanted state of all workloads, over the state store: every change (deploy, scale, traffic, rollback, remove) is
 * one transaction that carries a generation, acknowledged when it would survive a power cut. Nothing is started or
 * stopped here: the reconciler does that, told by the store's watch.
 */
import type { SkerryError } from '../../errors/skerry-error.ts';
import { secretErrors } from '../secrets/errors.ts';
import type { Document, StateStore, Write } from '../state/store.ts';
import {
  canonicalJson,
  PROCESSES,
  processKey,
  REVISIONS,
  type RevisionDocument,
  revisionKey,
  secretKey,
  type TrafficShare,
  WORKLOADS,
  type WorkloadDocument,
  workloadKey,
} from './documents.ts';
import { workloadErrors } from './errors.ts';
import { scaleOf } from './revision-of.ts';
import { routeKey, routesOf } from './routes.ts';
import { LIMITS, type WorkloadSettings } from './settings.ts';
import { type Shadowing, shadowingsOf } from './shadowing.ts';

export interface Deploy {
  readonly name: string;
  /** What gets the traffic, oldest first; the percentages sum to 100. */
  readonly revisions: readonly { readonly revision: RevisionDocument; readonly percent: number }[];
  /** Of the workload: routes, queue, scale. */
  readonly settings: WorkloadSettings;
  /** Refuse when the workload's generation is another one by now; 0: it must not exist. */
  readonly expectGeneration?: number | undefined;
}

export interface Change {
  readonly name: string;
  readonly action: 'create' | 'update' | 'unchanged';
  readonly generation: number;
  readonly before: WorkloadDocument | null;
  readonly after: WorkloadDocument;
  /** Of its routes or its default ones, as they are after the change. */
  readonly shadowings: readonly Shadowing[];
}

type Workload = Document<WorkloadDocument>;

export class DesiredState {
  readonly #store: StateStore;
  /** The store's documents, decoded: this process is the only writer. */
  readonly #workloads = new Map<string, Workload>();
  /** Who owns which route, by `routeKey`. */
  readonly #routes = new Map<string, string>();
  readonly #listeners = new Set<(names: string[]) => void>();
  /** By the name of either workload; null until somebody asks. */
  #shadowings: Map<string, Shadowing[]> | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  /** `onCorrupt` is told of each damaged document; it is not served. */
  constructor(store: StateStore, onCorrupt: (key: string, error: SkerryError) => void) {
    this.#store = store;
    for (const document of store.list<WorkloadDocument>(WORKLOADS, onCorrupt)) this.#remember(document);
    store.watch(WORKLOADS, (keys) => {
      const names = keys.map((key) => key.slice(WORKLOADS.length));
      for (const name of names) this.#reload(name);
      for (const listener of this.#listeners) listener(names);
    });
  }

  get(name: string): Workload | null {
    return this.#workloads.get(name) ?? null;
  }

  /** Throws NO_WORKLOAD. */
  require(name: string): Workload {
    const document = this.get(name);
    if (!document) throw workloadErrors.NO_WORKLOAD(name);
    return document;
  }

  /** By name. */
  list(): Workload[] {
    return [...this.#workloads.values()].sort((a, b) => (a.value.name < b.value.name ? -1 : 1));
  }

  /** Throws STATE_CORRUPT when the record is damaged. */
  revision(name: string, id: string): RevisionDocument | null {
    return this.#store.get<RevisionDocument>(revisionKey(name, id))?.value ?? null;
  }

  /** The revision with the most of the traffic; null when there is no such workload. Throws STATE_CORRUPT. */
  mainRevision(name: string): RevisionDocument | null {
    const [main] = [...(this.get(name)?.value.traffic ?? [])].sort((a, b) => b.percent - a.percent);
    return main ? this.revision(name, main.revision) : null;
  }

  /** Digests of all artifacts that a kept revision or a process is made from. */
  artifacts(onCorrupt: (key: string, error: SkerryError) => void): Set<string> {
    return new Set(this.artifactUsers(onCorrupt).keys());
  }

  /** Names of the workloads that keep a revision made from an artifact, and of processes, by the artifact's digest. */
  artifactUsers(onCorrupt: (key: string, error: SkerryError) => void): Map<string, Set<string>> {
    const users = new Map<string, Set<string>>();
    const revisions = this.keptRevisions(onCorrupt);
    const processes = this.#store.list<{ revision: RevisionDocument }>(PROCESSES, onCorrupt);
    revisions.push(...processes.map(({ value }) => value.revision));
    for (const value of revisions) {
      for (const digest of [value.artifact.digest, value.kernel ?? []].flat()) {
        users.set(digest, (users.get(digest) ?? new Set()).add(value.workload));
      }
    }
    return users;
  }

  /** All kept revisions of all workloads. */
  keptRevisions(onCorrupt: (key: string, error: SkerryError) => void): RevisionDocument[] {
    return this.#store.list<RevisionDocument>(REVISIONS, onCorrupt).map(({ value }) => value);
  }

  /** The revisions that the traffic goes to, by the name of their workload; damaged ones are left out. */
  revisionsWithTraffic(): RevisionDocument[] {
    const readable = new Map(
      this.#store.list<RevisionDocument>(REVISIONS, () => {}).map(({ key, value }) => [key, value]),
    );
    return this.list().flatMap(({ value }) => {
      return value.traffic.flatMap(({ revision }) => readable.get(revisionKey(value.name, revision)) ?? []);
    });
  }

  /** Calls back with the names whose documents changed, after each commit. */
  watch(onChange: (names: string[]) => void): void {
    this.#listeners.add(onChange);
  }

  /** Where a route of this workload takes requests from another's default route, or the other way round. */
  shadowings(name: string): readonly Shadowing[] {
    this.#shadowings ??= shadowingsOf([...this.#workloads.values()].map((document) => document.value));
    return this.#shadowings.get(name) ?? [];
  }

  /** What `deploy` of these would change. Throws as it would. */
  plan(deploys: readonly Deploy[]): Change[] {
    const changes = deploys.map((deploy) => this.#change(deploy));
    this.#checkRoutes(changes);
    for (const { revision } of deploys.flatMap((deploy) => deploy.revisions)) this.#checkSecrets(revision);
    const after = new Map([...this.#workloads].map(([name, document]) => [name, document.value]));
    for (const change of changes) after.set(change.name, change.after);
    const shadowings = shadowingsOf([...after.values()]);
    return changes.map((change) => ({ ...change, shadowings: shadowings.get(change.name) ?? [] }));
  }

  /** Deploys all of these, or none. */
  deploy(deploys: readonly Deploy[]): Promise<Change[]> {
    return this.exclusively(async () => {
      const changes = this.plan(deploys);
      const writes = changes.flatMap((change, i) => this.#writes(change, deploys[i] as Deploy));
      const generations = await this.#commit(writes);
      return changes.map((change) => ({ ...change, generation: generations.get(change.name) ?? change.generation }));
    });
  }

  scale(name: string, min: number | undefined, max: number | undefined): Promise<Workload> {
    return this.#update(name, (value) => {
      const scale = scaleOf({ min, max }, value.scale);
      checkScale(scale.min, scale.max);
      return { ...value, scale };
    });
  }

  /** Revisions may be named by a prefix that fits one only. */
  traffic(name: string, shares: readonly TrafficShare[]): Promise<Workload> {
    return this.#update(name, (value) => {
      const traffic = shares.map((share) => ({
        revision: resolveRevision(value, share.revision),
        percent: share.percent,
      }));
      checkShares(name, traffic);
      return { ...value, traffic: traffic.filter((share) => share.percent > 0) };
    });
  }

  /** The kept revision that a rollback goes to: the one named, else the one before that which has most of the traffic. */
  rollbackTarget(name: string, revision: string | undefined): string {
    return rollbackTarget(this.require(name).value, revision);
  }

  /** The kept revisions that these name, by a prefix that fits one only. */
  resolve(name: string, revisions: readonly string[]): string[] {
    const { value } = this.require(name);
    return revisions.map((revision) => resolveRevision(value, revision));
  }

  /** Gives all traffic to `rollbackTarget`. */
  rollback(name: string, revision: string | undefined): Promise<Workload> {
    return this.#update(name, (value) => ({
      ...value,
      traffic: [{ revision: rollbackTarget(value, revision), percent: 100 }],
    }));
  }

  remove(name: string): Promise<void> {
    return this.exclusively(async () => {
      const document = this.require(name);
      const writes: Write[] = [{ key: workloadKey(name), expect: document.generation, delete: true }];
      for (const id of document.value.revisions) {
        const kept = this.#store.get(revisionKey(name, id));
        if (kept) writes.push({ key: kept.key, expect: kept.generation, delete: true });
      }
      await this.#commit(writes);
    });
  }

  #update(name: string, next: (value: WorkloadDocument) => WorkloadDocument): Promise<Workload> {
    return this.exclusively(async () => {
      const document = this.require(name);
      const value = next(document.value);
      if (canonicalJson(value) !== canonicalJson(document.value)) {
        await this.#commit([{ key: document.key, expect: document.generation, value }]);
      }
      return this.require(name);
    });
  }

  /** One change at a time: a change reads, checks and writes, and some of it is checked across workloads. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }

  #change({ name, revisions: wanted, settings, expectGeneration }: Deploy): Omit<Change, 'shadowings'> {
    const document = this.get(name);
    const found = document?.generation ?? 0;
    if (expectGeneration !== undefined && expectGeneration !== found) {
      throw workloadErrors.GENERATION_CONFLICT(name, expectGeneration, found);
    }
    const before = document?.value ?? null;
    if (before === null && this.#store.get(processKey(name))) throw workloadErrors.NAME_TAKEN(name, 'process');
    const scale = scaleOf(settings, before?.scale ?? null);
    checkScale(scale.min, scale.max);
    const traffic = wanted.map(({ revision, percent }) => ({ revision: revision.id, percent }));
    checkShares(name, traffic);
    const kept = before?.revisions ?? [];
    // What has this traffic already is not deployed anew: its place in the history stays.
    const current = before !== null && sameShares(before.traffic, traffic);
    const ids = traffic.map((share) => share.revision);
    const revisions = current ? kept : [...kept.filter((id) => !ids.includes(id)), ...ids];
    const after: WorkloadDocument = {
      name,
      createdAt: before?.createdAt ?? new Date().toISOString(),
      routes: [...new Set(settings.routes ?? [])],
      scale,
      queue: settings.queue ?? LIMITS.queue.default,
      traffic: current ? before.traffic : traffic,
      revisions: revisions.slice(-LIMITS.revisions),
    };
    const same = before !== null && canonicalJson(before) === canonicalJson(after);
    return {
      name,
      action: before === null ? 'create' : same ? 'unchanged' : 'update',
      generation: found,
      before,
      after,
    };
  }

  #checkRoutes(changes: readonly Pick<Change, 'name' | 'after'>[]): void {
    const changing = new Set(changes.map((change) => change.name));
    const claimed = new Map<string, string>();
    for (const { name, after } of changes) {
      for (const { route } of routesOf(name, after.routes)) {
        const key = routeKey(route);
        const stored = this.#routes.get(key);
        const owner = claimed.get(key) ?? (stored !== undefined && !changing.has(stored) ? stored : undefined);
        if (owner !== undefined && owner !== name) throw workloadErrors.ROUTE_CLASH(route, owner);
        claimed.set(key, name);
      }
    }
  }

  #checkSecrets({ workload, secrets }: RevisionDocument): void {
    for (const name of secrets) {
      if (!this.#store.get(secretKey(name))) throw secretErrors.SECRET_MISSING(workload, name);
    }
  }

  #writes(change: Change, { revisions }: Deploy): Write[] {
    if (change.action === 'unchanged') return [];
    const { name, before, after } = change;
    const writes: Write[] = [{ key: workloadKey(name), expect: change.generation, value: after }];
    for (const { revision } of revisions) {
      const key = revisionKey(name, revision.id);
      if (!this.#store.get(key)) writes.push({ key, expect: 0, value: revision });
    }
    for (const id of before?.revisions ?? []) {
      if (after.revisions.includes(id)) continue;
      const dropped = this.#store.get(revisionKey(name, id));
      if (dropped) writes.push({ key: dropped.key, expect: dropped.generation, delete: true });
    }
    return writes;
  }

  /** Commits and returns the generations of the workloads by name; the store's watch has updated the memory by then. */
  async #commit(writes: Write[]): Promise<Map<string, number>> {
    const names = writes
      .filter((write) => write.key.startsWith(WORKLOADS))
      .map((write) => write.key.slice(WORKLOADS.length));
    try {
      if (writes.length > 0) await this.#store.commit(writes);
    } catch (error) {
      // A disk that failed may have taken the change all the same: what the store holds is what is true.
      for (const name of names) this.#reload(name);
      throw error;
    }
    return new Map(names.map((name) => [name, this.get(name)?.generation ?? 0]));
  }

  #reload(name: string): void {
    this.#shadowings = null;
    const before = this.#workloads.get(name);
    if (before) {
      this.#workloads.delete(name);
      for (const { route } of routesOf(name, before.value.routes)) {
        // In one change a route may go from one workload to another, in either order.
        if (this.#routes.get(routeKey(route)) === name) this.#routes.delete(routeKey(route));
      }
    }
    const document = this.#store.get<WorkloadDocument>(workloadKey(name));
    if (document) this.#remember(document);
  }

  #remember(document: Workload): void {
    const { name, routes } = document.value;
    this.#workloads.set(name, document);
    for (const { route } of routesOf(name, routes)) this.#routes.set(routeKey(route), name);
  }
}

function checkScale(min: number, max: number): void {
  if (min > max) throw workloadErrors.SCALE_ORDER(min, max);
}

/** Throws TRAFFIC_SUM, REVISION_TWICE. */
function checkShares(name: string, traffic: readonly TrafficShare[]): void {
  const sum = traffic.reduce((total, share) => total + share.percent, 0);
  if (sum !== 100) throw workloadErrors.TRAFFIC_SUM(sum);
  const seen = new Set<string>();
  for (const { revision } of traffic) {
    if (seen.has(revision)) throw workloadErrors.REVISION_TWICE(name, revision);
    seen.add(revision);
  }
}

/** The same revisions with the same percentages, in any order. */
function sameShares(one: readonly TrafficShare[], other: readonly TrafficShare[]): boolean {
  const percents = new Map(one.map((share) => [share.revision, share.percent]));
  return one.length === other.length && other.every((share) => percents.get(share.revision) === share.percent);
}

/** Throws NO_REVISION when no kept revision, or more than one, begins with `prefix`. */
function resolveRevision(value: WorkloadDocument, prefix: string): string {
  const found = value.revisions.filter((id) => id.startsWith(prefix));
  if (prefix === '' || found.length !== 1) throw workloadErrors.NO_REVISION(value.name, prefix);
  return found[0] as string;
}

function rollbackTarget(value: WorkloadDocument, revision: string | undefined): string {
  return revision === undefined ? previousRevision(value) : resolveRevision(value, revision);
}

function previousRevision(value: WorkloadDocument): string {
  const most = Math.max(...value.traffic.map((share) => share.percent));
  // Of those with equal shares the newest: it is the one that there is a way back from.
  const at = Math.max(
    ...value.traffic.filter((share) => share.percent === most).map((share) => value.revisions.indexOf(share.revision)),
  );
  const previous = value.revisions[at - 1];
  if (at <= 0 || previous === undefined) throw workloadErrors.NO_PREVIOUS_REVISION(value.name);
  return previous;
}
