import type { Readable } from 'node:stream';
import type { Tokens } from '../../images/registry/index.ts';
import type { Credentials } from '../../images/remote/index.ts';
import type { ContentStore, VerifiedBlob } from '../../images/store/index.ts';
import type { Driver, ProcessStreams } from '../../runtime/driver.ts';
import type { HostVolumes } from '../../runtime/drivers/container/host.ts';
import type { WorkloadLogs } from '../../runtime/logs/workload-logs.ts';
import type { Processes } from '../../runtime/processes/processes.ts';
import type { Machine } from '../../runtime/scheduler/allocation/machine.ts';
import type { DecisionLog } from '../../runtime/scheduler/decisions.ts';
import type { SecretStore } from '../../runtime/secrets/secret-store.ts';
import type { Isolation } from '../../runtime/workload/revision.ts';
import type { Dispatcher } from '../dispatch.ts';
import type { TellProgress } from './ndjson.ts';
import type {
  BuildEvent,
  BuildRequest,
  BuiltImage,
  Doctor,
  ImageBuildRequest,
  ImageEvent,
  ImageInspection,
  ImageView,
  NodeView,
  PolicyRequest,
  PolicyView,
  Pruned,
  RemovedImage,
  StoreView,
  TaggedImage,
  TagRequest,
  TransferRequest,
  UsageSample,
} from './schemas.ts';
import type { ViewSources } from './views.ts';

type ImageDone = Extract<ImageEvent, { event: 'done' }>;

/** Images on their way to the node and from it. Each throws a SkerryError. */
export interface ImageTransfers {
  /** Brings onto the node what is to be deployed. */
  import(request: ImageImport, progress: TellProgress, signal: AbortSignal): Promise<ImageDone>;
  /** Brings an image of another registry onto the node, under its name. */
  pull(request: TransferRequest, progress: TellProgress, signal: AbortSignal): Promise<ImageDone>;
  /** Sends what the node has under a name to the registry that the name says. */
  push(request: TransferRequest, progress: TellProgress, signal: AbortSignal): Promise<ImageDone>;
  /** Gives an image of the node another name. */
  tag(request: TagRequest): Promise<TaggedImage>;
}

export interface ImageImport {
  readonly reference: string;
  /** The image, when the reference names what the client has. */
  readonly archive: Readable | null;
  /** For the registry of the image. */
  readonly credentials: Credentials | null;
}

/** What the admin API stands on; the daemon puts it together. */
export interface AdminServices extends ViewSources {
  readonly blobs: ContentStore;
  readonly logs: WorkloadLogs;
  readonly secrets: SecretStore;
  readonly tokens: Pick<Tokens, 'create' | 'list' | 'remove'>;
  readonly drivers: ReadonlyMap<Isolation, Driver>;
  readonly decisions: Pick<DecisionLog, 'of'>;
  /** What workloads may have together. */
  readonly machine: Machine;
  readonly processes: Processes;
  readonly dispatcher: Dispatcher;
  /** Makes a component of an uploaded bundle. Throws a SkerryError; `signal` ends it. */
  build(
    request: BuildRequest,
    progress: (step: string) => void,
    signal: AbortSignal,
  ): Promise<Extract<BuildEvent, { event: 'done' }>>;
  readonly transfers: ImageTransfers;
  /** Of what the node has: an image's manifest, or a component. */
  mediaType(digest: string): string;
  /** Builds from a Dockerfile. Throws a SkerryError. */
  buildImage(request: ImageBuildRequest, streams: ProcessStreams, signal: AbortSignal): Promise<BuiltImage>;
  /** Null where there are no containers. */
  readonly volumes: HostVolumes | null;
  readonly images: {
    list(): ImageView[];
    store(): StoreView;
    remove(reference: string): Promise<RemovedImage>;
    prune(dryRun: boolean): Promise<Pruned>;
  };
  readonly trust: {
    policies(): PolicyView[];
    setPolicy(request: PolicyRequest): Promise<PolicyView>;
    removePolicy(pattern: string): Promise<void>;
    /** Throws what an artifact may not be run for. @param label what the user calls it */
    admit(digest: string, label: string): Promise<void>;
    signingSubject(reference: string): Promise<{ repository: string; digest: string }>;
    sign(reference: string, payload: Uint8Array, signature: string): Promise<void>;
    inspect(reference: string): Promise<ImageInspection>;
  };
  /** The source map that a component was built with, by its digest; null when there is none. */
  sourceMap(component: string): Promise<VerifiedBlob | null>;
  /** In the text format of Prometheus. */
  metrics(): Promise<string>;
  /** Watches for `windowMs`, then tells; throws when `signal` is aborted first. */
  usage(windowMs: number, signal: AbortSignal): Promise<UsageSample>;
  node(): NodeView;
  doctor(): Promise<Doctor>;
}

/** Largest upload, in bytes: a component of a large JavaScript program is some tens of MiB. */
export const MAX_ARTIFACT_BYTES = 512 * 2 ** 20;
