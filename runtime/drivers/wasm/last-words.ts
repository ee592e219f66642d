/**
 * Why a guest exited, or ended its answer, from what it said. WASI's exit carries one bit, so that a language's runtime says on stderr what it
 * died of. A guest may say what it likes: it decides only about its own request.
 */
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { wasmErrors } from './errors.ts';
import { formatBytes } from './format-bytes.ts';

/** A line of this form is the last thing that images/build/javascript/guest/failure.js says. */
const uncaught = /^Uncaught (.*)$/gm;
/** What SpiderMonkey throws when it gets no more memory. */
const outOfMemory = 'out of memory';

/**
 * What StarlingMonkey says of a body that it could not come to the end of. It finishes the body all the same, as if that had
 * been all.
 */
const unfinished =
  /^(?:.*JS event loop terminated without completing the request|.*body ReadableStream closed during body streaming)/m;

/** Characters of stderr that are kept: the line stands before a stack of some kilobytes. */
const kept = 16 * 1024;

export class LastWords {
  #stderr = '';

  hear(stream: 'stdout' | 'stderr', data: Uint8Array): void {
    if (stream === 'stderr') this.#stderr = (this.#stderr + Buffer.from(data).toString('latin1')).slice(-kept);
  }

  /** The guest has ended its answer. Throws when what it gave is a part of it. */
  answerEnded(): void {
    if (this.#stderr !== '' && unfinished.test(this.#stderr)) throw new Error('its body was not finished');
  }

  /** The guest exited with `status` before its answer was complete; `memoryBytes` is its limit. */
  explain(status: string, memoryBytes: number): SkerryError {
    const said = status === '0' ? undefined : [...this.#stderr.matchAll(uncaught)].at(-1)?.[1];
    if (said === undefined) return wasmErrors.FUNCTION_EXITED(status);
    if (said === outOfMemory) return wasmErrors.FUNCTION_MEMORY(formatBytes(memoryBytes));
    return wasmErrors.FUNCTION_THREW();
  }
}
