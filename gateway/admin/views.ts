/** What the admin API shows of workloads: spec and status side by side. */

import { asSkerryError } from '../../errors/skerry-error.ts';
import type { Instance } from '../../runtime/driver.ts';
import type { ProcessDocument } from '../../runtime/processes/process-document.ts';
import type { Reconciler } from '../../runtime/reconciler/reconciler.ts';
import type { RevisionRunner } from '../../runtime/reconciler/revision-runner.ts';
import type { Autoscaler } from '../../runtime/scheduler/scaling/autoscaler.ts';
import type { Document } from '../../runtime/state/store.ts';
import type { DesiredState } from '../../runtime/workload/desired-state.ts';
import type { RevisionDocument, WorkloadDocument } from '../../runtime/workload/documents.ts';
import { previewHost, routesOf } from '../../runtime/workload/routes.ts';
import type { ProcessView, RevisionView, WorkloadView } from './schemas.ts';
import { shadowingWarnings } from './shadowing-warnings.ts';

export interface ViewSources {
  readonly desired: DesiredState;
  readonly reconciler: Reconciler;
  readonly autoscaler: Pick<Autoscaler, 'findings'>;
  /** Base URL of the gateway. */
  readonly gatewayUrl: () => string;
}

function statsOf(runner: RevisionRunner | undefined): RevisionView['stats'] {
  if (!runner) return null;
  const { requests, failures, latency } = runner.usage;
  return {
    requests,
    failures,
    inFlight: runner.admission.running,
    queued: runner.admission.queued,
    ...runner.ledger.totals(),
    p50Ms: latency.quantile(0.5),
    p99Ms: latency.quantile(0.99),
  };
}

function revisionView(
  document: RevisionDocument,
  runner: RevisionRunner | undefined,
  percent: number,
  { autoscaler }: ViewSources,
): RevisionView {
  const findings = runner ? autoscaler.findings(runner) : [];
  return {
    id: document.id,
    createdAt: document.createdAt,
    label: document.label,
    isolation: document.isolation,
    decision: document.decision,
    artifact: document.artifact,
    limits: document.limits,
    priority: document.priority,
    reuse: document.reuse,
    env: document.env,
    secrets: [...document.secrets],
    allow: [...document.allow],
    keyvalueQuotaBytes: document.keyvalueQuotaBytes,
    ...(document.port !== undefined && { port: document.port }),
    ...(document.writableBytes !== undefined && { writableBytes: document.writableBytes }),
    ...(document.kernel !== undefined && { kernel: document.kernel }),
    ...(document.snapshot !== undefined && { snapshot: document.snapshot }),
    ...(document.volumes && { volumes: document.volumes.map((volume) => ({ ...volume })) }),
    ...(document.readyCheck !== undefined && { readyCheck: document.readyCheck }),
    ...(document.liveCheck && { liveCheck: { ...document.liveCheck } }),
    percent,
    phase: runner?.phase ?? 'cold',
    error: runner?.error?.message ?? null,
    ...(runner?.ends && { ends: { ...runner.ends } }),
    ...(findings.length > 0 && { findings: findings.map((finding) => ({ ...finding })) }),
    previewHost: previewHost(document.workload, document.id),
    stats: statsOf(runner),
  };
}

export function workloadView(document: Document<WorkloadDocument>, sources: ViewSources): WorkloadView {
  const { name, routes, scale, queue, traffic } = document.value;
  const controller = sources.reconciler.controller(name);
  const entries = routesOf(name, routes);
  const percents = new Map(traffic.map((share) => [share.revision, share.percent]));
  const revisions = document.value.revisions.flatMap((id) => {
    const found = readable(() => sources.desired.revision(name, id));
    return found ? [revisionView(found, controller?.runner(id), percents.get(id) ?? 0, sources)] : [];
  });
  return {
    name,
    generation: document.generation,
    spec: {
      routes: entries.map((entry) => entry.route),
      scale: { ...scale },
      queue,
      traffic: traffic.map((share) => ({ ...share })),
    },
    status: controller
      ? { ...controller.status, traffic: [...controller.status.traffic] }
      : { observedGeneration: 0, phase: 'pending', message: '', traffic: [] },
    urls: [`${sources.gatewayUrl()}/${name}`],
    warnings: shadowingWarnings(name, sources.desired.shadowings(name)),
    revisions: revisions.reverse(),
  };
}

/** Null for a damaged record: one of them must not hide all workloads. Its workload's status tells of it. */
function readable<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (asSkerryError(error).code !== 'STATE_CORRUPT') throw error;
    return null;
  }
}

export function processView(
  { name, revision, startedAt, end }: ProcessDocument,
  instance: Instance | null,
): ProcessView {
  const stats = instance?.stats();
  return {
    name,
    image: revision.label,
    digest: revision.artifact.digest,
    arguments: [...(revision.process?.arguments ?? [])],
    isolation: revision.isolation,
    state: end ? 'exited' : instance ? 'running' : 'starting',
    startedAt,
    endedAt: end?.at ?? null,
    exitStatus: end?.exit.code ?? null,
    message: end?.exit.message ?? '',
    cpuMs: stats?.cpuMs ?? null,
    memoryBytes: stats?.memoryBytes ?? null,
  };
}
