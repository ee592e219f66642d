/**
 * A client of the admin API: every answer is checked with the schema it was made from, every failure is a SkerryError.
 *
 * It stands on node:http because it is what each `skerry` command loads first: node:http is part of Node's start-up
 * image, while loading undici costs more CPU time than a whole `skerry ls`.
 */
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, RequestOptions } from 'node:http';
import http from 'node:http';
import type { Readable, Writable } from 'node:stream';
import { z } from 'zod';
import { SkerryError } from '../../errors/skerry-error.ts';
import { gatewayErrors } from '../errors.ts';
import { clientErrors } from './client-errors.ts';
import { lines, text } from './client-stream.ts';
import type { TellProgress } from './ndjson.ts';
import * as schemas from './schemas.ts';

/** Where a node's admin API is: its Unix socket, or a base URL with the token that its TCP listener asks for. */
export type AdminTarget = { readonly socket: string } | { readonly url: string; readonly token?: string | undefined };

export interface Upload {
  readonly mediaType: string;
  /** What the user calls it. */
  readonly label: string;
  readonly body: Uint8Array | Readable;
  /** Bytes of the body. */
  readonly size: number;
}

export interface Built {
  readonly artifact: z.infer<typeof schemas.Artifact>;
  /** Bytes of the component. */
  readonly size: number;
  readonly cached: boolean;
  readonly ms: number;
}

export interface Imported {
  readonly artifact: z.infer<typeof schemas.Artifact>;
  /** In the node's store. */
  readonly name: string;
  /** Bytes of its layers. */
  readonly size: number;
}

export interface Invocation {
  readonly method: string;
  /** Path and query as the function shall see them, beginning with `/`; sent byte for byte. */
  readonly target: string;
  readonly headers: ReadonlyArray<readonly [string, string]>;
  readonly body?: Uint8Array | Readable | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface InvocationAnswer {
  readonly status: number;
  readonly statusText: string;
  /** Name, value, name, value, as they came. */
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingHttpHeaders;
  /** Breaks with an error when the function broke off. */
  readonly body: Readable;
}

/** What a process reads and writes. */
export interface AttachedStreams {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

interface Ask {
  readonly method: string;
  readonly path: string;
  readonly doing: string;
  readonly headers?: OutgoingHttpHeaders | undefined;
  readonly body?: Uint8Array | Readable | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class AdminClient {
  /** The socket or URL, as shown in errors. */
  readonly where: string;
  /** Over TCP: perhaps of another machine. */
  readonly remote: boolean;
  readonly #target: AdminTarget;
  readonly #base: URL;

  /** Throws BAD_NODE_URL. Opens nothing yet. */
  constructor(target: AdminTarget) {
    this.#target = target;
    this.where = 'socket' in target ? target.socket : target.url;
    this.remote = !('socket' in target);
    this.#base = 'socket' in target ? new URL('http://skerry/') : baseUrl(target.url);
  }

  node(): Promise<schemas.NodeView> {
    return this.#json('GET', '/v1/node', schemas.NodeView);
  }

  /** What the node and each workload do, watched for `windowMs`. */
  usage(windowMs: number, signal?: AbortSignal): Promise<schemas.UsageSample> {
    return this.#json('GET', `/v1/usage?windowMs=${windowMs}`, schemas.UsageSample, undefined, signal);
  }

  doctor(): Promise<schemas.Doctor> {
    return this.#json('GET', '/v1/doctor', schemas.Doctor);
  }

  async workloads(): Promise<schemas.WorkloadView[]> {
    return (await this.#json('GET', '/v1/workloads', schemas.WorkloadList)).workloads;
  }

  workload(name: string): Promise<schemas.WorkloadView> {
    return this.#json('GET', workloadPath(name), schemas.WorkloadView);
  }

  deploy(name: string, request: schemas.DeployRequest): Promise<schemas.WorkloadView> {
    return this.#json('PUT', workloadPath(name), schemas.WorkloadView, request);
  }

  async remove(name: string): Promise<void> {
    const answer = await this.#send({ method: 'DELETE', path: workloadPath(name), doing: 'a removal' });
    answer.resume();
  }

  /** The workload once the node has acted on `generation`, or as it is after `timeoutMs`. */
  settled(name: string, generation: number, timeoutMs: number): Promise<schemas.WorkloadView> {
    const query = `?generation=${generation}&timeoutMs=${timeoutMs}`;
    return this.#json('GET', `${workloadPath(name)}/settled${query}`, schemas.WorkloadView);
  }

  scale(name: string, request: z.infer<typeof schemas.ScaleRequest>): Promise<schemas.WorkloadView> {
    return this.#json('PUT', `${workloadPath(name)}/scale`, schemas.WorkloadView, request);
  }

  traffic(name: string, request: z.infer<typeof schemas.TrafficRequest>): Promise<schemas.WorkloadView> {
    return this.#json('PUT', `${workloadPath(name)}/traffic`, schemas.WorkloadView, request);
  }

  rollback(name: string, request: z.infer<typeof schemas.RollbackRequest>): Promise<schemas.WorkloadView> {
    return this.#json('POST', `${workloadPath(name)}/rollback`, schemas.WorkloadView, request);
  }

  apply(request: schemas.PlanRequest): Promise<schemas.Plan> {
    return this.#json('POST', '/v1/apply', schemas.Plan, request);
  }

  async secrets(): Promise<schemas.SecretView[]> {
    return (await this.#json('GET', '/v1/secrets', schemas.SecretList)).secrets;
  }

  /** Resolves when every function that uses it has the new value. */
  setSecret(name: string, value: string): Promise<schemas.SecretView> {
    return this.#json('PUT', secretPath(name), schemas.SecretView, { value });
  }

  async removeSecret(name: string, force: boolean): Promise<void> {
    const path = `${secretPath(name)}?force=${force}`;
    const answer = await this.#send({ method: 'DELETE', path, doing: 'a removal' });
    answer.resume();
  }

  images(): Promise<schemas.ImageList> {
    return this.#json('GET', '/v1/images', schemas.ImageList);
  }

  removeImage(reference: string): Promise<schemas.RemovedImage> {
    return this.#json('DELETE', `/v1/images?reference=${encodeURIComponent(reference)}`, schemas.RemovedImage);
  }

  tagImage(request: schemas.TagRequest): Promise<schemas.TaggedImage> {
    return this.#json('POST', '/v1/images/tag', schemas.TaggedImage, request);
  }

  pruneImages(dryRun: boolean): Promise<schemas.Pruned> {
    return this.#json('POST', '/v1/images/prune', schemas.Pruned, { dryRun });
  }

  async policies(): Promise<schemas.PolicyView[]> {
    return (await this.#json('GET', '/v1/policies', schemas.PolicyList)).policies;
  }

  setPolicy(request: schemas.PolicyRequest): Promise<schemas.PolicyView> {
    return this.#json('PUT', '/v1/policies', schemas.PolicyView, request);
  }

  async removePolicy(pattern: string): Promise<void> {
    const path = `/v1/policies?pattern=${encodeURIComponent(pattern)}`;
    (await this.#send({ method: 'DELETE', path, doing: 'a removal' })).resume();
  }

  /** What a signature of this image must be about. */
  signingSubject(reference: string): Promise<z.infer<typeof schemas.SigningSubject>> {
    const path = `/v1/images/signing-subject?reference=${encodeURIComponent(reference)}`;
    return this.#json('GET', path, schemas.SigningSubject);
  }

  async attachSignature(request: z.infer<typeof schemas.SignatureRequest>): Promise<void> {
    const doing = 'a signature';
    (await this.#send({ method: 'POST', path: '/v1/images/signatures', doing, ...jsonBody(request) })).resume();
  }

  /** Throws IMAGE_NOT_HERE. */
  inspectImage(reference: string): Promise<schemas.ImageInspection> {
    const path = `/v1/images/inspection?reference=${encodeURIComponent(reference)}`;
    return this.#json('GET', path, schemas.ImageInspection);
  }

  async tokens(): Promise<schemas.TokenView[]> {
    return (await this.#json('GET', '/v1/tokens', schemas.TokenList)).tokens;
  }

  /** The token, which is not to be had again. */
  async createToken(name: string, scopes: readonly string[]): Promise<string> {
    return (await this.#json('PUT', tokenPath(name), schemas.TokenSecret, { scopes })).token;
  }

  async removeToken(name: string): Promise<void> {
    const answer = await this.#send({ method: 'DELETE', path: tokenPath(name), doing: 'a removal' });
    answer.resume();
  }

  export(name?: string): Promise<schemas.Export> {
    const query = name === undefined ? '' : `?name=${encodeURIComponent(name)}`;
    return this.#json('GET', `/v1/export${query}`, schemas.Export);
  }

  /** Stores a component or a bundled source on the node; the body is streamed. */
  async upload(upload: Upload): Promise<z.infer<typeof schemas.Stored>> {
    const answer = await this.#send({
      method: 'POST',
      path: `/v1/artifacts?label=${encodeURIComponent(upload.label)}`,
      doing: 'an upload',
      headers: { 'content-type': upload.mediaType, 'content-length': upload.size },
      body: upload.body,
    });
    return this.#parse(answer, schemas.Stored, 'an upload');
  }

  /** Builds a component from an uploaded bundle; throws what the build failed with. */
  async build(request: schemas.BuildRequest, progress: TellProgress): Promise<Built> {
    const doing = 'a build';
    const answer = await this.#send({ method: 'POST', path: '/v1/builds', doing, ...jsonBody(request) });
    return this.#outcome(this.#ndjson(answer, schemas.BuildEvent, doing), progress, doing);
  }

  /** Brings an image onto the node: what the reference names, or `archive`. Throws what the node refuses it with. */
  async importImage(
    reference: string,
    given: { archive: Readable } | z.infer<typeof schemas.ImportRequest>,
    progress: TellProgress,
  ): Promise<Imported> {
    const doing = 'an import';
    const path = `/v1/images?reference=${encodeURIComponent(reference)}`;
    const sent =
      'archive' in given ? { headers: { 'content-type': 'application/x-tar' }, body: given.archive } : jsonBody(given);
    const answer = await this.#send({ method: 'POST', path, doing, ...sent });
    return this.#outcome(this.#ndjson(answer, schemas.ImageEvent, doing), progress, doing);
  }

  /** Throws what the node, or the other registry, refuses it with. */
  async transferImage(
    way: 'pull' | 'push',
    request: schemas.TransferRequest,
    progress: TellProgress,
  ): Promise<Imported> {
    const doing = `a ${way}`;
    const answer = await this.#send({ method: 'POST', path: `/v1/images/${way}`, doing, ...jsonBody(request) });
    return this.#outcome(this.#ndjson(answer, schemas.ImageEvent, doing), progress, doing);
  }

  /** The source map (ECMA-426) that a revision was built with, as JSON; throws NOT_FOUND when it has none. */
  async sourceMap(name: string, revision: string): Promise<string> {
    const doing = 'reading a source map';
    const path = `${workloadPath(name)}/revisions/${revision}/source-map`;
    return this.#text(await this.#send({ method: 'GET', path, doing }), doing);
  }

  /** The last `tail` lines of the log; with `follow` goes on until the signal is aborted, which is a clean end. */
  async *logs(
    name: string,
    options: { follow?: boolean; tail?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<schemas.LogLine, void, undefined> {
    const query = new URLSearchParams();
    if (options.follow) query.set('follow', 'true');
    if (options.tail !== undefined) query.set('tail', String(options.tail));
    const doing = 'reading the log';
    try {
      const path = `${workloadPath(name)}/logs?${query}`;
      const answer = await this.#send({ method: 'GET', path, doing, signal: options.signal });
      yield* this.#ndjson(answer, schemas.LogLine, doing);
    } catch (error) {
      if (!options.signal?.aborted) throw error;
    }
  }

  /**
   * One request to a function through the node. An answer of any status is an answer, not an error. Throws
   * METHOD_NOT_OFFERED for CONNECT, which asks for a tunnel: Node gives such a request no answer to read.
   */
  async invoke(name: string, invocation: Invocation): Promise<InvocationAnswer> {
    if (invocation.method === 'CONNECT') throw gatewayErrors.METHOD_NOT_OFFERED(invocation.method);
    const headers: OutgoingHttpHeaders = {};
    for (const [key, value] of invocation.headers) {
      const before = headers[key.toLowerCase()];
      headers[key.toLowerCase()] = before === undefined ? value : [before, value].flat().map(String);
    }
    // On the socket the Host is the function's own to see; over TCP the admin API checks it.
    if ('socket' in this.#target) headers.host ??= `${name}.localhost`;
    const answer = await this.#open({
      method: invocation.method,
      path: `${workloadPath(name)}/invoke${invocation.target}`,
      doing: 'a request to the function',
      headers,
      body: invocation.body,
      signal: invocation.signal,
    });
    return {
      status: answer.statusCode ?? 0,
      statusText: answer.statusMessage ?? '',
      rawHeaders: answer.rawHeaders,
      headers: answer.headers,
      body: answer,
    };
  }

  processes(): Promise<z.infer<typeof schemas.ProcessList>> {
    return this.#json('GET', '/v1/processes', schemas.ProcessList);
  }

  /** Throws NO_PROCESS. */
  process(name: string): Promise<schemas.ProcessView> {
    return this.#json('GET', processPath(name), schemas.ProcessView);
  }

  run(request: schemas.RunRequest): Promise<schemas.ProcessView> {
    return this.#json('POST', '/v1/processes', schemas.ProcessView, request);
  }

  stopProcess(name: string, graceMs: number): Promise<schemas.ProcessView> {
    return this.#json('POST', `${processPath(name)}/stop?graceMs=${graceMs}`, schemas.ProcessView);
  }

  /** False: it does not listen to it. */
  async signalProcess(name: string, signal: string): Promise<boolean> {
    const heard = z.object({ heard: z.boolean() });
    return (await this.#json('POST', `${processPath(name)}/signal`, heard, { signal })).heard;
  }

  async removeProcess(name: string, graceMs: number): Promise<void> {
    const doing = `removing ${name}`;
    (await this.#send({ method: 'DELETE', path: `${processPath(name)}?graceMs=${graceMs}`, doing })).resume();
  }

  decisions(name: string): Promise<z.infer<typeof schemas.DecisionList>> {
    return this.#json('GET', `${workloadPath(name)}/decisions`, schemas.DecisionList);
  }

  volumes(): Promise<z.infer<typeof schemas.VolumeList>> {
    return this.#json('GET', '/v1/volumes', schemas.VolumeList);
  }

  /** Throws NO_VOLUME, VOLUME_IN_USE, VOLUME_WANTED. */
  async removeVolume(name: string): Promise<void> {
    const path = `/v1/volumes/${encodeURIComponent(name)}`;
    (await this.#send({ method: 'DELETE', path, doing: `removing the volume ${name}` })).resume();
  }

  /** Runs an image with its process attached to these streams. `started` is told its name. */
  runAttached(
    request: schemas.RunRequest,
    streams: AttachedStreams,
    started: (name: string) => void,
  ): Promise<schemas.Ended> {
    return this.#attach('/v1/run', request, streams, schemas.Ended, 'running a process', started);
  }

  /** Runs a command in a container with its process attached to these streams. */
  exec(request: z.infer<typeof schemas.ExecRequest>, streams: AttachedStreams): Promise<schemas.Ended> {
    return this.#attach('/v1/exec', request, streams, schemas.Ended, 'running a command');
  }

  /** `streams.stdin`: a tar archive of the files that the Dockerfile may copy. */
  buildImage(request: schemas.ImageBuildRequest, streams: AttachedStreams): Promise<schemas.BuiltImage> {
    return this.#attach('/v1/image-builds', request, streams, schemas.BuiltImage, 'building an image');
  }

  async #attach<T>(
    path: string,
    request: object,
    streams: AttachedStreams,
    schema: z.ZodType<T>,
    doing: string,
    started: (name: string) => void = () => {},
  ): Promise<T> {
    const { attachRequest, readAttached } = await import('./client-attach.ts');
    const answer = await this.#send({ method: 'POST', path, doing, body: attachRequest(request, streams.stdin) });
    let said: Awaited<ReturnType<typeof readAttached>>;
    try {
      said = await readAttached(answer, streams, started);
    } catch (error) {
      throw clientErrors.CONNECTION_LOST(this.where, doing).because(error);
    } finally {
      answer.destroy();
    }
    if ('problem' in said) throw problemError(schemas.Problem.parse(said.problem));
    return schema.parse(said.result);
  }

  async #json<T>(
    method: string,
    path: string,
    schema: z.ZodType<T>,
    request?: unknown,
    signal?: AbortSignal,
  ): Promise<T> {
    const doing = `${method} ${path}`;
    const body = request === undefined ? {} : jsonBody(request);
    const answer = await this.#send({ method, path, doing, signal, ...body });
    return this.#parse(answer, schema, doing);
  }

  async #parse<T>(answer: IncomingMessage, schema: z.ZodType<T>, doing: string): Promise<T> {
    return this.#check(await this.#text(answer, doing), schema, doing);
  }

  async #text(answer: IncomingMessage, doing: string): Promise<string> {
    try {
      return await text(answer);
    } catch (error) {
      throw clientErrors.CONNECTION_LOST(this.where, doing).because(error);
    }
  }

  #check<T>(json: string, schema: z.ZodType<T>, doing: string): T {
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch (error) {
      throw clientErrors.API_MISMATCH(this.where, `the answer to ${doing} is not JSON`).because(error);
    }
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    const at = issue?.path.join('.') || 'it';
    throw clientErrors.API_MISMATCH(this.where, `the answer to ${doing} is another one (${at}: ${issue?.message})`);
  }

  /** What a work that tells its steps comes to; throws what it failed with. */
  async #outcome<T extends schemas.BuildEvent | schemas.ImageEvent>(
    events: AsyncIterable<T>,
    progress: TellProgress,
    doing: string,
  ): Promise<Extract<T, { event: 'done' }>> {
    for await (const event of events) {
      if (event.event === 'progress') progress(event.step, 'part' in event ? event.part : undefined);
      else if (event.event === 'failed') throw problemError(event.problem);
      else return event as Extract<T, { event: 'done' }>;
    }
    throw clientErrors.CONNECTION_LOST(this.where, doing);
  }

  async *#ndjson<T>(answer: IncomingMessage, schema: z.ZodType<T>, doing: string): AsyncGenerator<T, void, undefined> {
    try {
      for await (const line of lines(answer)) yield this.#check(line, schema, doing);
    } catch (error) {
      throw error instanceof SkerryError ? error : clientErrors.CONNECTION_LOST(this.where, doing).because(error);
    } finally {
      answer.destroy();
    }
  }

  /** Sends, and throws for an answer that is a problem. */
  async #send(ask: Ask): Promise<IncomingMessage> {
    const answer = await this.#open(ask);
    if ((answer.statusCode ?? 0) < 400) return answer;
    const body = await this.#text(answer, ask.doing);
    if (!answer.headers['content-type']?.startsWith('application/problem+json')) {
      const line = `${ask.method} ${ask.path.split('?')[0]} was answered ${answer.statusCode}`;
      throw clientErrors.API_MISMATCH(this.where, line);
    }
    throw problemError(this.#check(body, schemas.Problem, ask.doing));
  }

  /** No time limit: builds take long, and a log that is followed may be silent for days. */
  async #open(ask: Ask): Promise<IncomingMessage> {
    const target = this.#target;
    const options: RequestOptions = {
      method: ask.method,
      path: this.#base.pathname.replace(/\/$/, '') + ask.path,
      headers: { ...ask.headers },
      // One connection a request: nothing is left open when the command ends.
      agent: false,
      ...(ask.signal ? { signal: ask.signal } : {}),
    };
    const headers = options.headers as OutgoingHttpHeaders;
    if (ask.body instanceof Uint8Array) headers['content-length'] = ask.body.byteLength;
    // Node would send the body of a GET or DELETE without any framing.
    else if (ask.body && headers['content-length'] === undefined) headers['transfer-encoding'] = 'chunked';
    let request = http.request;
    if ('socket' in target) {
      options.socketPath = target.socket;
      options.host = 'skerry';
    } else {
      options.host = this.#base.hostname.replace(/^\[|\]$/g, '');
      if (this.#base.port) options.port = this.#base.port;
      if (target.token) headers.authorization = `Bearer ${target.token}`;
      if (this.#base.protocol === 'https:') request = (await import('node:https')).request;
    }
    return new Promise((resolve, reject) => {
      let connected = false;
      const sent = request(options, resolve);
      sent.on('socket', (socket) => {
        socket.once('encrypted' in socket ? 'secureConnect' : 'connect', () => (connected = true));
      });
      sent.on('error', (error) => reject(this.#connectionError(error, connected, ask.doing)));
      const body = ask.body;
      if (body === undefined || body instanceof Uint8Array) {
        sent.end(body);
        return;
      }
      body.once('error', (error) => {
        reject(error);
        sent.destroy();
      });
      // An answer may come before the whole body was taken; reading on would be for nothing.
      sent.once('close', () => body.destroy());
      body.pipe(sent);
    });
  }

  #connectionError(error: NodeJS.ErrnoException, connected: boolean, doing: string): Error {
    if (error.name === 'AbortError' || error instanceof SkerryError) return error;
    if (connected) return clientErrors.CONNECTION_LOST(this.where, doing).because(error);
    if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
      return clientErrors.NODE_NOT_RUNNING(this.where).because(error);
    }
    if (error.code === 'EACCES' || error.code === 'EPERM') return clientErrors.NODE_DENIED(this.where).because(error);
    return clientErrors.NODE_UNREACHABLE(this.where, error.code ?? error.message).because(error);
  }
}

function workloadPath(name: string): string {
  return `/v1/workloads/${encodeURIComponent(name)}`;
}

function processPath(name: string): string {
  return `/v1/processes/${encodeURIComponent(name)}`;
}

function secretPath(name: string): string {
  return `/v1/secrets/${encodeURIComponent(name)}`;
}

function tokenPath(name: string): string {
  return `/v1/tokens/${encodeURIComponent(name)}`;
}

function jsonBody(value: unknown): { headers: OutgoingHttpHeaders; body: Uint8Array } {
  return { headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(value)) };
}

function baseUrl(url: string): URL {
  if (!URL.canParse(url)) throw clientErrors.BAD_NODE_URL(url);
  const parsed = new URL(url);
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') throw clientErrors.BAD_NODE_URL(url);
  return parsed;
}

/** The error that the node told, with its code kept. */
export function problemError(problem: z.infer<typeof schemas.Problem>): SkerryError {
  return new SkerryError({ code: problem.code, status: problem.status, what: problem.detail, fix: problem.fix });
}
