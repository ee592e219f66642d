/** How a folder is built: what `skerry deploy` takes as flags, `skerry.toml` and the file of `skerry apply` as `build`. */
import { z } from 'zod';

export const BUILDER_NAMES = [
  'auto',
  'javascript',
  'python',
  'dockerfile',
  'rust',
  'rust-image',
  'go',
  'java',
  'node',
  'python-image',
  'static',
] as const;

export type BuilderName = Exclude<(typeof BUILDER_NAMES)[number], 'auto'>;

/** What a folder may say of itself. */
export const ProjectBuild = z.strictObject({
  builder: z
    .enum(BUILDER_NAMES, { error: `must be one of ${BUILDER_NAMES.join(', ')}` })
    .optional()
    .describe('How a folder is built. Default: by what is in it.'),
  base: z
    .string()
    .min(1)
    .max(1024)
    .optional()
    .describe('The image that the builders node, python-image and java begin from.'),
});

/** It is for who deploys a folder to give it the network, and not for the folder. */
export const BuildSettings = z.strictObject({
  ...ProjectBuild.shape,
  network: z
    .boolean()
    .optional()
    .describe("Let the steps of an image's build use the network of the node, as `npm ci` needs."),
});
export type BuildSettings = z.infer<typeof BuildSettings>;
