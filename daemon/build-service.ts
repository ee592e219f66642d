/** Builds components from uploaded sources, once for each source and toolchain. */
import { readFile } from 'node:fs/promises';
import type { BuildEvent } from '../gateway/admin/schemas.ts';
import { buildJavaScript, javaScriptBuildKey } from '../images/build/javascript/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import type { Document, StateStore } from '../runtime/state/index.ts';

type Done = Extract<BuildEvent, { event: 'done' }>;

/** `build/KEY`: which component a source gave. */
const BUILDS = 'build/';
/** Remembered builds; beyond it those whose component is gone are forgotten. */
const MAX_REMEMBERED = 1000;

export class BuildService {
  readonly #state: StateStore;
  readonly #blobs: ContentStore;
  readonly #cacheFolder: string;
  readonly #stop = new AbortController();

  constructor(state: StateStore, blobs: ContentStore, cacheFolder: string) {
    this.#state = state;
    this.#blobs = blobs;
    this.#cacheFolder = cacheFolder;
  }

  /** `source` is the digest of a stored bundle. Throws the errors of `images/build/errors.ts`. */
  async build(source: string, label: string, progress: (step: string) => void, signal: AbortSignal): Promise<Done> {
    const started = performance.now();
    const text = await readFile((await this.#blobs.open(source)).path, 'utf8');
    const key = BUILDS + javaScriptBuildKey(text);
    const known = this.#state.get<{ digest: string }>(key);
    if (known && (await this.#blobs.has(known.value.digest))) {
      const { digest, size } = await this.#blobs.open(known.value.digest);
      return done(digest, size, true, started);
    }
    progress(`building a component from ${label}`);
    const component = await buildJavaScript(text, {
      cacheFolder: this.#cacheFolder,
      signal: AbortSignal.any([signal, this.#stop.signal]),
      label,
      progress,
    });
    const { digest, size } = await this.#blobs.putBytes(component);
    await this.#forgetOld();
    await this.#state.commit([{ key, expect: known?.generation ?? 0, value: { digest } }]);
    return done(digest, size, false, started);
  }

  /** Ends a build that runs. */
  close(): void {
    this.#stop.abort();
  }

  async #forgetOld(): Promise<void> {
    const remembered = this.#state.list<{ digest: string }>(BUILDS);
    if (remembered.length <= MAX_REMEMBERED) return;
    const gone: Document[] = [];
    for (const build of remembered) if (!(await this.#blobs.has(build.value.digest))) gone.push(build);
    await this.#state.commit(gone.map(({ key, generation }) => ({ key, expect: generation, delete: true })));
  }
}

function done(digest: string, size: number, cached: boolean, started: number): Done {
  const artifact = { digest, mediaType: 'application/wasm' };
  return { event: 'done', artifact, size, cached, ms: Math.round(performance.now() - started) };
}
