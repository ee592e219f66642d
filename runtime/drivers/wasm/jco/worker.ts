/** The thread that runs guests: one request at a time, for any function whose code it was given. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { Channel } from './channel.ts';
import { Code, serve } from './instance.ts';
import { lockDown } from './lockdown.ts';
import type { ToWorker, WorkerData } from './protocol.ts';

const port = parentPort as MessagePort;
const channel = new Channel(port, (workerData as WorkerData).cells);
const codes = new Map<number, Code>();

port.on('message', (message: ToWorker) => {
  if (message.kind === 'code') codes.set(message.code, new Code(message));
  else if (message.kind === 'drop') codes.delete(message.code);
  else if (message.kind === 'run') channel.post(serve(channel, codes.get(message.code)!, message));
  // Anything else is for a request that has ended.
});

lockDown();
channel.post({ kind: 'ready' });
