/** What the admin API takes and gives; its OpenAPI document, its client and the CLI are made from these. */
import { z } from '@hono/zod-openapi';
import { Credentials } from '../../images/remote/credentials.ts';
import { MONITORS } from '../../runtime/monitor/load-sample.ts';
import { ApplyFile } from '../../runtime/workload/apply-file.ts';
import {
  LIMITS,
  ProcessName,
  ProcessSettings,
  RevisionSettings,
  SecretName,
  WorkloadName,
  WorkloadSettings,
} from '../../runtime/workload/settings.ts';

export const Digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, { error: 'must be sha256: and 64 hex digits' })
  .openapi('Digest');
export const RevisionId = z.string().regex(/^[0-9a-f]{12}$/, { error: 'must be 12 hex digits' });

export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number(),
    detail: z.string(),
    code: z.string(),
    fix: z.string(),
    requestId: z.string(),
  })
  .openapi('Problem');

export const Artifact = z.object({ digest: Digest, mediaType: z.string() }).openapi('Artifact');
export const Stored = z.object({ digest: Digest, size: z.number() }).openapi('Stored');

export const DeployRequest = z
  .strictObject({
    artifact: Artifact,
    /** What the user calls the artifact: shown in errors and by `inspect`. */
    label: z.string().max(256),
    settings: WorkloadSettings,
    /** Refuse when the workload's generation is another one by now. */
    expectGeneration: z.number().int().min(0).optional(),
  })
  .openapi('DeployRequest');
export type DeployRequest = z.infer<typeof DeployRequest>;

export const TrafficShare = z.object({ revision: RevisionId, percent: z.number() }).openapi('TrafficShare');
export const TrafficRequest = z
  .strictObject({
    traffic: z.array(z.strictObject({ revision: z.string(), percent: z.number().int().min(0).max(100) })).min(1),
  })
  .openapi('TrafficRequest');
export const ScaleRequest = z
  .strictObject({ min: WorkloadSettings.shape.min, max: WorkloadSettings.shape.max })
  .openapi('ScaleRequest');
export const RollbackRequest = z.strictObject({ revision: z.string().optional() }).openapi('RollbackRequest');

export const Phase = z.enum(['pending', 'progressing', 'ready', 'idle', 'parked', 'failed']);
export const RevisionPhase = z.enum(['cold', 'preparing', 'ready', 'draining', 'failed']);

/** Milliseconds. */
const Latency = z.number().nullable();

export const RevisionView = z
  .object({
    id: RevisionId,
    createdAt: z.string().describe('ISO 8601'),
    label: z.string(),
    isolation: z.enum(['wasm', 'container', 'vm']),
    /** Why this sandbox was taken. */
    decision: z.string(),
    artifact: Artifact,
    limits: z.object({
      memoryBytes: z.number(),
      cpuMillicores: z.number(),
      timeoutMs: z.number(),
      cpuTimeMs: z.number().optional(),
      startTimeoutMs: z.number(),
      concurrency: z.number(),
      maxRequestBytes: z.number(),
      maxResponseBytes: z.number(),
    }),
    priority: z.number(),
    reuse: z.number(),
    env: z.record(z.string(), z.string()),
    secrets: z.array(z.string()).describe('Names'),
    allow: z.array(z.string()),
    keyvalueQuotaBytes: z.number(),
    port: z.number().optional(),
    writableBytes: z.number().optional(),
    kernel: z.string().optional(),
    snapshot: z.enum(['none', 'boot', 'app']).optional(),
    volumes: z.array(z.object({ name: z.string(), path: z.string(), bytes: z.number().nullable() })).optional(),
    readyCheck: z.string().optional(),
    liveCheck: z.object({ check: z.string(), everyMs: z.number() }).optional(),
    percent: z.number().describe('Share of the traffic that the spec gives it'),
    phase: RevisionPhase,
    error: z.string().nullable(),
    ends: z
      .object({
        count: z.number(),
        at: z.string().describe('When the last one ended, ISO 8601'),
        message: z.string().describe('Why'),
      })
      .optional()
      .describe('Instances that ended by themselves or were not well any more, since the node started'),
    findings: z
      .array(
        z.object({ monitor: z.enum(MONITORS), sees: z.string(), sure: z.number(), instances: z.number().nullable() }),
      )
      .optional()
      .describe('What the monitors see now, how sure they are (0 to 1), and how many instances they would have'),
    previewHost: z.string(),
    stats: z
      .object({
        requests: z.number(),
        failures: z.number(),
        inFlight: z.number(),
        queued: z.number(),
        cpuMs: z.number().describe('CPU time of its sandboxes'),
        memoryBytes: z.number().describe('The most that one sandbox had'),
        coldStarts: z.number().describe('Sandboxes made for a request'),
        warmStarts: z.number().describe('Requests served in a sandbox that had served before'),
        startMs: z.number().describe('Time spent on making sandboxes'),
        p50Ms: Latency.describe('Latency that half of the requests stayed under; null when there were none'),
        p99Ms: Latency.describe('Latency that 99 % of the requests stayed under'),
      })
      .nullable()
      .describe('Since the node started, over all its instances. Null when the node does not keep it ready to run'),
  })
  .openapi('Revision');
export type RevisionView = z.infer<typeof RevisionView>;

export const WorkloadView = z
  .object({
    name: WorkloadName,
    generation: z.number().int(),
    spec: z.object({
      routes: z.array(z.string()).describe('Every route, the default ones first'),
      scale: z.object({ min: z.number(), max: z.number(), idleMs: z.number() }),
      queue: z.number(),
      traffic: z.array(TrafficShare),
    }),
    status: z.object({
      observedGeneration: z.number().int(),
      phase: Phase,
      message: z.string(),
      /** What requests get now; follows the spec when the revisions of it are ready. */
      traffic: z.array(TrafficShare),
    }),
    urls: z.array(z.string()),
    warnings: z.array(z.string()).describe("Where its routes and those of other workloads get in each other's way"),
    revisions: z.array(RevisionView).describe('Newest first'),
  })
  .openapi('Workload');
export type WorkloadView = z.infer<typeof WorkloadView>;

export const WorkloadList = z.object({ workloads: z.array(WorkloadView) }).openapi('WorkloadList');

/** Of a command line. */
const Word = z
  .string()
  .max(128 * 1024)
  .regex(/^[^\0]*$/, { error: 'must not have a NUL' });

export const RunRequest = z
  .strictObject({
    name: ProcessName.optional().describe('One is made up when it is left out'),
    /** What a name that is made up begins with. */
    basename: WorkloadName.default('process'),
    artifact: Artifact,
    /** What the user calls the image. */
    label: z.string().max(256),
    arguments: z.array(Word).max(4096).describe("In place of the image's command; empty: as it says"),
    settings: ProcessSettings,
    /** Forget it, and what it wrote, when it has ended. */
    remove: z.boolean().default(false),
  })
  .openapi('RunRequest');
export type RunRequest = z.infer<typeof RunRequest>;

export const ExecRequest = z.strictObject({
  name: ProcessName,
  command: z
    .array(Word)
    .min(1)
    .max(4096)
    .refine(([program]) => program !== '', { error: 'must begin with a program' }),
});

export const SignalRequest = z.strictObject({
  signal: z.enum(['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGKILL', 'SIGUSR1', 'SIGUSR2']),
});

/** How a process ended that was attached. */
export const Ended = z.object({
  /** As a shell tells it. */
  status: z.number(),
  /** How it ended, when that needs to be said. */
  message: z.string(),
});
export type Ended = z.infer<typeof Ended>;

const VariableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, { error: 'must be a name of a variable' });

export const ImageBuildRequest = z.strictObject({
  /** What it is called then. */
  reference: z.string().min(1).max(4096),
  /** The Dockerfile as the user calls it, for errors, and its text. */
  file: z.string().max(4096),
  dockerfile: z.string().max(1024 * 1024),
  args: z.record(VariableName, z.string().max(64 * 1024)),
  target: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/, { error: 'must be the name of a stage' })
    .nullable(),
  fresh: z.boolean(),
  epoch: z
    .number()
    .int()
    .min(0)
    .max(2 ** 40)
    .nullable(),
  secrets: z.record(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/, { error: 'must be an id of a secret' }),
    z.string().max(64 * 1024),
  ),
  network: z.boolean(),
});
export type ImageBuildRequest = z.infer<typeof ImageBuildRequest>;

export const BuiltImage = z.object({ name: z.string(), artifact: Artifact, size: z.number() });
export type BuiltImage = z.infer<typeof BuiltImage>;

export const VolumeView = z
  .object({
    name: z.string(),
    bytes: z.number().describe('What it holds at most'),
    usedBytes: z.number().describe('Of the disk'),
    usedBy: z.array(z.string()).describe('Workloads and processes with a container that has it now'),
  })
  .openapi('Volume');
export type VolumeView = z.infer<typeof VolumeView>;
export const DecisionView = z
  .object({
    at: z.string(),
    kind: z.enum(['placement', 'scaling', 'memory', 'monitor']),
    decision: z.string(),
    inputs: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  })
  .openapi('Decision');
export const DecisionList = z.object({ decisions: z.array(DecisionView) }).openapi('DecisionList');

export const VolumeList = z.object({ volumes: z.array(VolumeView) }).openapi('VolumeList');

export const ProcessView = z
  .object({
    name: ProcessName,
    image: z.string().describe('As the user called it'),
    digest: Digest,
    arguments: z.array(z.string()),
    isolation: z.enum(['wasm', 'container', 'vm']),
    state: z.enum(['running', 'starting', 'exited']),
    startedAt: z.string().describe('ISO 8601'),
    endedAt: z.string().nullable(),
    /** As a shell tells it: 128 and the number of the signal that ended it. Null: it runs, or nobody knows. */
    exitStatus: z.number().nullable(),
    message: z.string().describe('How it ended'),
    cpuMs: z.number().nullable(),
    memoryBytes: z.number().nullable(),
  })
  .openapi('Process');
export type ProcessView = z.infer<typeof ProcessView>;
export const ProcessList = z.object({ processes: z.array(ProcessView) }).openapi('ProcessList');

export const PlanRequest = z
  .strictObject({
    workloads: z.array(
      z.strictObject({
        name: WorkloadName,
        settings: WorkloadSettings.describe('Of the workload, and of each revision that does not say them itself'),
        revisions: z
          .array(
            z.strictObject({
              artifact: Artifact.partial({ mediaType: true }).describe('Without a media type: as the node knows it'),
              label: z.string().max(256),
              percent: z.number().int().min(1).max(100).describe('Share of the traffic; they sum to 100'),
              settings: RevisionSettings,
            }),
          )
          .min(1)
          .max(LIMITS.revisions)
          .describe('Oldest first'),
      }),
    ),
    /** True: say what would change, change nothing. */
    dryRun: z.boolean(),
  })
  .openapi('PlanRequest');
export type PlanRequest = z.infer<typeof PlanRequest>;

export const Plan = z
  .object({
    changes: z.array(
      z.object({
        name: WorkloadName,
        action: z.enum(['create', 'update', 'unchanged']),
        /** `memory: 64MiB -> 128MiB`, one a line. */
        details: z.array(z.string()),
        /** As in the workload's view once it is changed. */
        warnings: z.array(z.string()),
        generation: z.number().int(),
      }),
    ),
    applied: z.boolean(),
  })
  .openapi('Plan');
export type Plan = z.infer<typeof Plan>;

export const Export = z.object(ApplyFile.shape).openapi('Export');
export type Export = z.infer<typeof Export>;

export const BuildRequest = z
  .strictObject({
    language: z.enum(['javascript']),
    source: Digest,
    label: z.string().max(256),
    sourceMap: Digest.optional().describe(
      'Of an uploaded source map (ECMA-426) of the source, kept with what is built',
    ),
  })
  .openapi('BuildRequest');
export type BuildRequest = z.infer<typeof BuildRequest>;
/** One line of the NDJSON answer of a build; the last one is `done` or `failed`. */
export const BuildEvent = z
  .discriminatedUnion('event', [
    z.object({ event: z.literal('progress'), step: z.string() }),
    z.object({ event: z.literal('done'), artifact: Artifact, size: z.number(), cached: z.boolean(), ms: z.number() }),
    z.object({ event: z.literal('failed'), problem: Problem }),
  ])
  .openapi('BuildEvent');
export type BuildEvent = z.infer<typeof BuildEvent>;

/** Of the registry of one image: those of who asks, used for this request and kept nowhere. */
const registryCredentials = Credentials.optional().describe('Of who asks, for the registry of the image; kept nowhere');
export const ImportRequest = z.strictObject({ credentials: registryCredentials }).openapi('ImportRequest');
/** What `pull` and `push` ask. */
export const TransferRequest = z
  .strictObject({
    reference: z.string().min(1).max(4096),
    insecure: z
      .array(z.string().min(1).max(300))
      .max(100)
      .describe('Registries (HOST[:PORT]) that are spoken to without TLS, or whatever their certificate'),
    credentials: registryCredentials,
  })
  .openapi('TransferRequest');
export type TransferRequest = z.infer<typeof TransferRequest>;

/** What is told while an image is brought onto the node, or sent from it (NDJSON). */
export const ImageEvent = z
  .discriminatedUnion('event', [
    z.object({
      event: z.literal('progress'),
      step: z.string(),
      part: z.object({ done: z.number(), total: z.number() }).optional().describe('Of it, in bytes'),
    }),
    z.object({
      event: z.literal('done'),
      artifact: Artifact,
      name: z.string().describe("In the node's store"),
      size: z.number().describe('Of its layers as they came, in bytes'),
    }),
    z.object({ event: z.literal('failed'), problem: Problem }),
  ])
  .openapi('ImageEvent');
export type ImageEvent = z.infer<typeof ImageEvent>;

export const ImageView = z
  .object({
    name: z.string().describe('As `skerry deploy` takes it, or a digest'),
    origin: z
      .enum(['pushed', 'pulled', 'deployed'])
      .describe('Pushed to this node, pulled from another registry, or sent with a deploy'),
    digest: z.string(),
    mediaType: z.string(),
    createdAt: z.string().describe('When it got its name here, ISO 8601'),
    size: z.number().describe('Of all that it is made from, in bytes'),
    usedBy: z.array(z.string()).describe('Workloads that keep a revision of it'),
    frees: z.number().describe('What its removal would free, in bytes: what nothing else here needs'),
    attachedTo: z
      .string()
      .nullable()
      .describe(
        'Of what is no image of its own (a signature, an attestation, an SBOM): the digest of the one it is about',
      ),
  })
  .openapi('Image');
export type ImageView = z.infer<typeof ImageView>;
export const StoreView = z
  .object({
    bytes: z.number().describe('Of all blobs and of what is on its way to become one'),
    limit: z.number().describe('What it may have (--store-size), in bytes'),
  })
  .openapi('Store');
export type StoreView = z.infer<typeof StoreView>;
export const ImageList = z.object({ images: z.array(ImageView), store: StoreView }).openapi('ImageList');
export type ImageList = z.infer<typeof ImageList>;
export const RemovedImage = z
  .object({
    name: z.string(),
    bytes: z.number().describe('Freed'),
    youngBytes: z
      .number()
      .describe('Needed by nothing, and left for an hour: it was brought lately, and may be about to run'),
    usedBy: z.array(z.string()),
  })
  .openapi('RemovedImage');
export type RemovedImage = z.infer<typeof RemovedImage>;
export const TagRequest = z
  .strictObject({
    reference: z.string().min(1).max(4096).describe('An image of the node'),
    name: z.string().min(1).max(4096).describe('What it is to be called as well, REPOSITORY[:TAG]'),
  })
  .openapi('TagRequest');
export type TagRequest = z.infer<typeof TagRequest>;
export const TaggedImage = z.object({ name: z.string(), digest: z.string() }).openapi('TaggedImage');
export type TaggedImage = z.infer<typeof TaggedImage>;
export const PruneRequest = z.strictObject({ dryRun: z.boolean() }).openapi('PruneRequest');
export const Pruned = z
  .object({
    dryRun: z.boolean(),
    blobs: z.number(),
    bytes: z.number(),
    youngBytes: z
      .number()
      .describe('Needed by nothing, and left: less than an hour old, it may belong to a push or a deploy'),
    store: StoreView,
    buildBytes: z
      .number()
      .describe('Of what builds had kept, freed since it was too much, or no build had used it for long'),
  })
  .openapi('Pruned');
export type Pruned = z.infer<typeof Pruned>;

const Base64 = z.string().regex(/^[A-Za-z0-9+/]+={0,2}$/, { error: 'must be in base64' });

export const Requirement = z.union([
  z.strictObject({ keys: z.array(z.string().max(16_384)).min(1).max(16).describe('Public keys in PEM form') }),
  z.strictObject({
    identity: z.string().min(1).max(1024).describe('Of the certificate: an e-mail address or a URI, as a whole'),
    issuer: z.string().min(1).max(1024).describe('Who vouched for it'),
    trustRoot: z.string().max(1_048_576).describe('The text of a trusted_root.json'),
  }),
]);
export const PolicyRequest = z
  .strictObject({
    pattern: z.string().min(1).max(300).describe('Of repositories; * stands for any characters, slashes too'),
    requires: Requirement,
  })
  .openapi('PolicyRequest');
export type PolicyRequest = z.infer<typeof PolicyRequest>;
export const PolicyView = z
  .object({ pattern: z.string(), requires: z.string(), setAt: z.string().describe('ISO 8601') })
  .openapi('Policy');
export type PolicyView = z.infer<typeof PolicyView>;
export const PolicyList = z.object({ policies: z.array(PolicyView) }).openapi('PolicyList');

export const SigningSubject = z.object({ repository: z.string(), digest: Digest }).openapi('SigningSubject');
export const SignatureRequest = z
  .strictObject({
    reference: z.string().min(1).max(4096),
    payload: Base64.max(65_536).describe('What is signed, in base64'),
    signature: Base64.max(4096).describe('In base64'),
  })
  .openapi('SignatureRequest');

export const ImageInspection = z
  .object({
    name: z.string(),
    digest: z.string().describe('Of what the name leads to: an index or a manifest'),
    mediaType: z.string(),
    size: z.number().describe('Of its layers, or of the manifests of an index, in bytes'),
    usedBy: z.array(z.string()).describe('Workloads and processes that are made from it'),
    tags: z.array(z.string()).describe('Of its repository, that name the same'),
    platforms: z.array(z.object({ platform: z.string(), digest: z.string(), size: z.number() })),
    layers: z.array(z.object({ mediaType: z.string(), digest: z.string(), size: z.number() })),
    policies: z.array(z.object({ pattern: z.string(), requires: z.string(), met: z.boolean() })),
    signatures: z.array(
      z.object({
        manifest: z.string().describe('Digest of the manifest that it stands in'),
        kind: z.enum(['simple', 'bundle']),
        by: z.string().nullable().describe('Who made it, where a policy requires that; null: it was not verified'),
        why: z.string().nullable().describe('Why it does not satisfy the policy; null where it does, or there is none'),
      }),
    ),
    attachments: z.array(
      z.object({
        manifest: z.string(),
        kind: z.string().describe('signature, SBOM (SPDX), SBOM (CycloneDX), provenance, attestation or other'),
        mediaType: z.string(),
        digest: z.string(),
        size: z.number(),
        predicate: z.string().nullable().describe('What a statement of in-toto is about'),
      }),
    ),
  })
  .openapi('ImageInspection');
export type ImageInspection = z.infer<typeof ImageInspection>;

/** One line of a workload's log (NDJSON). */
export const LogLine = z
  .object({
    time: z.string().describe('ISO 8601'),
    revision: RevisionId,
    requestId: z.string(),
    stream: z.enum(['stdout', 'stderr', 'node']).describe('node: a remark of the node itself, such as a failure'),
    text: z.string(),
  })
  .openapi('LogLine');
export type LogLine = z.infer<typeof LogLine>;

export const SecretRequest = z.strictObject({ value: z.string() }).openapi('SecretRequest');
export const SecretView = z
  .object({
    name: SecretName,
    updatedAt: z.string().describe('ISO 8601'),
    usedBy: z.array(WorkloadName).describe('Workloads whose traffic goes to a revision that gets it'),
  })
  .openapi('Secret');
export type SecretView = z.infer<typeof SecretView>;
export const SecretList = z.object({ secrets: z.array(SecretView) }).openapi('SecretList');

export const TokenRequest = z
  .strictObject({ scopes: z.array(z.string().max(1000)).describe('Each as repository:PATTERN:ACTIONS') })
  .openapi('TokenRequest');
export const TokenSecret = z.object({ token: z.string() }).openapi('TokenSecret');
export const TokenView = z
  .object({ name: z.string(), scopes: z.array(z.string()), createdAt: z.string().describe('ISO 8601') })
  .openapi('Token');
export type TokenView = z.infer<typeof TokenView>;
export const TokenList = z.object({ tokens: z.array(TokenView) }).openapi('TokenList');

export const ProbeView = z
  .object({
    part: z.string().describe('wasm, container, vm, or a part of the node such as engine or state'),
    available: z.boolean(),
    provider: z.string(),
    quality: z.string(),
    advice: z.array(z.string()),
    offers: z
      .array(z.string())
      .optional()
      .describe('What a workload may build on: the interfaces that a component may import'),
  })
  .openapi('Probe');
export const Doctor = z
  .object({
    healthy: z.boolean(),
    problems: z.array(z.string()).describe('Why it is not healthy'),
    probes: z.array(ProbeView),
  })
  .openapi('Doctor');
export type Doctor = z.infer<typeof Doctor>;

const WorkloadUsage = z
  .object({
    name: WorkloadName,
    requestsPerSecond: z.number(),
    errorsPerSecond: z.number(),
    p50Ms: Latency,
    p99Ms: Latency,
    cpuPercent: z.number().describe('Of one core: 150 is one and a half'),
    memoryPeakBytes: z.number().describe('The most that one sandbox had since the node started'),
    inFlight: z.number(),
    queued: z.number(),
    coldStarts: z.number().describe('Sandboxes made for a request in the window'),
    warmStarts: z.number().describe('Requests of the window served in a sandbox that had served before'),
    total: z
      .object({
        requests: z.number(),
        errors: z.number(),
        p50Ms: Latency,
        p99Ms: Latency,
        cpuMs: z.number(),
        coldStarts: z.number(),
        warmStarts: z.number(),
        startMs: z.number().describe('Time spent on making sandboxes'),
      })
      .describe('Since the node started'),
  })
  .openapi('WorkloadUsage');
export const UsageSample = z
  .object({
    time: z.string().describe('ISO 8601, at the end of the window'),
    windowMs: z.number(),
    node: z.object({
      requestsPerSecond: z.number(),
      errorsPerSecond: z.number(),
      cpuPercent: z.number().describe('Of one core, the whole process'),
      memoryBytes: z.number().describe('Resident memory of the process'),
      keptBytes: z.number().describe('Of that: kept for sandboxes to come'),
      inFlight: z.number(),
      queued: z.number(),
    }),
    workloads: z.array(WorkloadUsage),
  })
  .openapi('UsageSample');
export type UsageSample = z.infer<typeof UsageSample>;

export const NodeView = z
  .object({
    version: z.string(),
    pid: z.number(),
    dataFolder: z.string(),
    engine: z.string(),
    gateway: z.string().describe('Base URL of the gateway'),
    registry: z.string().nullable().describe('Base URL of the image registry; null when it is switched off'),
    startedAt: z.string(),
    workloads: z.number(),
    notices: z.array(z.string()).describe('What the operator should know, such as a missing native engine'),
  })
  .openapi('Node');
export type NodeView = z.infer<typeof NodeView>;
