/** From a source to an artifact on the node: bundled, uploaded, built. */
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import type { AdminClient } from '../gateway/admin/client.ts';
import type { DeployRequest } from '../gateway/admin/schemas.ts';
import type { Context } from './context.ts';
import { cliErrors } from './errors.ts';
import { printable } from './printable.ts';
import type { Progress } from './progress.ts';
import type { Source } from './source.ts';
import { writeLine } from './terminal.ts';
import { unreadable } from './unreadable.ts';

type Caller = Pick<Context, 'client' | 'terminal'>;

export interface Made {
  readonly artifact: DeployRequest['artifact'];
  /** Every file that went into it, for `--watch`. */
  readonly inputs: readonly string[];
}

/** `onInputs` is told the files that matter as soon as they are known, before what may yet fail. */
export async function makeArtifact(
  { client, terminal }: Caller,
  source: Source,
  progress: Progress,
  onInputs?: (inputs: readonly string[]) => void,
): Promise<Made> {
  const { kind, file, inputs, choice } = source;
  if (kind === 'component') return { artifact: await uploadComponent(client, source, progress), inputs };
  if (kind === 'image') return { artifact: await sendImage({ client, terminal }, file, progress), inputs };
  if (kind === 'javascript' || choice === undefined) return buildJavascript(client, source, progress, onInputs);
  const scratch = await mkdtemp(join(tmpdir(), 'skerry-build-'));
  // Beside what fails, so that what the tool said stands above the error.
  const say = (text: string) => {
    progress.done();
    if (text !== '') for (const line of text.split('\n')) writeLine(terminal.stderr, printable(line));
  };
  try {
    await chmod(scratch, 0o755);
    const { base, network = false } = source.build;
    const step = (text: string) => progress.step(text);
    const work = { name: source.name(), env: { ...process.env, ...terminal.env }, base, network, scratch, step, say };
    const product = await choice.make(work);
    switch (product.kind) {
      case 'javascript':
        return await buildJavascript(client, { ...source, file: product.file }, progress, onInputs);
      case 'module': {
        const module = { text: product.text, label: source.label };
        return { artifact: await buildModule(client, module, progress), inputs };
      }
      case 'component':
        return { artifact: await uploadComponent(client, { ...source, file: product.file }, progress), inputs };
      default: {
        const { buildFolder } = await import('./commands/build.ts');
        return { artifact: await buildFolder(client, source, product, progress, work), inputs };
      }
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function buildJavascript(
  client: AdminClient,
  source: Source,
  progress: Progress,
  onInputs?: (inputs: readonly string[]) => void,
): Promise<Made> {
  const { label } = source;
  progress.step(`Bundling ${label}`);
  const { bundleSource } = await import('./bundle.ts');
  const bundle = await bundleSource(source.file);
  const inputs = [...new Set([...source.inputs, ...bundle.inputs])];
  onInputs?.(inputs);
  const module = { text: bundle.source, map: bundle.map, label };
  const artifact = await buildModule(client, module, progress).catch((error: unknown) => {
    throw bundle.explain(error);
  });
  return { artifact, inputs };
}

/** One module that imports nothing but the node's own, with its source map. */
async function buildModule(
  client: AdminClient,
  { text, map, label }: { readonly text: string; readonly map?: string; readonly label: string },
  progress: Progress,
): Promise<Made['artifact']> {
  progress.step(`Uploading ${label}`);
  const upload = async (mediaType: string, content: string) => {
    const body = Buffer.from(content);
    return (await client.upload({ mediaType, label, body, size: body.byteLength })).digest;
  };
  const source = await upload('text/javascript', text);
  const sourceMap = map === undefined ? {} : { sourceMap: await upload('application/json', map) };
  progress.step(`Building ${label}`);
  const request = { language: 'javascript' as const, source, label: label.slice(-256), ...sourceMap };
  return (await client.build(request, (step) => progress.step(step))).artifact;
}

async function uploadComponent(client: AdminClient, source: Source, progress: Progress): Promise<Made['artifact']> {
  const mediaType = 'application/wasm';
  return { digest: await uploadFile(client, source, mediaType, progress), mediaType };
}

/** The kernel of a VM; gives its digest. */
export function uploadKernel({ client }: Pick<Context, 'client'>, file: string, progress: Progress): Promise<string> {
  return uploadFile(client, { file, label: basename(file) }, 'application/octet-stream', progress);
}

async function uploadFile(
  client: AdminClient,
  { file, label }: Pick<Source, 'file' | 'label'>,
  mediaType: string,
  progress: Progress,
): Promise<string> {
  progress.step(`Uploading ${label}`);
  const found = await stat(file).catch((error: Error) => {
    throw unreadable(file, error);
  });
  const { size } = found;
  const body = Readable.from(exactly(file, size), { objectMode: false, highWaterMark: CHUNK });
  return (await client.upload({ mediaType, label, body, size })).digest;
}

/** A folder or a file of ours is sent as an archive; what a registry has the node gets itself. */
export async function sendImage(
  { client, terminal }: Caller,
  file: string,
  progress: Progress,
): Promise<Made['artifact']> {
  const [, scheme, path = ''] = /^(oci|docker-archive):(.+)$/.exec(file) ?? [];
  progress.step(scheme === undefined ? `Getting ${file}` : `Uploading ${file}`);
  const step: Progress['step'] = (text, part) => progress.step(`${file}: ${text}`, part);
  if (scheme === undefined) {
    const { credentialsFor } = await import('./docker-credentials.ts');
    return (await client.importImage(file, { credentials: await credentialsFor(file, terminal.env) }, step)).artifact;
  }
  // A tag may stand behind the path of a layout.
  const here = scheme === 'oci' && !(await isThere(path)) ? path.replace(/:[^:/]*$/, '') : path;
  const found = await stat(here).catch((error: Error) => {
    throw unreadable(here, error);
  });
  const archive = found.isDirectory() ? packFolder(here) : createReadStream(here, { highWaterMark: CHUNK });
  return (await client.importImage(file, { archive }, step)).artifact;
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** By tar, which every system has that has images. */
export function packFolder(folder: string): Readable {
  const tar = spawn('tar', ['-C', folder, '-cf', '-', '.'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  tar.stderr.on('data', (piece) => {
    said += piece;
  });
  // Node throws away what a process that has ended wrote to a stream that nobody reads yet.
  const packed = tar.stdout.pipe(new PassThrough());
  const fail = (why: string) => packed.destroy(cliErrors.UNREADABLE(folder, why));
  tar.on('error', (error) => fail(error.message));
  tar.on('exit', (code) => {
    if (code !== 0) fail(said.trim().split('\n')[0] ?? 'tar failed');
  });
  return packed;
}

const CHUNK = 256 * 1024;

/**
 * The file in pieces, as long as it was when its size was taken: the length is already told to the node, which would
 * wait for the rest of a shorter one.
 */
async function* exactly(file: string, size: number): AsyncGenerator<Buffer> {
  let left = size;
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: CHUNK })) {
      left -= (chunk as Buffer).length;
      if (left < 0) break;
      yield chunk as Buffer;
    }
  } catch (error) {
    throw unreadable(file, error as Error);
  }
  if (left !== 0) throw cliErrors.UPLOAD_CHANGED(file);
}
