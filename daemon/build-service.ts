/** Builds components from uploaded sources, once for each source and toolchain, and keeps the source maps of them. */
import { readFile } from 'node:fs/promises';
import type { BuildEvent, BuildRequest } from '../gateway/admin/schemas.ts';
import { buildJavaScript, javaScriptBuildKey } from '../images/build/javascript/index.ts';
import type { ContentStore, VerifiedBlob } from '../images/store/index.ts';
import type { Document, StateStore } from '../runtime/state/index.ts';

type Done = Extract<BuildEvent, { event: 'done' }>;

/** What a source gave. */
interface Build {
  /** Of the component. */
  readonly digest: string;
  /** Of the source map that came with the source last: its files may change where the bundle of them does not. */
  readonly sourceMap?: string | undefined;
}

/** `build/KEY`, by the source and the toolchain. */
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

  /** `request` names stored blobs. Throws the errors of `images/build/errors.ts`. */
  async build(request: BuildRequest, progress: (step: string) => void, signal: AbortSignal): Promise<Done> {
    const started = performance.now();
    const { label, sourceMap } = request;
    const text = await readFile((await this.#blobs.open(request.source)).path, 'utf8');
    const key = BUILDS + javaScriptBuildKey(text);
    const known = this.#state.get<Build>(key);
    if (known && (await this.#blobs.has(known.value.digest))) {
      const { digest, size } = await this.#blobs.open(known.value.digest);
      if (known.value.sourceMap !== sourceMap) await this.#remember(key, known, { digest, sourceMap });
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
    await this.#remember(key, known, { digest, sourceMap });
    return done(digest, size, false, started);
  }

  /** The source map that a component was built with, by its digest; null when there is none. */
  async sourceMap(component: string): Promise<VerifiedBlob | null> {
    const digest = this.#builds().find((build) => build.digest === component)?.sourceMap;
    return digest !== undefined && (await this.#blobs.has(digest)) ? this.#blobs.open(digest) : null;
  }

  /** Digests of the source maps of these components. */
  sourceMaps(components: ReadonlySet<string>): string[] {
    return this.#builds().flatMap(({ digest, sourceMap }) => (components.has(digest) ? (sourceMap ?? []) : []));
  }

  /** Ends a build that runs. */
  close(): void {
    this.#stop.abort();
  }

  /** A damaged record is one build more that has to be made again. */
  #builds(): Build[] {
    return this.#state.list<Build>(BUILDS, () => {}).map(({ value }) => value);
  }

  async #remember(key: string, known: Document<Build> | null, value: Build): Promise<void> {
    await this.#state.commit([{ key, expect: known?.generation ?? 0, value }]);
  }

  async #forgetOld(): Promise<void> {
    const remembered = this.#state.list<Build>(BUILDS);
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
