/** The composition root: makes the parts of a node, wires them, starts and stops the listeners. */
import { hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../errors/project-root.ts';
import { makeAdminApp } from '../gateway/admin/app.ts';
import { type AdminListener, listenTcp, listenUnix } from '../gateway/admin/listen.ts';
import type { NodeView } from '../gateway/admin/schemas.ts';
import type { AdminServices } from '../gateway/admin/services.ts';
import { Dispatcher } from '../gateway/dispatch.ts';
import { type Listener, listen } from '../gateway/listener/listen.ts';
import { GatewayNeighbours } from '../gateway/neighbours.ts';
import { answerOwn } from '../gateway/own-paths.ts';
import { ImageCatalog, type NamedReference } from '../images/oci/index.ts';
import { type ContentStore, openContentStore } from '../images/store/index.ts';
import type { Driver } from '../runtime/driver.ts';
import type { HostLayers, HostVolumes } from '../runtime/drivers/container/host.ts';
import { ContainerDriver, MicrovmDriver, WasmDriver } from '../runtime/drivers/index.ts';
import type { MachineHost } from '../runtime/drivers/microvm/host.ts';
import { resolveHere } from '../runtime/egress/resolver.ts';
import { systemTrust } from '../runtime/egress/trust.ts';
import { type KeyValueStore, openKeyValueStore } from '../runtime/keyvalue/store.ts';
import { WorkloadLogs } from '../runtime/logs/workload-logs.ts';
import { Monitor } from '../runtime/monitor/monitor.ts';
import { prometheusRegistry } from '../runtime/monitor/prometheus.ts';
import { sampleUsage } from '../runtime/monitor/usage-sample.ts';
import type { Neighbours } from '../runtime/network/neighbours.ts';
import { Processes } from '../runtime/processes/processes.ts';
import { Reconciler } from '../runtime/reconciler/reconciler.ts';
import { Admission } from '../runtime/scheduler/admission/admission.ts';
import { CpuAllocator } from '../runtime/scheduler/allocation/cpu-allocator.ts';
import { CPU_POLICIES } from '../runtime/scheduler/allocation/policies.ts';
import { DecisionLog } from '../runtime/scheduler/decisions.ts';
import { Autoscaler, MONITOR_MAKERS } from '../runtime/scheduler/scaling/autoscaler.ts';
import { SecretStore } from '../runtime/secrets/secret-store.ts';
import { openStateStore, type StateStore } from '../runtime/state/index.ts';
import { DesiredState } from '../runtime/workload/desired-state.ts';
import type { Isolation } from '../runtime/workload/revision.ts';
import { parseDuration } from '../runtime/workload/units.ts';
import { isLoopback, orListenError, parseAddress } from './address.ts';
import { BuildService } from './build-service.ts';
import { certificateOf, followCertificate } from './certificate.ts';
import type { Settings } from './config.ts';
import { parseMonitors } from './config-schema.ts';
import { type DataFolder, openDataFolder } from './data-folder.ts';
import { examine, type Missing } from './doctor.ts';
import { daemonErrors } from './errors.ts';
import { evict } from './evict.ts';
import { NoContainers } from './hostd/open.ts';
import { NoMachines } from './hostd/open-machines.ts';
import { ImageBuilds } from './image-builds.ts';
import { ImageLibrary } from './image-library.ts';
import { ImageService, ownReference } from './image-service.ts';
import { ImageTrust } from './image-trust.ts';
import type { Logger } from './log.ts';
import { machineFor } from './machine.ts';
import { ownPrivileges, type Privileges } from './privileges.ts';
import { checkRegistry, hostsOf, type OpenRegistry, openRegistry, registryOf } from './registry-service.ts';
import { remoteAccess } from './remote-access.ts';
import { selectEngine } from './select-engine.ts';
import { storeLimit } from './store-size.ts';
import { sweepKeyValue } from './sweep-keyvalue.ts';
import { sweepDisks, sweepLayers } from './sweep-layers.ts';
import { sweepStore } from './sweep-store.ts';
import { TrustService } from './trust-service.ts';
import { Undo } from './undo.ts';
import { warmUp } from './warm-up.ts';

/** Shortest token that the admin API over TCP accepts. */
const MIN_TOKEN_LENGTH = 16;

/** The listener opens this long after the start at the latest for what is still being loaded, in milliseconds. */
const LOADING_MS = 300;

/** How often the monitors look at the load, in milliseconds. */
const SCALE_EVERY_MS = 1000;

/** How often what nothing needs is looked for, in milliseconds; beside that, whenever a workload is removed. */
const SWEEP_EVERY_MS = 3_600_000;
/** After the start, in milliseconds: the first requests come before it. */
const FIRST_SWEEP_MS = 2000;

export interface Node {
  readonly gatewayUrl: string;
  readonly view: () => NodeView;
  /** Null when it is switched off. */
  readonly registryUrl: string | null;
  /** Reads the certificates of gateway and registry again; null when there is none. */
  readonly reloadCertificate: (() => Promise<unknown>) | null;
  /** Finishes requests in flight, stops everything, and gives the data folder free. Idempotent. */
  close(): Promise<void>;
}

export const version: string = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')).version;

/** A key of its own for each use, all from the node's one secret. */
function deriveKey(nodeKey: Uint8Array, use: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', nodeKey, new Uint8Array(), `skerry ${use}`, 32));
}

/** Starts a node. Throws a SkerryError that says what to do; then nothing is left behind. */
export async function startNode(
  settings: Settings,
  log: Logger,
  privileges: Privileges = ownPrivileges,
): Promise<Node> {
  checkAdmin(settings);
  checkRegistry(settings);
  const undo = new Undo();
  const onUndoError = (error: unknown) => log.error({ err: error }, 'stopping a part failed');
  try {
    const node = await assemble(settings, log, privileges, undo);
    let closing: Promise<void> | null = null;
    return {
      ...node,
      close() {
        closing ??= undo.run(false, onUndoError);
        return closing;
      },
    };
  } catch (error) {
    await undo.run(true, onUndoError);
    throw error;
  }
}

function checkAdmin(settings: Settings): void {
  if (settings.admin === undefined) return;
  if ((settings.adminToken ?? '').length < MIN_TOKEN_LENGTH) throw daemonErrors.ADMIN_NEEDS_TOKEN();
  if (!isLoopback(settings.admin)) throw daemonErrors.ADMIN_NOT_LOOPBACK(settings.admin);
}

interface Stores {
  readonly folder: DataFolder;
  readonly state: StateStore;
  readonly blobs: ContentStore;
  readonly logs: WorkloadLogs;
  readonly desired: DesiredState;
  readonly secrets: SecretStore;
  readonly keyvalue: KeyValueStore;
  /** Keys of the state that cannot be read. */
  readonly damaged: ReadonlySet<string>;
}

export async function openStores(settings: Settings, log: Logger, undo: Undo, notices: string[]): Promise<Stores> {
  const folder = await openDataFolder(settings.data);
  undo.add((failed) => (failed ? folder.discard() : folder.close()));
  const damaged = new Set<string>();
  const onCorrupt = (key: string, error: Error) => {
    // Opening the store finds it, and reading it again does.
    if (damaged.has(key)) return;
    damaged.add(key);
    notices.push(`${key}: ${error.message}`);
    log.error({ key, err: error }, 'a damaged record of the state is left out');
  };
  const state = await openStateStore(join(folder.path, 'state'), { onCorrupt });
  undo.add(() => state.close());
  const limit = await storeLimit(settings['store-size'], folder.path);
  const blobs = await openContentStore(join(folder.path, 'content'), { limit });
  const logs = new WorkloadLogs(join(folder.path, 'logs'), (error) => {
    log.warn({ err: error }, 'a log could not be written');
  });
  undo.add(() => logs.close());
  const keyvalue = await openKeyValueStore(join(folder.path, 'keyvalue'));
  undo.add(() => keyvalue.close());
  const desired = new DesiredState(state, onCorrupt);
  const secrets = new SecretStore(state, deriveKey(folder.nodeKey, 'secrets'), desired, onCorrupt);
  return { folder, state, blobs, logs, desired, secrets, keyvalue, damaged };
}

export interface OpenDrivers {
  readonly drivers: ReadonlyMap<Isolation, Driver>;
  /** Of those that could not be opened. */
  readonly missing: ReadonlyMap<Isolation, Missing>;
  /** The Wasm engine. */
  readonly engine: string;
  /** Null where there are no containers. */
  readonly volumes: HostVolumes | null;
  /** How microVMs run, with the figure that says so; null where there are none. */
  readonly acceleration: string | null;
  /** Removes unpacked layers of images that are gone. */
  sweepLayers(images: ImageCatalog): Promise<void>;
}

export async function openDrivers(
  settings: Settings,
  stores: Stores,
  log: Logger,
  privileges: Privileges,
  undo: Undo,
  notices: string[],
  neighbours: Neighbours,
): Promise<OpenDrivers> {
  const { folder, desired, blobs, logs, secrets, keyvalue } = stores;
  const { engine, notice } = await selectEngine(settings.engine, {
    cacheDir: join(folder.path, 'code-cache'),
    cacheKey: deriveKey(folder.nodeKey, 'native code'),
    discipline: settings.discipline,
    warn: (message) => log.warn(message),
  });
  if (notice !== null) {
    notices.push(notice);
    log.warn(notice);
  }
  const inUse = (digest: string) => desired.artifacts(() => {}).has(digest);
  const egress = { resolve: resolveHere, trust: systemTrust(process.env) };
  const wasm = new WasmDriver({ engine, blobs, logs, secrets, keyvalue, egress, neighbours, inUse });
  undo.add(() => wasm.close());
  const drivers = new Map<Isolation, Driver>([[wasm.isolation, wasm]]);
  const missing = new Map<Isolation, Missing>();
  let volumes: HostVolumes | null = null;
  const warn = (message: string, error?: unknown) => log.warn({ err: error }, message);
  const imageDrivers: (ContainerDriver | MicrovmDriver)[] = [];
  let layers: HostLayers | null = null;
  let machines: { readonly host: MachineHost; readonly driver: MicrovmDriver } | null = null;
  try {
    const host = await privileges.openContainers(folder.path, warn);
    const containers = new ContainerDriver({ host, blobs, logs, secrets, egress, neighbours });
    undo.add(() => containers.close());
    drivers.set(containers.isolation, containers);
    volumes = host.volumes;
    imageDrivers.push(containers);
    layers = host.layers;
  } catch (error) {
    if (!(error instanceof NoContainers)) throw error;
    missing.set('container', { why: error.message, advice: error.advice });
  }
  try {
    const host = await privileges.openMachines(folder.path, warn);
    const driver = new MicrovmDriver({ host, blobs, logs, secrets, egress, neighbours, log: warn });
    undo.add(() => driver.close());
    drivers.set(driver.isolation, driver);
    imageDrivers.push(driver);
    machines = { host, driver };
    layers ??= host.layers;
  } catch (error) {
    if (!(error instanceof NoMachines)) throw error;
    missing.set('vm', { why: error.message, advice: error.advice });
  }
  const sweep: OpenDrivers['sweepLayers'] = async (images) => {
    if (!layers) return;
    const inUse = imageDrivers.flatMap((driver) => [...driver.layersInUse()]);
    await sweepLayers(layers, images, new Set(inUse));
    if (!machines) return;
    await sweepDisks(machines.host.disks, images);
    await machines.driver.sweepTemplates();
  };
  const acceleration = machines?.host.acceleration.why ?? null;
  return { drivers, missing, engine: engine.version, volumes, acceleration, sweepLayers: sweep };
}

async function assemble(
  settings: Settings,
  log: Logger,
  privileges: Privileges,
  undo: Undo,
): Promise<Omit<Node, 'close'>> {
  const startedAt = new Date().toISOString();
  const graceMs = parseDuration(settings['stop-timeout']) as number;
  const notices: string[] = [];
  const stores = await openStores(settings, log, undo, notices);
  const { folder, desired, blobs, logs, secrets, keyvalue } = stores;
  const neighbours = new GatewayNeighbours();
  const opened = await openDrivers(settings, stores, log, privileges, undo, notices, neighbours);
  const { drivers, missing, engine, volumes, sweepLayers } = opened;
  const processes = new Processes({
    ...{ store: stores.state, desired, drivers, logs },
    log: (message, error) => log.warn({ err: error }, message),
  });
  const wanted = (name: string, revision: string) =>
    processes.wants(name, revision) || (desired.get(name)?.value.revisions.includes(revision) ?? false);
  for (const driver of drivers.values()) await driver.recover(wanted);
  await processes.recover();
  undo.add(() => processes.close(graceMs));
  const keptBytes = () => [...drivers.values()].reduce((sum, driver) => sum + driver.keptBytes(), 0);
  const monitor: Monitor = new Monitor(() => reconciler.current, keptBytes);
  const builds = new BuildService(stores.state, blobs, join(folder.path, 'build'));
  undo.add(() => builds.close());
  let ownRegistry: OpenRegistry | null = null;
  const catalog = new ImageCatalog(stores.state);
  const registry = registryOf(stores.state, blobs);
  const registryHosts = () => hostsOf(ownRegistry);
  const own = (named: NamedReference) => ownReference(named, registryHosts());
  const { repositories } = registry;
  const trust = new ImageTrust({ state: stores.state, blobs, catalog, repositories, own });
  const remote = remoteAccess();
  const images = await ImageService.open(
    {
      ...{ blobs, catalog, repositories, registryHosts, trust, remote, desired },
      runsImages: () => drivers.has('container') || drivers.has('vm'),
      deployed: (workload) => desired.mainRevision(workload)?.artifact ?? null,
    },
    join(folder.path, 'images'),
  );
  undo.add(() => images.close());
  const openBuilder = () => privileges.openImageBuilder(folder.path);
  const imageBuilds = await ImageBuilds.open(
    { images, blobs, trust, openBuilder },
    join(folder.path, 'images', 'builds'),
  );
  const unpacked = () => sweepLayers(catalog);
  const sources = { blobs, desired, builds, images: catalog, repositories };
  const pruneBuilds = () => imageBuilds.prune();
  const library = new ImageLibrary({ ...sources, sweepLayers: unpacked, pruneBuilds });
  blobs.space.evict = (bytes) => evict(sources, blobs.space, bytes);
  const sweep = () =>
    void sweepStore(sources)
      .then(unpacked)
      .catch((error) => log.warn({ err: error }, 'a sweep failed'));
  const sweeping = setInterval(() => {
    sweep();
    pruneBuilds().catch((error) => log.warn({ err: error }, 'what builds left could not be looked at'));
  }, SWEEP_EVERY_MS).unref();
  undo.add(() => clearInterval(sweeping));
  const admission = new Admission({
    discipline: settings.discipline,
    concurrency: settings['node-concurrency'],
    queue: settings['node-queue'],
  });
  const decisions = new DecisionLog((decision) => log.info({ event: 'decision', ...decision }, decision.decision));
  const monitors = new Map([...parseMonitors(settings.monitors)!].map((kind) => [kind, MONITOR_MAKERS[kind]]));
  const autoscaler = new Autoscaler({ monitors, decisions });
  const machine = machineFor(settings['node-memory']);
  const reconciler = new Reconciler({
    desired,
    drivers,
    admission,
    decisions,
    memoryBytes: machine.memoryBytes,
    log: (message, error) => log.warn({ err: error }, message),
    onStarted: (instance) => monitor.started(instance),
    onRemoved: (name) => {
      monitor.forget(name);
      decisions.forget(name);
      void logs.remove(name);
      keyvalue.remove(name).catch((error) => log.warn({ err: error }, `what ${name} stored could not be removed`));
      sweep();
    },
  });
  const dispatcher = new Dispatcher(reconciler, (outcome) => {
    monitor.observe(outcome.workload, outcome.durationMs, outcome.error?.code ?? null);
    if (outcome.error?.code === 'INTERNAL') log.error({ err: outcome.error.cause, ...outcome }, 'a request failed');
  });
  neighbours.attach(dispatcher);
  undo.add(() => reconciler.close(graceMs));
  const allocator = new CpuAllocator(machine.cpuMillicores, CPU_POLICIES[settings.allocation], decisions);
  const scaling = setInterval(() => {
    autoscaler.tick(performance.now(), reconciler.runners());
    allocator.tick(reconciler.runners());
  }, SCALE_EVERY_MS).unref();
  undo.add(() => clearInterval(scaling));

  let gateway: Listener | null = null;
  const gatewayUrl = () => gateway?.url ?? '';
  const metrics = prometheusRegistry(monitor, { admission, memory: reconciler.memory, decisions });
  const view = (): NodeView => ({
    version,
    pid: process.pid,
    dataFolder: folder.path,
    engine,
    gateway: gatewayUrl(),
    registry: ownRegistry?.url ?? null,
    startedAt,
    workloads: desired.list().length,
    notices,
  });
  const services: AdminServices = {
    desired,
    reconciler,
    autoscaler,
    blobs,
    logs,
    secrets,
    tokens: registry.tokens,
    drivers,
    decisions,
    machine,
    processes,
    dispatcher,
    gatewayUrl,
    build: (request, progress, signal) => builds.build(request, progress, signal),
    images: library,
    trust: new TrustService(trust, { blobs, desired, catalog, repositories, own }),
    transfers: images,
    buildImage: (...request) => imageBuilds.build(...request),
    mediaType: (digest) => catalog.get(digest)?.manifest.mediaType ?? 'application/wasm',
    volumes,
    sourceMap: (component) => builds.sourceMap(component),
    metrics: () => metrics.metrics(),
    usage: (windowMs, signal) => sampleUsage(monitor, windowMs, signal),
    node: view,
    doctor: () => examine(drivers, missing, folder.path, privileges),
  };
  const app = makeAdminApp(services, (message, error) => log.error({ err: error }, message));

  const certificate = await certificateOf(settings['tls-cert'], settings['tls-key'], privileges.files);
  reconciler.start();
  // What is kept loads in milliseconds: the first request need not wait for it. What does not, comes while others are served.
  await reconciler.settled(LOADING_MS);
  const handlers = { dispatch: dispatcher.dispatch.bind(dispatcher), own: answerOwn(dispatcher) };
  const where = parseAddress(settings.listen) as { host: string; port: number };
  const listening = privileges.bind(where.host, where.port);
  const front = await orListenError(
    'gateway',
    settings.listen,
    listening.then((at) => listen({ at, handlers, certificate: certificate?.current })),
  );
  gateway = front;
  const reloads = certificate ? [followCertificate('gateway', certificate, front, log, undo)] : [];
  const key = deriveKey(folder.nodeKey, 'registry bearers');
  ownRegistry = await openRegistry(settings, registry, { blobs, key, log, undo, graceMs, privileges, trust, remote });
  if (ownRegistry?.certificate) reloads.push(ownRegistry.certificate);
  await listenAdmin(settings, app, folder, privileges, undo);
  // Last made, first undone: requests in flight end before anything they need does.
  undo.add(() => front.close(graceMs));
  undo.add(() => {
    dispatcher.stopping = true;
  });
  await warmUp(front.url);
  if (opened.acceleration !== null) log.info(`microVMs run ${opened.acceleration}`);
  const sweepingFirst = setTimeout(sweep, FIRST_SWEEP_MS).unref();
  undo.add(() => clearTimeout(sweepingFirst));
  sweepKeyValue(keyvalue, desired, stores.damaged).catch((error) => log.warn({ err: error }, 'a sweep failed'));
  return {
    gatewayUrl: front.url,
    registryUrl: ownRegistry?.url ?? null,
    view,
    reloadCertificate: reloads.length > 0 ? () => Promise.all(reloads.map((each) => each.reload())) : null,
  };
}

async function listenAdmin(
  settings: Settings,
  app: ReturnType<typeof makeAdminApp>,
  folder: DataFolder,
  privileges: Privileges,
  undo: Undo,
): Promise<void> {
  const socket = join(folder.path, 'skerry.sock');
  const listeners: AdminListener[] = [await orListenError('admin API', socket, listenUnix(app, socket))];
  undo.add(() => Promise.all(listeners.map((listener) => listener.close())));
  if (settings.admin === undefined) return;
  const { host, port } = parseAddress(settings.admin) as { host: string; port: number };
  const listening = privileges.bind(host, port).then((at) => listenTcp(app, at, host, settings.adminToken as string));
  listeners.push(await orListenError('admin API', settings.admin, listening));
}
