/** The first answer of an agent, in a stream that may begin with the rest of what another node was told. */
import type { Duplex } from 'node:stream';
import { agentErrors } from './errors.ts';
import { Malformed } from './fields.ts';
import { type Frame, FrameParser, HEADER_BYTES, NotFrames } from './frames.ts';
import { decodeHello, type Hello, NONCE_BYTES, told } from './messages.ts';

/** Of the answer's frame, in bytes. */
const MOST_ANSWER = 256;
/** What may come before it, in bytes: what an agent had to say to a node that left. */
const MOST_BEFORE = 2 * 2 ** 20;

/**
 * Resolves with the answer to this nonce and what came behind it. The stream is paused then, without listeners.
 * Throws AGENT_SILENT, AGENT_NONSENSE, AGENT_GONE.
 */
export function findHello(
  stream: Duplex,
  nonce: Uint8Array,
  timeoutMs: number,
): Promise<{ hello: Hello; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let held: Buffer = Buffer.alloc(0);
    let skipped = 0;
    const over = (finish: () => void) => {
      clearTimeout(timer);
      stream.pause();
      stream.off('data', take).off('error', failed).off('end', gone).off('close', gone);
      finish();
    };
    const take = (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      try {
        const found = helloIn(held, nonce);
        if (found) return over(() => resolve(found));
      } catch (error) {
        if (!(error instanceof NotFrames || error instanceof Malformed)) throw error;
        return over(() => reject(agentErrors.AGENT_NONSENSE(error.message)));
      }
      // The nonce may have begun.
      const start = held.indexOf(nonce);
      const keep = start >= 0 ? held.length - start + HEADER_BYTES : HEADER_BYTES + NONCE_BYTES;
      const drop = Math.max(0, held.length - keep);
      skipped += drop;
      held = held.subarray(drop);
      if (skipped > MOST_BEFORE || held.length > MOST_BEFORE) {
        over(() => reject(agentErrors.AGENT_NONSENSE('it talks without end and does not greet')));
      }
    };
    const failed = (error: Error) => over(() => reject(agentErrors.AGENT_GONE().because(error)));
    const gone = () => over(() => reject(agentErrors.AGENT_GONE()));
    const timer = setTimeout(() => over(() => reject(agentErrors.AGENT_SILENT('its greeting', timeoutMs))), timeoutMs);
    stream.on('data', take).on('error', failed).on('end', gone).on('close', gone);
  });
}

/** Nobody else can have said the nonce: where it is, the answer begins a header before it. */
function helloIn(held: Buffer, nonce: Uint8Array): { hello: Hello; rest: Buffer } | null {
  const start = held.indexOf(nonce) - HEADER_BYTES;
  if (start < 0) return null;
  let frame: Frame | null = null;
  const parser = new FrameParser((each) => {
    frame ??= { ...each, payload: Buffer.from(each.payload) };
  });
  const length = held.readUInt32LE(start + 4) + HEADER_BYTES + 1;
  if (length > MOST_ANSWER) throw new Malformed('a greeting that is too long');
  parser.push(held.subarray(start, start + length));
  // Assigned in the handler, which the compiler does not see.
  const whole = frame as Frame | null;
  if (whole === null) return null;
  if (whole.kind !== told.hello) throw new Malformed('another answer than a greeting');
  const hello = decodeHello(whole.payload, nonce);
  if (hello === null) throw new Malformed('a greeting for somebody else');
  return { hello, rest: Buffer.from(held.subarray(start + length)) };
}
