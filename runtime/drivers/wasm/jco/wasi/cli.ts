/** wasi:cli/*: no arguments, the function's own environment, output that goes to its log, no terminal. */
import { currentRun, currentRunOrNull } from './current-run.ts';
import { Handle } from './handle.ts';
import { type ByteSink, InputStream, nothing, OutputStream } from './io.ts';

class LogSink implements ByteSink {
  readonly #stream: 'stdout' | 'stderr';

  constructor(stream: 'stdout' | 'stderr') {
    this.#stream = stream;
  }
  ready(): boolean {
    return true;
  }
  room(): number {
    return 64 * 1024;
  }
  write(data: Uint8Array): void {
    currentRunOrNull()?.output.print(this.#stream, data);
  }
  flush(): void {}
  close(): void {}
}

const stdout = new LogSink('stdout');
const stderr = new LogSink('stderr');

let environment: readonly (readonly [string, string])[] = [];

/** What the next instance shall see. */
export function setEnvironment(pairs: readonly (readonly [string, string])[]): void {
  environment = pairs;
}

function exit(status: string): never {
  throw currentRun().failed({ code: 'FUNCTION_EXITED', why: status });
}

export class TerminalInput extends Handle {}
export class TerminalOutput extends Handle {}

const none = () => undefined;

export const cli = {
  'wasi:cli/environment': {
    getEnvironment: () => environment,
    getArguments: () => [],
    initialCwd: none,
  },
  'wasi:cli/exit': {
    exit: (status: { tag: 'ok' | 'err' }) => exit(status.tag === 'ok' ? '0' : '1'),
    exitWithCode: (status: number) => exit(`${status}`),
  },
  'wasi:cli/stdin': { getStdin: () => new InputStream(nothing) },
  'wasi:cli/stdout': { getStdout: () => new OutputStream(stdout) },
  'wasi:cli/stderr': { getStderr: () => new OutputStream(stderr) },
  'wasi:cli/terminal-input': { TerminalInput },
  'wasi:cli/terminal-output': { TerminalOutput },
  'wasi:cli/terminal-stdin': { getTerminalStdin: none },
  'wasi:cli/terminal-stdout': { getTerminalStdout: none },
  'wasi:cli/terminal-stderr': { getTerminalStderr: none },
};
