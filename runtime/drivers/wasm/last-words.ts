/**
 * Why a guest exited, or ended its answer, from what it said. WASI's exit carries one bit, so that a language's runtime says on stderr what it
 * died of. A guest may say what it likes: it decides only about its own request.
 */
import { SkerryError } from '../../../errors/skerry-error.ts';
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
/** The first of these, where it has given no body to end: the promise of its handler was never settled. */
const neverSettled = /^.*JS event loop terminated without completing the request/m;
/** What StarlingMonkey says before it ends over a piece of a body for which it gets no memory. */
const noMemoryForBody = /^Error while \(cabi_realloc\) Unable to realloc/m;

/** Characters of stderr that are kept: the line stands before a stack of some kilobytes. */
const kept = 16 * 1024;

/** What was thrown over an answer, as the failure of its function. */
export function badAnswer(thrown: unknown): SkerryError {
  if (thrown instanceof SkerryError && thrown.code === 'FUNCTION_NO_ANSWER') return thrown;
  return wasmErrors.FUNCTION_BAD_ANSWER((thrown as Error).message).because(thrown);
}

export class LastWords {
  #stderr = '';

  hear(stream: 'stdout' | 'stderr', data: Uint8Array): void {
    if (stream === 'stderr') this.#stderr = (this.#stderr + Buffer.from(data).toString('latin1')).slice(-kept);
  }

  /**
   * The guest has ended its answer, `bodiless` when it has none by its status or by the request's method. Throws when what it
   * gave is a part of it.
   */
  answerEnded(bodiless: boolean): void {
    // With a body it would have come to the end of that.
    if (bodiless && neverSettled.test(this.#stderr)) throw wasmErrors.FUNCTION_NO_ANSWER();
    if (this.#stderr !== '' && unfinished.test(this.#stderr)) throw new Error('its body was not finished');
  }

  /** The guest returned in the middle of its answer's body. */
  unfinished(): SkerryError {
    if (neverSettled.test(this.#stderr)) return wasmErrors.FUNCTION_NO_ANSWER();
    return wasmErrors.FUNCTION_BAD_ANSWER('its body was never finished');
  }

  /** The guest exited with `status` before its answer was complete; `memoryBytes` is its limit. */
  explain(status: string, memoryBytes: number): SkerryError {
    const said = status === '0' ? undefined : [...this.#stderr.matchAll(uncaught)].at(-1)?.[1];
    const noMemory = said === outOfMemory || (status !== '0' && noMemoryForBody.test(this.#stderr));
    if (said === undefined && !noMemory) return wasmErrors.FUNCTION_EXITED(status);
    if (noMemory) return wasmErrors.FUNCTION_MEMORY(formatBytes(memoryBytes));
    return wasmErrors.FUNCTION_THREW();
  }
}
