/** The body of the request that is served, as it comes from the main thread. */
import type { Channel } from '../channel.ts';
import { bodyWindow, type RunMessage } from '../protocol.ts';
import { BodyStream, type Break } from './body-stream.ts';

/** Its sender has gone, or has broken off. */
export const brokenOff: Break = {
  code: { tag: 'connection-terminated' },
  why: 'the client broke off in the middle of the request',
};

export function requestBody(channel: Channel, { run, body: sent, trailers }: RunMessage): BodyStream {
  const upstream = {
    read: (bytes: number) => channel.post({ kind: 'read', run, bytes }),
    discarded(ended: boolean) {
      if (!ended) channel.post({ kind: 'unread', run });
    },
    gone: () => (channel.gone(run) ? brokenOff : null),
  };
  const body = new BodyStream(upstream, bodyWindow);
  if (sent instanceof Uint8Array) body.push(sent);
  if (sent !== 'stream') body.end(trailers);
  return body;
}
