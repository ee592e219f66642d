import type { HttpBindings } from '@hono/node-server';
import type { ContentStore } from '../store/index.ts';
import type { Guard } from './auth/guard.ts';
import type { Repositories } from './repositories.ts';
import type { Uploads } from './uploads.ts';
import type { PullThrough } from './upstream/pull-through.ts';

/** Handlers have Node's own request and answer: bodies are streamed without a web stream between. */
export type RegistryEnv = { Bindings: HttpBindings };

/** What the endpoints of the registry stand on. */
export interface RegistryParts {
  readonly repositories: Repositories;
  readonly blobs: ContentStore;
  readonly uploads: Uploads;
  readonly guard: Guard;
  /** Throws what a manifest is refused these tags with; nothing is refused when left out. */
  readonly admitTags?: (
    repository: string,
    digest: string,
    bytes: Uint8Array,
    tags: readonly string[],
  ) => Promise<void>;
  /** Null when there are no upstreams. */
  readonly pullThrough: PullThrough | null;
}
