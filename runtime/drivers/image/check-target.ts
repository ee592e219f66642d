/** What runs an image, as its health checks see it. */
import { Readable, Writable } from 'node:stream';
import type { CheckTarget } from '../../health/run-check.ts';
import type { InnerSockets } from '../../network/inner-sockets.ts';
import type { Sandbox } from './instance.ts';

export function checkTarget(sandbox: Pick<Sandbox, 'exec'>, sockets: InnerSockets): CheckTarget {
  return {
    connect: (port, timeoutMs) => sockets.connect(port, timeoutMs),
    exec(command, output, signal) {
      const taking = () =>
        new Writable({
          write(data: Buffer, _encoding, done) {
            output(data);
            done();
          },
        });
      const streams = { stdin: Readable.from([]), stdout: taking(), stderr: taking() };
      return sandbox.exec(command, streams, signal);
    },
  };
}
