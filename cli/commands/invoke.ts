import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { SkerryError } from '../../errors/skerry-error.ts';
import { type Invocation, type InvocationAnswer, problemError } from '../../gateway/admin/client.ts';
import { text } from '../../gateway/admin/client-stream.ts';
import { Problem } from '../../gateway/admin/schemas.ts';
import type { Context } from '../context.ts';
import { cliErrors } from '../errors.ts';
import { unreadable } from '../unreadable.ts';

export interface InvokeFlags {
  readonly request?: string;
  readonly header?: readonly string[];
  readonly body?: string;
  readonly dataFile?: string;
  readonly include?: boolean;
}

/** Exit status of an answer of 400 or more; curl's --fail has the same. */
const EXIT_ANSWERED = 22;
/** The node refused to pass the request on: there is no answer of the function to show. */
const REFUSALS = new Set(['NO_WORKLOAD', 'NOT_FOUND', 'UNAUTHORIZED', 'FORBIDDEN_HOST', 'INVALID_REQUEST']);

/** One request to a function; its body goes to stdout as it comes. Exits 22 for a status of 400 or more. */
export async function invoke(context: Context, name: string, path: string, flags: InvokeFlags): Promise<void> {
  const { client, terminal } = context;
  const body = requestBody(context, flags);
  const answer = await client.invoke(name, {
    method: flags.request === undefined ? (body === undefined ? 'GET' : 'POST') : parseMethod(flags.request),
    target: targetOf(path),
    headers: (flags.header ?? []).map(parseHeader),
    body,
  });
  const failure = await failureOf(name, answer);
  if (failure && REFUSALS.has(failure.error.code)) throw failure.error;
  if (flags.include) terminal.stdout.write(headText(answer));
  if (failure?.body !== undefined) terminal.stdout.write(failure.body);
  else await copyBody(name, answer, terminal.stdout);
  if (failure) {
    const { code, status, what, fix } = failure.error;
    throw new SkerryError({ code, status, what, fix, exit: EXIT_ANSWERED });
  }
}

async function copyBody(name: string, answer: InvocationAnswer, stdout: NodeJS.WritableStream): Promise<void> {
  try {
    // Stdout stays open: it is not this command's to close.
    await pipeline(answer.body, stdout, { end: false });
  } catch (error) {
    throw cliErrors.BROKE_OFF(name).because(error);
  }
}

/** What an answer of 400 or more is told as: the node's own words where it is a problem of the node's making. */
async function failureOf(
  name: string,
  answer: InvocationAnswer,
): Promise<{ error: SkerryError; body?: string } | undefined> {
  if (answer.status < 400) return undefined;
  const answered = cliErrors.ANSWERED(name, `${answer.status} ${answer.statusText}`.trim());
  if (answer.headers['content-type'] !== 'application/problem+json' || answer.headers['content-length'] === undefined) {
    return { error: answered };
  }
  const body = await text(answer.body).catch((error: unknown) => {
    throw cliErrors.BROKE_OFF(name).because(error);
  });
  const problem = Problem.safeParse(parseJson(body));
  const ours = problem.success && problem.data.type.startsWith('urn:skerry:problem:');
  return { error: ours ? problemError(problem.data) : answered, body };
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** The path as it was given, but for what no request line can hold. */
function targetOf(path: string): string {
  const target = path.startsWith('/') ? path : `/${path}`;
  return target.replace(/[^\x21-\x7e]+|#/gu, (part) => (part === '#' ? '%23' : encodeURIComponent(part)));
}

/** A token (RFC 9110, section 9.1), in capitals as every method of a standard is. */
function parseMethod(method: string): string {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(method)) {
    throw cliErrors.BAD_FLAG('-X', `${JSON.stringify(method)} must be one word, as GET is`);
  }
  return method.toUpperCase();
}

function parseHeader(line: string): [string, string] {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*?)[ \t]*$/.exec(line);
  if (!match) throw cliErrors.BAD_FLAG('-H', `${JSON.stringify(line)} must be 'NAME: VALUE'`);
  return [match[1] as string, match[2] as string];
}

function requestBody({ terminal }: Context, flags: InvokeFlags): Invocation['body'] {
  if (flags.body !== undefined && flags.dataFile !== undefined) {
    throw cliErrors.USAGE('-d and --data-file do not go together', 'give the body once');
  }
  if (flags.body === '@-' || flags.dataFile === '-') return terminal.stdin;
  if (flags.body !== undefined) return Buffer.from(flags.body);
  if (flags.dataFile === undefined) return undefined;
  return Readable.from(readBody(flags.dataFile), { objectMode: false });
}

async function* readBody(file: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(file);
  } catch (error) {
    throw unreadable(file, error as Error);
  }
}

function headText(answer: InvocationAnswer): string {
  let head = `HTTP/1.1 ${answer.status} ${answer.statusText}\r\n`;
  for (let i = 0; i < answer.rawHeaders.length; i += 2)
    head += `${answer.rawHeaders[i]}: ${answer.rawHeaders[i + 1]}\r\n`;
  return `${head}\r\n`;
}
