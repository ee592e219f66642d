import { Writable } from 'node:stream';
import type { WorkloadLogs } from '../../logs/workload-logs.ts';
import { room } from '../../room.ts';
import type { Revision } from '../../workload/revision.ts';

/** What is written to it is in the log of the revision's workload, is heard, and goes on to `to`, at its pace. */
export function loggedOutput(
  logs: WorkloadLogs,
  { workload, id }: Pick<Revision, 'workload' | 'id'>,
  stream: 'stdout' | 'stderr',
  { to, hear }: { readonly to?: Writable | undefined; readonly hear?: (data: Buffer) => void } = {},
): Writable {
  const log = logs.of(workload);
  return new Writable({
    write(data: Buffer, _encoding, done) {
      log.piece(id, '', stream, data);
      hear?.(data);
      if (!to || to.destroyed || to.write(data)) done();
      else void room(to).then(() => done());
    },
  });
}
