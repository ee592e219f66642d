/** What several calls of the protocol have in them. */
import * as z from 'zod';

/** Of an image, or of what runs it. */
export const MOST_LAYERS = 128;

/** Of a container or a machine. */
export const SandboxId = z.string().regex(/^[a-z0-9][a-z0-9-]{0,99}$/);

const Name = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[A-Za-z0-9._-]+$/);

export const WorkloadLabels = z.strictObject({ workload: Name, revision: Name });
