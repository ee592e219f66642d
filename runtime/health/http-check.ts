import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { endInOneLine } from './one-line.ts';

/** Of an answer that is read, in bytes: the end of a longer one is not waited for (as Kubernetes does). */
const MOST_BODY = 10 * 1024;
const MOST_HEAD = 16 * 1024;
/** Of the body of an answer that says no, in a message; in characters. */
const MOST_SAID = 200;

/** Null: a GET of `target` was answered 200 to 399; a redirection is not followed. Else why not. Takes the socket over. */
export function askOverHttp(socket: Socket, target: string, signal: AbortSignal): Promise<string | null> {
  return new Promise((resolve) => {
    const over = (why: string | null) => {
      resolve(why);
      socket.destroy();
    };
    const asking = request({
      createConnection: () => socket,
      method: 'GET',
      path: target,
      headers: { host: 'localhost', 'user-agent': 'skerry-health-check', accept: '*/*', connection: 'close' },
      maxHeaderSize: MOST_HEAD,
      insecureHTTPParser: false,
      signal,
    });
    asking.on('response', (answer) => {
      for (const event of ['error', 'close']) asking.removeAllListeners(event);
      asking.on('error', () => {});
      void bodyOf(answer).then((body) => over(body === null ? 'its answer broke off' : verdict(answer, body)));
    });
    asking.on('upgrade', (answer) => over(verdict(answer, '')));
    asking.on('error', (error: NodeJS.ErrnoException) =>
      over(`no answer that is HTTP (${error.code ?? error.message})`),
    );
    asking.on('close', () => over('no answer'));
    asking.end();
  });
}

function verdict({ statusCode = 0 }: IncomingMessage, body: string): string | null {
  if (statusCode >= 200 && statusCode < 400) return null;
  return body === '' ? `HTTP status ${statusCode}` : `HTTP status ${statusCode}: ${body}`;
}

/** Its beginning, in one line; null when it broke off. */
function bodyOf(answer: IncomingMessage): Promise<string | null> {
  return new Promise((resolve) => {
    let bytes = 0;
    let text = '';
    const whole = () => resolve(endInOneLine(text.slice(0, MOST_SAID), MOST_SAID));
    answer.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (text.length < MOST_SAID) text += piece.toString('utf8');
      if (bytes >= MOST_BODY) whole();
    });
    answer.on('end', whole);
    answer.on('error', () => resolve(null));
    answer.on('close', () => resolve(null));
  });
}
