/** What a process in a container reads and writes, connected to streams of the node. */
import { Socket } from 'node:net';
import { closeFd, makePipe } from '../../../native/host/index.ts';
import type { ProcessStreams } from '../../driver.ts';
import type { Stdio } from './host.ts';

/** What a process that has ended left in its pipes is read for this long, while others that it started hold them; in ms. */
const REST_MS = 500;

/** Of what is said of a process that did not come to be, in characters. */
const MOST_SAID = 2000;

/** Three pipes. */
export class ProcessPipes {
  /** The ends of the process. */
  readonly inside: Stdio;
  readonly #stdin: Socket;
  readonly #outputs: readonly [Socket, Socket];
  #given = false;

  private constructor(inside: Stdio, stdin: Socket, outputs: readonly [Socket, Socket]) {
    this.inside = inside;
    this.#stdin = stdin;
    this.#outputs = outputs;
  }

  static async open(): Promise<ProcessPipes> {
    const [stdin, toStdin] = await makePipe();
    const [fromStdout, stdout] = await makePipe();
    const [fromStderr, stderr] = await makePipe();
    const reading = (fd: number) => new Socket({ fd, readable: true, writable: false });
    const input = new Socket({ fd: toStdin, readable: false, writable: true });
    return new ProcessPipes({ stdin, stdout, stderr }, input, [reading(fromStdout), reading(fromStderr)]);
  }

  /** The process has its ends, or never will. */
  async given(): Promise<void> {
    if (this.#given) return;
    this.#given = true;
    await Promise.all(Object.values(this.inside).map((fd: number) => closeFd(fd)));
  }

  /**
   * Connects them, each at the pace of its slower side; a side that fails ends its own stream only. Resolves when `ended`
   * has and all that was written is in the streams.
   */
  async connect({ stdin, stdout, stderr }: ProcessStreams, ended: Promise<unknown>): Promise<void> {
    // Who no longer reads is told by SIGPIPE or EPIPE, as in a shell.
    for (const socket of [this.#stdin, ...this.#outputs]) socket.on('error', () => {});
    stdin.on('error', () => this.#stdin.destroy());
    stdin.pipe(this.#stdin);
    const written = [stdout, stderr].map(
      (stream, i) =>
        new Promise<void>((resolve) => {
          const output = this.#outputs[i] as Socket;
          output.once('close', resolve);
          stream.once('close', () => output.destroy());
          output.pipe(stream, { end: false });
        }),
    );
    await ended;
    stdin.unpipe(this.#stdin);
    this.#stdin.destroy();
    const late = setTimeout(() => {
      for (const output of this.#outputs) output.destroy();
    }, REST_MS);
    await Promise.all(written);
    clearTimeout(late);
  }

  /** For a process that did not come to be. Resolves with what was written to its stderr meanwhile. */
  async discard(): Promise<string> {
    await this.given();
    const [stdout, stderr] = this.#outputs;
    let said = '';
    stderr.on('data', (piece: Buffer) => {
      said = (said + piece).slice(0, MOST_SAID);
    });
    const late = setTimeout(() => stderr.destroy(), REST_MS);
    await new Promise((resolve) => stderr.once('close', resolve));
    clearTimeout(late);
    for (const socket of [this.#stdin, stdout]) socket.destroy();
    return said;
  }
}
