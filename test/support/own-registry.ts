/** The registry alone, over real stores and a real listener; and a client of it that pushes and pulls by hand. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Bearers,
  type Grant,
  Guard,
  listenRegistry,
  makeRegistryApp,
  type RegistryListener,
  Repositories,
  Tokens,
  Uploads,
} from '../../images/registry/index.ts';
import type { UploadLimits } from '../../images/registry/uploads.ts';
import { type ContentStore, digestOf, openContentStore } from '../../images/store/index.ts';
import { openStateStore, type StateStore } from '../../runtime/state/index.ts';
import { types } from './image-builder.ts';
import { type Answer, type Ask, ask } from './test-node.ts';

export interface OwnRegistryOptions {
  /** Of one that has ended; a new one when left out. */
  readonly folder?: string;
  readonly key?: Uint8Array;
  readonly anonymous?: readonly Grant[];
  readonly limits?: UploadLimits;
  readonly stallMs?: number;
}

export class OwnRegistry {
  readonly folder: string;
  readonly url: string;
  readonly blobs: ContentStore;
  readonly repositories: Repositories;
  readonly tokens: Tokens;
  readonly uploads: Uploads;
  /** What the node would have in its log. */
  readonly failures: unknown[] = [];
  readonly #state: StateStore;
  readonly #listener: RegistryListener;
  readonly #options: OwnRegistryOptions;

  private constructor(
    parts: { folder: string; blobs: ContentStore; state: StateStore; uploads: Uploads; options: OwnRegistryOptions },
    made: { repositories: Repositories; tokens: Tokens; listener: RegistryListener; failures: unknown[] },
  ) {
    this.folder = parts.folder;
    this.blobs = parts.blobs;
    this.uploads = parts.uploads;
    this.#state = parts.state;
    this.#options = parts.options;
    this.repositories = made.repositories;
    this.tokens = made.tokens;
    this.failures = made.failures;
    this.#listener = made.listener;
    this.url = made.listener.url;
  }

  static async start(given: OwnRegistryOptions = {}): Promise<OwnRegistry> {
    const folder = given.folder ?? mkdtempSync(join(tmpdir(), 'skerry-registry-'));
    const options = { key: randomBytes(32), ...given, folder };
    const state = await openStateStore(join(folder, 'state'), { onCorrupt: () => {} });
    const blobs = await openContentStore(join(folder, 'content'));
    const uploads = await Uploads.open(blobs, options.limits);
    const repositories = new Repositories(state, blobs);
    const tokens = new Tokens(state);
    const bearers = new Bearers(options.key, tokens, options.anonymous ?? []);
    let url = '';
    const guard = new Guard(bearers, () => url);
    const failures: unknown[] = [];
    const log = (_message: string, error: unknown) => void failures.push(error);
    const app = makeRegistryApp({ repositories, blobs, uploads, guard, pullThrough: null, tokens, bearers, log });
    const at = { host: '127.0.0.1', port: 0 };
    const listener = await listenRegistry(app, options.stallMs ? { at, stallMs: options.stallMs } : { at });
    url = listener.url;
    return new OwnRegistry({ folder, blobs, state, uploads, options }, { repositories, tokens, listener, failures });
  }

  /** Another process over the same folder. */
  async restart(more: OwnRegistryOptions = {}): Promise<OwnRegistry> {
    await this.stop();
    return OwnRegistry.start({ ...this.#options, ...more });
  }

  async stop(): Promise<void> {
    await this.#listener.close(0);
    await this.uploads.close();
    await this.#state.close();
  }

  async end(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A client with a token of its own for these scopes. */
  async client(...scopes: readonly string[]): Promise<Client> {
    const name = `t${randomBytes(4).toString('hex')}`;
    const token = await this.tokens.create(name, scopes.length > 0 ? scopes : ['repository:*:pull,push,delete']);
    return new Client(this.url, name, token);
  }
}

export const basic = (name: string, token: string) => `Basic ${Buffer.from(`${name}:${token}`).toString('base64')}`;

/** Speaks the protocol as clients do: it asks, is challenged, gets a bearer token and asks again. */
export class Client {
  readonly name: string;
  readonly token: string;
  readonly #url: string;

  constructor(url: string, name: string, token: string) {
    this.#url = url;
    this.name = name;
    this.token = token;
  }

  /** For these scopes, as the token endpoint gives it. */
  async bearer(...scopes: readonly string[]): Promise<string> {
    const query = new URLSearchParams([
      ['service', 'skerry'],
      ...scopes.map((scope): [string, string] => ['scope', scope]),
    ]);
    const headers = { authorization: basic(this.name, this.token) };
    const answer = await ask(this.#url, { path: `/token?${query}`, headers });
    if (answer.status !== 200) throw new Error(`the token endpoint answered ${answer.status}: ${answer.body}`);
    return answer.json().token;
  }

  /** The head with a bearer token for all that is done in these repositories. */
  async head(...repositories: readonly string[]): Promise<{ authorization: string }> {
    const scopes = repositories.map((repository) => `repository:${repository}:pull,push,delete`);
    return { authorization: `Bearer ${await this.bearer(...scopes)}` };
  }

  /** `path` as it is; the repository is what stands before the kind of thing in it. */
  async ask(request: Ask, ...more: readonly string[]): Promise<Answer> {
    const repository = repositoryOf(request.path);
    return ask(this.#url, { ...request, headers: { ...(await this.head(repository, ...more)), ...request.headers } });
  }

  async begin(repository: string, query = ''): Promise<string> {
    const answer = await this.ask({ method: 'POST', path: `/v2/${repository}/blobs/uploads/${query}` });
    if (answer.status !== 202) throw new Error(`an upload was answered ${answer.status}: ${answer.body}`);
    return answer.headers.location as string;
  }

  /** In one request. Returns the digest. */
  async pushBlob(repository: string, bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes);
    const path = `/v2/${repository}/blobs/uploads/?digest=${digest}`;
    const answer = await this.ask({ method: 'POST', path, body: bytes });
    if (answer.status !== 201) throw new Error(`a blob was answered ${answer.status}: ${answer.body}`);
    return digest;
  }

  async pushManifest(repository: string, reference: string, manifest: object | string): Promise<Answer> {
    const body = typeof manifest === 'string' ? manifest : JSON.stringify(manifest);
    const headers = {
      'content-type': (JSON.parse(body) as { mediaType?: string } | null)?.mediaType ?? types.manifest,
    };
    return this.ask({ method: 'PUT', path: `/v2/${repository}/manifests/${reference}`, body, headers });
  }

  /** An image of one layer with this content. Returns its manifest and digests. */
  async pushImage(repository: string, tag: string, content: string) {
    const layer = Buffer.from(content);
    const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', content }));
    const manifest = {
      schemaVersion: 2,
      mediaType: types.manifest,
      config: { mediaType: types.config, digest: await this.pushBlob(repository, config), size: config.length },
      layers: [{ mediaType: types.layer, digest: await this.pushBlob(repository, layer), size: layer.length }],
    };
    const answer = await this.pushManifest(repository, tag, manifest);
    if (answer.status !== 201) throw new Error(`a manifest was answered ${answer.status}: ${answer.body}`);
    return { manifest, digest: answer.headers['docker-content-digest'] as string, layer: manifest.layers[0]!.digest };
  }

  /** A request whose body comes when the test sends it. */
  async open(method: string, path: string, headers: Record<string, string | number>) {
    const repository = repositoryOf(path);
    const { hostname, port } = new URL(this.#url);
    const sent = request({
      host: hostname,
      port,
      method,
      path,
      headers: { ...(await this.head(repository)), ...headers },
      agent: false,
    });
    const answered = new Promise<number>((resolve, reject) => {
      sent.on('response', (answer) => {
        answer.resume();
        resolve(answer.statusCode!);
      });
      sent.on('error', reject);
    });
    answered.catch(() => {});
    sent.flushHeaders();
    return { sent, answered };
  }
}

function repositoryOf(path: string): string {
  return /^\/v2\/(.+?)\/(?:blobs|manifests|tags|referrers)\b/.exec(path)?.[1] ?? 'none';
}

/** The code of an answer that is an error of the specification. */
export function codeOf(answer: Answer): string {
  return answer.json().errors[0].code;
}
