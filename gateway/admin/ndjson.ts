import type { Context } from 'hono';
import { stream } from 'hono/streaming';
import { asSkerryError } from '../../errors/skerry-error.ts';
import { problemBody } from '../problem.ts';
import { nextRequestId } from '../request-id.ts';

/** @param part of the step, in bytes, where that is known */
export type TellProgress = (step: string, part?: { readonly done: number; readonly total: number }) => void;

/** Answers with a line of JSON for each step of a work, and one for its outcome. */
export function ndjson(c: Context, work: (progress: TellProgress, signal: AbortSignal) => Promise<object>): Response {
  c.header('content-type', 'application/x-ndjson');
  return stream(c, async (out) => {
    const gone = new AbortController();
    out.onAbort(() => gone.abort());
    const say = (event: object) => out.write(`${JSON.stringify(event)}\n`);
    try {
      await say(await work((step, part) => void say({ event: 'progress', step, part }), gone.signal));
    } catch (reason) {
      await say({ event: 'failed', problem: JSON.parse(problemBody(asSkerryError(reason), nextRequestId())) });
    }
  });
}
