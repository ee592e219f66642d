/**
 * Firecracker's API (https://github.com/firecracker-microvm/firecracker/tree/main/docs), the client's side: small requests
 * over HTTP/1.1 on a Unix socket. What is at the other end runs a guest: each answer is bounded, read strictly, and awaited
 * for so long and no longer.
 */
import { request } from 'node:http';
import * as z from 'zod';
import { machineErrors } from '../errors.ts';

export const API_LIMITS = {
  /** Of an answer, in bytes. */
  bodyBytes: 64 * 1024,
  /** For an answer when nothing else is said, in milliseconds. */
  answerMs: 15_000,
} as const;

const Fault = z.object({ fault_message: z.string() });
const Description = z.object({
  state: z.enum(['Not started', 'Running', 'Paused']),
  vmm_version: z.string().max(100),
});
export type FirecrackerState = z.infer<typeof Description>;

export class FirecrackerApi {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Throws the errors of `send`. */
  async describe(): Promise<FirecrackerState> {
    const found = Description.safeParse(await this.send('GET', '/'));
    if (!found.success) throw machineErrors.MONITOR_NONSENSE('it does not say what it does');
    return found.data;
  }

  /**
   * What it answers; undefined where that is nothing. Throws MONITOR_REFUSED, MONITOR_SILENT, MONITOR_NONSENSE, MONITOR_GONE.
   */
  async send(
    method: 'GET' | 'PUT' | 'PATCH',
    path: string,
    body?: object,
    timeoutMs: number = API_LIMITS.answerMs,
  ): Promise<unknown> {
    const { status, text } = await this.#exchange(method, path, body, timeoutMs);
    let document: unknown;
    try {
      document = text === '' ? undefined : JSON.parse(text);
    } catch {
      throw machineErrors.MONITOR_NONSENSE('an answer is no JSON');
    }
    if (status >= 200 && status < 300) return document;
    const fault = Fault.safeParse(document);
    if (status < 400 || !fault.success) throw machineErrors.MONITOR_NONSENSE(`an answer of status ${status}`);
    throw machineErrors.MONITOR_REFUSED(fault.data.fault_message.slice(0, 300));
  }

  #exchange(
    method: string,
    path: string,
    body: object | undefined,
    timeoutMs: number,
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const headers = {
        accept: 'application/json',
        ...(text !== '' && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      };
      const asked = request({ socketPath: this.#socketPath, method, path, headers, agent: false });
      const timer = setTimeout(() => fail(machineErrors.MONITOR_SILENT(`${method} ${path}`)), timeoutMs);
      const fail = (error: Error) => {
        clearTimeout(timer);
        asked.destroy();
        reject(error);
      };
      asked.on('error', (error: NodeJS.ErrnoException) => {
        const gone = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(error.code ?? '');
        fail(gone ? machineErrors.MONITOR_GONE() : machineErrors.MONITOR_NONSENSE(error.message));
      });
      asked.on('response', (response) => {
        const pieces: Buffer[] = [];
        let length = 0;
        response.on('data', (piece: Buffer) => {
          pieces.push(piece);
          length += piece.length;
          if (length > API_LIMITS.bodyBytes) fail(machineErrors.MONITOR_NONSENSE('an answer is too long'));
        });
        response.on('error', () => fail(machineErrors.MONITOR_GONE()));
        response.on('end', () => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString('utf8') });
        });
      });
      asked.end(text);
    });
  }
}
