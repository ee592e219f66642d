/**
 * A repository in another registry, by the OCI distribution specification 1.1 and docker's token protocol:
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md, https://distribution.github.io/distribution/spec/auth/token/
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { SkerryError } from '../../errors/skerry-error.ts';
import {
  acceptsDelta,
  BASE_HEADER,
  BASES_HEADER,
  DELTA_CODING,
  isDelta,
  listBases,
  MAX_DELTA_BYTES,
  SIZE_HEADER,
} from '../delta/index.ts';
import { type Descriptor, MAX_DOCUMENT_BYTES, parseDocument } from '../oci/documents.ts';
import { ociErrors } from '../oci/errors.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import { digestOf, splitDigest } from '../store/index.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { basicAuthorization, type Credentials } from './credentials.ts';
import { remoteErrors } from './errors.ts';
import type { Answer, Sent, Transport } from './transport.ts';

export interface RepositoryOptions {
  readonly transport: Transport;
  /** As the registry names it. */
  readonly repository: string;
  /** As the user names it, for errors. */
  readonly image: string;
  readonly access: 'pull' | 'push';
  readonly credentials: Credentials | null;
}

export interface RemoteManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

export interface RemoteHead {
  /** Null where the registry does not say. */
  readonly digest: string | null;
}

/** A blob that is sent. */
interface PutBlob {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
  /** How it can be told by another blob that the registry may have. */
  readonly delta?: {
    readonly bases: readonly string[];
    /** Null where the whole blob is to be sent. */
    readonly make: (base: string) => Promise<Buffer | null>;
  };
}

interface Ask extends Omit<Sent, 'body'> {
  /** Made anew for each time that it is sent. */
  readonly body?: () => Sent['body'];
  /** Answers that are no failure. */
  readonly good: readonly number[];
}

const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');
/** Of registries that know no referrers; the specification says 404, and not all keep to it. */
const NO_REFERRERS = [400, 401, 403, 404, 405, 406];
const MAX_REFERRER_PAGES = 10;
const REDIRECTS = [301, 302, 303, 307, 308];
const MAX_REDIRECTS = 5;
/** Of an error, or of a bearer token's document, in bytes. */
const MAX_SMALL_BYTES = 64 * 1024;
/** Pauses before a transfer that broke off goes on, in milliseconds: some seconds of a poor network. What comes meanwhile begins them anew. */
const PAUSES_MS = [250, 500, 1000, 2000, 4000, 8000];

export class RemoteRepository {
  readonly #options: RepositoryOptions;
  #authorization: string | null = null;
  /** What is being asked for at a server of tokens: all requests that were challenged wait for the same. */
  #authorizing: Promise<string> | null = null;

  constructor(options: RepositoryOptions) {
    this.#options = options;
  }

  get #image(): string {
    return this.#options.image;
  }

  /** What a tag names now. Throws IMAGE_NOT_FOUND and the errors of `errors.ts`. */
  async head(reference: string, signal: AbortSignal): Promise<RemoteHead> {
    const answer = await this.#ask(`manifests/${reference}`, {
      ...{ method: 'HEAD', headers: { accept: MANIFEST_TYPES }, good: [200], signal },
    });
    await answer.body.dump();
    return { digest: headerOf(answer, 'docker-content-digest') };
  }

  /** The bytes are those of the digest, where the reference is one or the registry says one. Throws IMAGE_BLOB_MISMATCH, IMAGE_MALFORMED. */
  async manifest(reference: string, signal: AbortSignal): Promise<RemoteManifest> {
    const headers = { accept: MANIFEST_TYPES };
    const answer = await this.#ask(`manifests/${reference}`, { method: 'GET', headers, good: [200], signal });
    const bytes = await this.#document(answer, signal);
    const said = reference.includes(':') ? reference : headerOf(answer, 'docker-content-digest');
    if (said !== null && digestOf(bytes, splitDigest(said).algorithm) !== said)
      throw ociErrors.IMAGE_BLOB_MISMATCH(this.#image, said, 'has other bytes than its digest says');
    return { bytes, mediaType: (headerOf(answer, 'content-type') ?? '').split(';')[0]!.trim().toLowerCase() };
  }

  /**
   * What is said to be about a manifest, by the referrers API or by the tag that stands in for it; from the first pages. Throws as
   * `manifest` does, and IMAGE_MALFORMED.
   */
  async referrers(digest: string, signal: AbortSignal): Promise<readonly Descriptor[]> {
    const found: Descriptor[] = [];
    let url: URL | null = await this.#url(`referrers/${digest}`, signal);
    for (let page = 0; url !== null && page < MAX_REFERRER_PAGES; page++) {
      const ask = { method: 'GET', headers: { accept: OCI_INDEX }, good: [200, ...NO_REFERRERS], signal };
      const answer: Answer = await this.#ask(url, ask);
      if (answer.statusCode !== 200) {
        await answer.body.dump();
        return this.#referrersByTag(digest, signal);
      }
      found.push(...this.#descriptors(await this.#document(answer, signal)));
      const next = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headerOf(answer, 'link') ?? '')?.[1];
      const to: URL | null = next !== undefined && URL.canParse(next, url.href) ? new URL(next, url) : null;
      url = to?.host === url.host ? to : null;
    }
    return found;
  }

  /** https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#referrers-tag-schema */
  async #referrersByTag(digest: string, signal: AbortSignal): Promise<readonly Descriptor[]> {
    try {
      return this.#descriptors((await this.manifest(digest.replace(':', '-'), signal)).bytes);
    } catch (error) {
      if (error instanceof SkerryError && error.code === 'IMAGE_NOT_FOUND') return [];
      throw error;
    }
  }

  #descriptors(bytes: Buffer): readonly Descriptor[] {
    const document = parseDocument(bytes, this.#image, 'its list of referrers', OCI_INDEX);
    return document.kind === 'index' ? document.manifests : [];
  }

  /** In bytes; null when it is not there. */
  async blobSize(digest: string, signal: AbortSignal): Promise<number | null> {
    const answer = await this.#ask(`blobs/${digest}`, { method: 'HEAD', good: [200, 404], signal });
    await answer.body.dump();
    const length = Number(headerOf(answer, 'content-length') ?? Number.NaN);
    if (answer.statusCode === 404) return null;
    if (Number.isSafeInteger(length) && length >= 0) return length;
    throw remoteErrors.REGISTRY_FAILED(this.#image, 'it does not say how long a blob is');
  }

  /**
   * The blob as a delta from one of `bases`, where the registry can do that; otherwise its bytes as `blob` gives them. Throws
   * what `blob` throws.
   */
  async blobOrDelta(
    blob: { digest: string; size: number },
    bases: readonly string[],
    signal: AbortSignal,
  ): Promise<Buffer | AsyncIterable<Uint8Array>> {
    const headers = { 'accept-encoding': `${DELTA_CODING}, identity`, [BASES_HEADER]: listBases(bases) };
    const answer = await this.#ask(`blobs/${blob.digest}`, { method: 'GET', headers, good: [200], signal });
    if (!isDelta(headerOf(answer, 'content-encoding'))) return this.blob(blob, signal, answer);
    return this.#read(answer, MAX_DELTA_BYTES, signal);
  }

  /**
   * A blob of this size, which goes on after a broken connection from where it stood. Its digest is for the reader to compare;
   * more bytes than `size` are never given. Throws IMAGE_BLOB_MISMATCH, IMAGE_NOT_FOUND, and the errors of `errors.ts`.
   */
  async *blob(
    { digest, size }: { digest: string; size: number },
    signal: AbortSignal,
    begun?: Answer,
  ): AsyncGenerator<Uint8Array> {
    let position = 0;
    let pauses = 0;
    let first = begun;
    while (position < size || size === 0) {
      try {
        const answer = first ?? (await this.#askFrom(digest, position, signal));
        first = undefined;
        for await (const piece of this.#blobFrom(answer, position, signal)) {
          if (position + piece.length > size)
            throw ociErrors.IMAGE_BLOB_MISMATCH(
              this.#image,
              digest,
              `has more bytes than the ${size} it was said to have`,
            );
          position += piece.length;
          pauses = 0;
          yield piece;
        }
        if (position >= size) return;
        throw remoteErrors.REGISTRY_UNREACHABLE(
          this.#options.transport.registry,
          'it broke off in the midst of a blob',
        );
      } catch (error) {
        signal.throwIfAborted();
        const pause = PAUSES_MS[pauses++];
        if (position === 0 || !isBroken(error) || pause === undefined) throw error;
        await sleep(pause, undefined, { signal });
      }
    }
  }

  #askFrom(digest: string, position: number, signal: AbortSignal): Promise<Answer> {
    const headers: Record<string, string> = position > 0 ? { range: `bytes=${position}-` } : {};
    return this.#ask(`blobs/${digest}`, { method: 'GET', headers, good: [200, 206], signal });
  }

  async *#blobFrom(answer: Answer, position: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    let skip = position;
    if (answer.statusCode === 206) {
      const first = /^bytes (\d+)-/.exec(headerOf(answer, 'content-range') ?? '')?.[1];
      if (Number(first) !== position)
        throw remoteErrors.REGISTRY_FAILED(this.#image, 'it sends another part of a blob');
      skip = 0;
    }
    try {
      for await (const piece of answer.body as AsyncIterable<Uint8Array>) {
        if (skip >= piece.length) skip -= piece.length;
        else {
          yield piece.subarray(skip);
          skip = 0;
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof SkerryError ? error : this.#options.transport.explain(error);
    } finally {
      answer.body.destroy();
    }
  }

  /**
   * Sends a blob, unless it is there. `read` gives its bytes from a position on; what the registry has when a connection
   * breaks is not sent again. `sent` is told how much of it is there, and of how much. False: it was there.
   */
  async putBlob(
    { digest, size, delta }: PutBlob,
    read: (from: number) => Sent['body'],
    signal: AbortSignal,
    sent: (bytes: number, total: number) => void,
  ): Promise<boolean> {
    const there = await this.#ask(`blobs/${digest}`, { method: 'HEAD', good: [200, 404], signal });
    await there.body.dump();
    if (there.statusCode === 200) return false;
    const begun = await this.#beginUpload(signal, delta?.bases);
    let { location } = begun;
    if (delta && begun.base !== null) {
      const bytes = await delta.make(begun.base);
      if (bytes && (await this.#sendDelta(location, { digest, size }, bytes, signal))) {
        sent(bytes.length, bytes.length);
        return true;
      }
      // What a registry does with an upload that went wrong is its own affair.
      if (bytes) ({ location } = await this.#beginUpload(signal));
    }
    let position = 0;
    for (let pauses = 0; ; ) {
      try {
        if (position < size) location = await this.#sendRest(location, position, size, read, signal);
        const headers = { 'content-length': '0', 'content-type': 'application/octet-stream' };
        const ask = { method: 'PUT', headers, good: [201, 204], signal };
        const answer = await this.#ask(endOf(location, digest), ask);
        await answer.body.dump();
        sent(size, size);
        return true;
      } catch (error) {
        signal.throwIfAborted();
        const pause = PAUSES_MS[pauses++];
        if (!isBroken(error) || pause === undefined) throw error;
        await sleep(pause, undefined, { signal });
        const before = position;
        ({ location, position } = await this.#uploaded(location, size, signal).catch((again) => {
          if (isBroken(again)) return { location, position };
          throw again;
        }));
        if (position > before) pauses = 0;
        sent(position, size);
      }
    }
  }

  /** Where the blob goes; and which of the bases the registry has, where it takes deltas. */
  async #beginUpload(
    signal: AbortSignal,
    bases: readonly string[] = [],
  ): Promise<{ location: URL; base: string | null }> {
    const headers = { 'content-length': '0', ...(bases.length > 0 ? { [BASES_HEADER]: listBases(bases) } : {}) };
    const begun = await this.#ask('blobs/uploads/', { method: 'POST', headers, good: [202], signal });
    const location = this.#location(begun, await this.#url('blobs/uploads/', signal));
    const base = acceptsDelta(headerOf(begun, 'accept-encoding')) ? headerOf(begun, BASE_HEADER) : null;
    return { location, base: base !== null && bases.includes(base) ? base : null };
  }

  /** False when the registry does not make the blob of it, for whatever reason. */
  async #sendDelta(
    location: URL,
    { digest, size }: { digest: string; size: number },
    bytes: Buffer,
    signal: AbortSignal,
  ): Promise<boolean> {
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': String(bytes.length),
      'content-encoding': DELTA_CODING,
      [SIZE_HEADER]: String(size),
    };
    try {
      const ask = { method: 'PUT', headers, body: () => bytes, good: [201], signal };
      await (await this.#ask(endOf(location, digest), ask)).body.dump();
      return true;
    } catch {
      signal.throwIfAborted();
      return false;
    }
  }

  async #sendRest(
    location: URL,
    position: number,
    size: number,
    read: (from: number) => Sent['body'],
    signal: AbortSignal,
  ): Promise<URL> {
    const headers: Record<string, string> = {
      'content-type': 'application/octet-stream',
      'content-length': String(size - position),
      ...(position > 0 ? { 'content-range': `${position}-${size - 1}` } : {}),
    };
    const body = () => read(position);
    const answer = await this.#ask(location, { method: 'PATCH', headers, body, good: [202, 204], signal });
    return this.#location(answer, location);
  }

  /** How much of an upload the registry has, and where the rest goes; a new one where it has forgotten it. */
  async #uploaded(location: URL, size: number, signal: AbortSignal): Promise<{ location: URL; position: number }> {
    const answer = await this.#ask(location, { method: 'GET', good: [200, 204, 400, 404, 416], signal });
    await answer.body.dump();
    const last = Number(/^(?:bytes=)?0-(\d+)$/.exec(headerOf(answer, 'range') ?? '')?.[1] ?? Number.NaN);
    // Debian's docker-registry forgets an upload that broke off in the midst of a request.
    const anew = async () => ({ location: (await this.#beginUpload(signal)).location, position: 0 });
    if (answer.statusCode >= 400 || !(last < size)) return anew();
    // Of an upload without a byte some say 0-0, as of one with a single byte.
    return last === 0 ? anew() : { location: this.#location(answer, location), position: last + 1 };
  }

  /** Stores a manifest. Throws PUSH_CHANGED when the registry says that it is another one. */
  async putManifest(reference: string, { bytes, mediaType }: RemoteManifest, signal: AbortSignal): Promise<void> {
    const headers = { 'content-type': mediaType, 'content-length': String(bytes.length) };
    const ask = { method: 'PUT', headers, body: () => bytes, good: [201, 200], signal };
    const answer = await this.#ask(`manifests/${reference}`, ask);
    await answer.body.dump();
    const found = headerOf(answer, 'docker-content-digest');
    const digest = digestOf(bytes);
    if (found?.startsWith('sha256:') && found !== digest) throw remoteErrors.PUSH_CHANGED(this.#image, digest, found);
  }

  async #url(path: string, signal: AbortSignal): Promise<URL> {
    return new URL(`/v2/${this.#options.repository}/${path}`, await this.#options.transport.base(signal));
  }

  /** Blobs are sent to the registry itself. */
  #location(answer: Answer, from: URL): URL {
    const text = headerOf(answer, 'location') ?? '';
    const to = URL.canParse(text, from.href) ? new URL(text, from) : null;
    if (to?.host !== from.host)
      throw remoteErrors.REGISTRY_FAILED(this.#image, 'it takes uploads at another place only');
    // Behind a proxy that ends TLS some registries believe that they are without.
    to.protocol = from.protocol;
    return to;
  }

  async #ask(where: string | URL, ask: Ask): Promise<Answer> {
    const { signal, good } = ask;
    const url = typeof where === 'string' ? await this.#url(where, signal) : where;
    let answer = await this.#once(url, ask);
    if (answer.statusCode === 401) {
      const challenge = headerOf(answer, 'www-authenticate') ?? '';
      await answer.body.dump();
      await this.#authorize(challenge, signal);
      answer = await this.#once(url, ask);
    }
    answer = await this.#follow(url, answer, ask);
    if (good.includes(answer.statusCode)) return answer;
    throw await this.#failure(answer);
  }

  #once(url: URL, { body, ...ask }: Ask): Promise<Answer> {
    const headers = { ...ask.headers, ...(this.#authorization === null ? {} : { authorization: this.#authorization }) };
    return this.#options.transport.send(`${url.pathname}${url.search}`, { ...ask, headers, body: body?.() ?? null });
  }

  /** Credentials stay with the registry. */
  async #follow(from: URL, first: Answer, { method, headers = {}, signal }: Ask): Promise<Answer> {
    let answer = first;
    let url = from;
    for (let count = 0; REDIRECTS.includes(answer.statusCode) && (method === 'GET' || method === 'HEAD'); count++) {
      const text = headerOf(answer, 'location') ?? '';
      await answer.body.dump();
      const { transport } = this.#options;
      if (count >= MAX_REDIRECTS || !URL.canParse(text, url.href))
        throw remoteErrors.REGISTRY_REDIRECT(transport.registry, text, 'which leads nowhere');
      url = new URL(text, url);
      const same = url.origin === from.origin && this.#authorization !== null;
      const shown = same ? { ...headers, authorization: this.#authorization as string } : headers;
      answer = await transport.sendTo(url, { method, headers: shown, signal });
    }
    return answer;
  }

  async #authorize(header: string, signal: AbortSignal): Promise<void> {
    const challenges = parseChallenges(header);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    const { credentials } = this.#options;
    if (bearer) {
      this.#authorizing ??= this.#bearer(bearer, signal).finally(() => {
        this.#authorizing = null;
      });
      this.#authorization = `Bearer ${await this.#authorizing}`;
      return;
    }
    const basic = credentials && basicAuthorization(credentials);
    if (!basic || !challenges.some(({ scheme }) => scheme === 'basic')) throw this.#denied();
    this.#authorization = basic;
  }

  async #bearer({ parameters }: Challenge, signal: AbortSignal): Promise<string> {
    const { transport, repository, access, credentials } = this.#options;
    const realm = parameters.get('realm') ?? '';
    if (!URL.canParse(realm)) throw remoteErrors.REGISTRY_FAILED(this.#image, 'it does not say where tokens are given');
    const wanted = new URLSearchParams();
    const service = parameters.get('service');
    if (service !== undefined) wanted.set('service', service);
    wanted.set('scope', `repository:${repository}:${access === 'push' ? 'pull,push' : 'pull'}`);
    const url = new URL(realm);
    const headers: Record<string, string> = { accept: 'application/json' };
    let answer: Answer;
    if (credentials && 'identityToken' in credentials) {
      wanted.set('grant_type', 'refresh_token');
      wanted.set('client_id', 'skerry');
      wanted.set('refresh_token', credentials.identityToken);
      headers['content-type'] = 'application/x-www-form-urlencoded';
      answer = await transport.sendTo(url, { method: 'POST', headers, body: wanted.toString(), signal });
    } else {
      const basic = credentials && basicAuthorization(credentials);
      if (basic) headers.authorization = basic;
      for (const [name, value] of wanted) url.searchParams.append(name, value);
      answer = await transport.sendTo(url, { method: 'GET', headers, signal });
    }
    if ([400, 401, 403].includes(answer.statusCode)) {
      await answer.body.dump();
      throw this.#denied();
    }
    if (answer.statusCode !== 200) throw await this.#failure(answer);
    const document = jsonOf(await this.#read(answer, MAX_SMALL_BYTES, signal)) as Record<string, unknown> | null;
    const token = document?.token ?? document?.access_token;
    if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token)) return token;
    throw remoteErrors.REGISTRY_FAILED(this.#image, 'it gives no token');
  }

  #denied(): SkerryError {
    return remoteErrors.REGISTRY_DENIED(this.#image, this.#options.access);
  }

  async #failure(answer: Answer): Promise<SkerryError> {
    const { statusCode } = answer;
    const bytes = await this.#read(answer, MAX_SMALL_BYTES).catch(() => Buffer.alloc(0));
    if (statusCode === 401 || statusCode === 403) return this.#denied();
    if (statusCode === 404) return ociErrors.IMAGE_NOT_FOUND(this.#image, []);
    const said = (jsonOf(bytes) as { errors?: { code?: unknown; message?: unknown }[] } | null)?.errors?.[0];
    const words = [said?.code, said?.message].filter((word) => typeof word === 'string').join(': ');
    return remoteErrors.REGISTRY_FAILED(this.#image, `it answers ${statusCode}${words === '' ? '' : ` (${words})`}`);
  }

  #document(answer: Answer, signal: AbortSignal): Promise<Buffer> {
    return this.#read(answer, MAX_DOCUMENT_BYTES, signal);
  }

  async #read({ body }: Answer, maxBytes: number, signal?: AbortSignal): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const piece of body as AsyncIterable<Uint8Array>) {
        bytes += piece.length;
        if (bytes > maxBytes)
          throw ociErrors.IMAGE_MALFORMED(this.#image, `its registry sends a document of more than ${maxBytes} bytes`);
        pieces.push(piece);
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof SkerryError ? error : this.#options.transport.explain(error);
    } finally {
      body.destroy();
    }
    return Buffer.concat(pieces);
  }
}

/** Where an upload is ended. */
function endOf(location: URL, digest: string): URL {
  const query = location.search === '' ? '?' : `${location.search}&`;
  return new URL(`${location.pathname}${query}digest=${encodeURIComponent(digest)}`, location);
}

/** Of a connection, so that what was begun can go on. */
function isBroken(error: unknown): boolean {
  return error instanceof SkerryError && ['REGISTRY_UNREACHABLE', 'REGISTRY_TIMEOUT'].includes(error.code);
}

function headerOf({ headers }: Answer, name: string): string | null {
  const value = headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? null;
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return null;
  }
}
