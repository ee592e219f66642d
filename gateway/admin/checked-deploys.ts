/** From requests to deploy to the desired state: everything that can be checked is, before anything changes. */
import type { Driver } from '../../runtime/driver.ts';
import { reconcilerErrors } from '../../runtime/reconciler/errors.ts';
import { checkFits } from '../../runtime/scheduler/allocation/machine.ts';
import type { Change, Deploy } from '../../runtime/workload/desired-state.ts';
import { revisionOf } from '../../runtime/workload/revision-of.ts';
import { overlay } from '../../runtime/workload/settings.ts';
import { gatewayErrors } from '../errors.ts';
import { describeChange } from './describe-change.ts';
import type { Plan, PlanRequest } from './schemas.ts';
import type { AdminServices } from './services.ts';
import { shadowingWarnings } from './shadowing-warnings.ts';

type Wanted = PlanRequest['workloads'][number] & { readonly expectGeneration?: number | undefined };

/** Checks all of these, the cheap checks first, and deploys them unless `commit` is false. */
export async function checkedDeploys(
  services: AdminServices,
  wanted: readonly Wanted[],
  commit: boolean,
): Promise<Plan['changes']> {
  const { desired, drivers, machine } = services;
  const deploys: Deploy[] = [];
  for (const each of wanted) {
    if (deploys.some((other) => other.name === each.name)) {
      throw gatewayErrors.INVALID_REQUEST(`the workload ${each.name} stands there twice`);
    }
    deploys.push(await deployOf(services, each));
  }
  const planned = desired.plan(deploys);
  // Read now: the change may drop them.
  const before = new Map(planned.map((change) => [change.name, mainRevision(services, change)]));
  for (const { revision } of deploys.flatMap((deploy) => deploy.revisions)) {
    const driver = drivers.get(revision.isolation) as Driver | undefined;
    if (!driver) throw reconcilerErrors.DRIVER_MISSING(revision.workload, revision.isolation);
    const min = driver.replicated ? (deploys.find(({ name }) => name === revision.workload)?.settings.min ?? 0) : 0;
    checkFits(machine, revision.workload, { ...revision.limits, min });
    await driver.check(revision, revision.label, () => {});
  }
  const changes = commit ? await desired.deploy(deploys) : planned;
  return changes.map((change, i) => {
    const after = (deploys[i] as Deploy).revisions.map(({ revision }) => revision);
    const { name, action, generation, shadowings } = change;
    const details = describeChange(change, before.get(name) ?? null, after);
    return { name, action, details, warnings: shadowingWarnings(name, shadowings), generation };
  });
}

/** The one with most of the traffic before the change. */
function mainRevision({ desired }: AdminServices, { name, before }: Change) {
  const [main] = [...(before?.traffic ?? [])].sort((a, b) => b.percent - a.percent);
  return main ? desired.revision(name, main.revision) : null;
}

/** Throws ARTIFACT_MISSING, ISOLATION_UNFIT, and what the policies refuse it with. */
async function deployOf({ blobs, drivers, mediaType, trust }: AdminServices, wanted: Wanted): Promise<Deploy> {
  const { name, settings, expectGeneration } = wanted;
  const offered = new Set(drivers.keys());
  const revisions: Deploy['revisions'][number][] = [];
  for (const { artifact: given, label, percent, settings: own } of wanted.revisions) {
    const { digest } = given;
    if (!(await blobs.has(digest))) throw gatewayErrors.ARTIFACT_MISSING(name, digest);
    await trust.admit(digest, label);
    const artifact = { digest, mediaType: given.mediaType ?? mediaType(digest) };
    revisions.push({ revision: revisionOf(name, artifact, label, overlay(settings, own), offered), percent });
  }
  return { name, revisions, settings, expectGeneration };
}
