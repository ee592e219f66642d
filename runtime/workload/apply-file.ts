/** The file of `skerry apply`, which `skerry export` writes: the wanted state of workloads, as YAML, TOML or JSON. */
import { z } from 'zod';
import { BuildSettings } from './build-settings.ts';
import { LIMITS, RevisionSettings, WorkloadName, WorkloadSettings, wholeBetween } from './settings.ts';

const Image = z
  .string({ error: (issue) => (issue.input === undefined ? 'is missing' : undefined) })
  .regex(/^sha256:[0-9a-f]{64}$/, { error: 'must be sha256: and 64 hex digits' });
const IMAGE =
  "A component or an image that is already in the node's own store, by digest (as `skerry export` writes it).";

/** One of the revisions that share a workload's traffic. */
export const ApplyRevision = z.strictObject({
  traffic: wholeBetween(1, 100).describe('Percent of the requests; the shares of a workload add up to 100.'),
  image: Image.describe(IMAGE),
  ...RevisionSettings.shape,
});
export type ApplyRevision = z.infer<typeof ApplyRevision>;

function trafficOf(revisions: readonly { readonly traffic: number }[]): number {
  return revisions.reduce((sum, { traffic }) => sum + traffic, 0);
}

const Revisions = z
  .array(ApplyRevision)
  .min(1)
  .max(LIMITS.revisions, { error: `must have at most ${LIMITS.revisions} revisions` })
  .refine((revisions) => trafficOf(revisions) === 100, {
    error: ({ input }) => `must have traffic that adds up to 100, not ${trafficOf(input as ApplyRevision[])}`,
  })
  .optional()
  .describe(
    'In place of source or image: the revisions that share the traffic, oldest first. What the workload says of a ' +
      'revision goes for each of them that does not say it itself.',
  );

/** One workload: what to run, by one of `source`, `image` and `revisions`, and its settings. */
export const ApplyWorkload = z.strictObject({
  name: WorkloadName.describe('Of the workload, a DNS label.'),
  source: z.string().optional().describe('A path as `skerry deploy` takes it, relative to this file.'),
  image: Image.optional().describe(IMAGE),
  build: BuildSettings.optional().describe(
    'How a folder is built: `builder`, `base` and `network`, as the flags of `skerry deploy` (docs/builds.md).',
  ),
  ...WorkloadSettings.shape,
  revisions: Revisions,
});
export type ApplyWorkload = z.infer<typeof ApplyWorkload>;

export const ApplyFile = z.strictObject({ workloads: z.array(ApplyWorkload) });
export type ApplyFile = z.infer<typeof ApplyFile>;
