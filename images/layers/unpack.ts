/** Runs `skerry-unpack` over one layer. */
import { constants } from 'node:fs';
import { access, type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { projectRoot } from '../../errors/project-root.ts';
import type { SkerryError } from '../../errors/skerry-error.ts';
import { layerErrors } from './errors.ts';
import type { IdRange, StartAsNamespaceRoot } from './user-namespace.ts';

export interface UnpackLimits {
  /** Of the uncompressed archive. */
  readonly maxBytes: number;
  /** Files, folders and links; each takes an inode. */
  readonly maxEntries: number;
  /** Uncompressed over compressed; held against a layer only beyond its first 256 MiB. */
  readonly maxRatio: number;
  readonly timeoutMs: number;
}

export interface UnpackRequest {
  /** The layer as it came, by its path or a descriptor: a tar archive, plain or compressed by gzip or zstd. */
  readonly blob: string | number;
  /** What the uncompressed archive's digest must be. */
  readonly diffId: string;
  /** Empty, and owned by the root of the id range. */
  readonly folder: string;
  readonly range: IdRange;
  readonly limits: UnpackLimits;
  readonly signal: AbortSignal;
}

export interface Unpacked {
  /** Entries of the archive. */
  readonly entries: number;
  /** Of the uncompressed archive. */
  readonly bytes: number;
}

const program = join(projectRoot, 'native', 'unpack', 'skerry-unpack');
const MAX_REPORT_BYTES = 64 * 1024;

const reportSchema = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), entries: z.int(), bytes: z.int() }),
  z.object({ ok: z.literal(false), problem: z.string(), why: z.string(), entry: z.string().nullable() }),
]);

type Report = z.infer<typeof reportSchema>;

/** Why this process cannot unpack layers, or null: UNPACK_NOT_ROOT, UNPACK_NOT_BUILT. */
export async function unpackProblem(): Promise<SkerryError | null> {
  if (process.geteuid!() !== 0) return layerErrors.UNPACK_NOT_ROOT();
  try {
    await access(program, constants.X_OK);
    return null;
  } catch (error) {
    return layerErrors.UNPACK_NOT_BUILT().because(error);
  }
}

/**
 * Resolves when the whole layer is on the disk. Otherwise what there is in the folder is worth nothing; throws the errors
 * of `errors.ts`, and what `signal` aborts with.
 */
export async function unpack(request: UnpackRequest, start: StartAsNamespaceRoot): Promise<Unpacked> {
  const { limits, signal } = request;
  const deadline = AbortSignal.timeout(limits.timeoutMs);
  const files: FileHandle[] = [];
  try {
    const binary = await openProgram();
    files.push(binary);
    let { blob } = request;
    if (typeof blob === 'string') {
      const file = await open(blob);
      files.push(file);
      blob = file.fd;
    }
    const report = await run(request, start, [blob, binary.fd], AbortSignal.any([signal, deadline]));
    if (report.ok) return report;
    throw explain(report, request);
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.aborted) throw layerErrors.LAYER_TIMEOUT(request.diffId, limits.timeoutMs / 1000);
    throw error;
  } finally {
    for (const file of files) await file.close();
  }
}

async function openProgram(): Promise<FileHandle> {
  try {
    return await open(program, constants.O_RDONLY);
  } catch (error) {
    throw layerErrors.UNPACK_NOT_BUILT().because(error);
  }
}

async function run(
  { diffId, folder, range, limits }: UnpackRequest,
  start: StartAsNamespaceRoot,
  [blob, binary]: readonly [number, number],
  signal: AbortSignal,
): Promise<Report> {
  const args = ['--diff-id', diffId, '--ids', String(range.count)];
  for (const [name, value] of Object.entries({
    '--max-bytes': limits.maxBytes,
    '--max-entries': limits.maxEntries,
    '--max-ratio': limits.maxRatio,
  }))
    args.push(name, String(value));
  // By descriptor 3: a user of a container cannot reach the program, the layer or the folder by their paths.
  const child = await start('/proc/self/fd/3', args, range, {
    cwd: folder,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    stdio: [blob, 'pipe', 'pipe', binary],
  }).catch((error) => {
    throw layerErrors.UNPACK_FAILED(diffId, error.message).because(error);
  });
  const kill = () => child.kill('SIGKILL');
  if (signal.aborted) kill();
  signal.addEventListener('abort', kill);
  try {
    return await new Promise<Report>((resolve, reject) => {
      let [report, message] = ['', ''];
      child.stdout!.on('data', (data) => {
        report = (report + data).slice(0, MAX_REPORT_BYTES);
      });
      child.stderr!.on('data', (data) => {
        message = (message + data).slice(0, 1000);
      });
      child.on('error', (error) => reject(layerErrors.UNPACK_FAILED(diffId, error.message).because(error)));
      child.on('close', (status, killedBy) => {
        const parsed = parse(report);
        const why = `the unpacker ended with ${killedBy ?? `status ${status}`} ${message.trim()}`;
        if (parsed && parsed.ok === (status === 0)) resolve(parsed);
        else reject(layerErrors.UNPACK_FAILED(diffId, why.trim()));
      });
    });
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

function parse(report: string): Report | null {
  try {
    return reportSchema.parse(JSON.parse(report));
  } catch {
    return null;
  }
}

function explain(report: Extract<Report, { ok: false }>, { diffId, folder }: UnpackRequest): SkerryError {
  const { problem, why } = report;
  const entry = report.entry === null ? null : printable(report.entry);
  const named = entry ?? 'its beginning';
  switch (problem) {
    case 'escape':
      return layerErrors.LAYER_ESCAPE(diffId, named, why);
    case 'device':
      return layerErrors.LAYER_DEVICE(diffId, named, why);
    case 'id':
      return layerErrors.LAYER_ID_OUT_OF_RANGE(diffId, named, why);
    case 'type-change':
      return layerErrors.LAYER_TYPE_CHANGE(diffId, named, why);
    case 'too-many-entries':
      return layerErrors.LAYER_TOO_MANY_ENTRIES(diffId, why);
    case 'too-many-bytes':
      return layerErrors.LAYER_TOO_LARGE(diffId, why);
    case 'ratio':
      return layerErrors.LAYER_BOMB(diffId, why);
    case 'malformed':
      return layerErrors.LAYER_MALFORMED(diffId, entry, printable(why));
    case 'diff-id':
      return layerErrors.LAYER_DIFF_ID(diffId, why);
    case 'disk-full':
      return layerErrors.LAYER_DISK_FULL(diffId, folder);
    default:
      return layerErrors.UNPACK_FAILED(diffId, entry === null ? why : `${why} at "${entry}"`);
  }
}

/** It is shown in terminals and logs: nothing in it may look like another line or move the cursor. */
function printable(text: string): string {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  return shown.replace(/[^\x20-\x7e…]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
