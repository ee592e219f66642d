/** A container that does what it is told over HTTP: a shell script comes as the body, what it prints is the answer. */
import type { Instance } from '../../runtime/driver.ts';
import { makeExchange } from './exchange.ts';
import { busyboxLayer, layerOf } from './image-builder.ts';
import { file, folder } from './tar-writer.ts';

const RUN = '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\nPATH=/bin\nexec /bin/busybox sh 2>&1\n';

export const shellLayers = () => [
  busyboxLayer(),
  layerOf([folder('www/'), folder('www/cgi-bin/'), file('www/cgi-bin/run', RUN, { mode: 0o755 })]),
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
