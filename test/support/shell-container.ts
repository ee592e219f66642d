/**
 * A container that does what it is told over HTTP: at /cgi-bin/run a shell script comes as the body, and what it prints is
 * the answer; /cgi-bin/env tells what the request was.
 */
import type { Instance } from '../../runtime/driver.ts';
import { makeExchange } from './exchange.ts';
import { busyboxLayer, layerOf } from './image-builder.ts';
import { file, folder } from './tar-writer.ts';

const RUN = '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\nPATH=/bin\nexec /bin/busybox sh 2>&1\n';
const ENVIRONMENT = RUN.replace('sh 2>&1', 'env');

export const shellLayers = () => [
  busyboxLayer(),
  layerOf([
    folder('www/'),
    folder('www/cgi-bin/'),
    file('www/cgi-bin/run', RUN, { mode: 0o755 }),
    file('www/cgi-bin/env', ENVIRONMENT, { mode: 0o755 }),
  ]),
];

/** `port`: where it listens, on all addresses. */
export const shellConfig = (port = 8080) => ({
  Cmd: ['httpd', '-f', '-p', String(port), '-h', '/www'],
  ExposedPorts: { [`${port}/tcp`]: {} },
});

/** What a script prints inside, both streams together. */
export async function inside(instance: Instance, script: string): Promise<string> {
  const headers = ['content-length', String(Buffer.byteLength(script))];
  const { exchange, answer } = makeExchange({
    method: 'POST',
    target: '/cgi-bin/run',
    body: script,
    headers,
    deadlineMs: 60_000,
  });
  await instance.handle(exchange);
  return (await answer).body.toString();
}

/** `at NAME`: its address. `say NAME PORT`: what is answered to one line there. */
export const TOOLS = `
at() { busybox nslookup -type=a "$1" | busybox awk '/^Address: / { print $2 }'; }
say() { echo hi | busybox timeout 10 busybox nc "$(at $1)" $2; }
`;
