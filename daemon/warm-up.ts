/** The first request of a process pays for code that V8 has not seen yet, some 6 ms: let it be the node's own. */
import { type RequestOptions, request } from 'node:http';
import { request as requestTls } from 'node:https';

/** Nothing waits longer for it, in milliseconds. */
const LIMIT_MS = 500;

/** Asks the gateway for its health. What goes wrong is of no account: others will find it. */
export function warmUp(gatewayUrl: string): Promise<void> {
  const url = new URL('/_skerry/healthz', gatewayUrl);
  // To itself, and nothing is believed of the answer: whom the certificate is for does not matter.
  const options: RequestOptions & { rejectUnauthorized?: boolean } = { agent: false, timeout: LIMIT_MS };
  if (url.protocol === 'https:') options.rejectUnauthorized = false;
  return new Promise((resolve) => {
    const asked = (url.protocol === 'https:' ? requestTls : request)(url, options, (answer) => {
      answer.resume();
      answer.on('close', resolve);
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve());
    asked.end();
  });
}
