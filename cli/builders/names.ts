/** For `--builder`, without loading the builders. */
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
