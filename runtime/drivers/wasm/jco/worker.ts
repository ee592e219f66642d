/** The thread that runs guests: one request at a time, for any function whose code it was given. */
import { readlinkSync } from 'node:fs';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { Channel } from './channel.ts';
import { evaluate, type Instantiate } from './glue.ts';
import { Code, serve } from './instance.ts';
import { lockDown } from './lockdown.ts';
import { MemoryPool } from './memory-pool.ts';
import type { CodeMessage, ToWorker, WorkerData } from './protocol.ts';

const port = parentPort as MessagePort;
const channel = new Channel(port, (workerData as WorkerData).cells);
const codes = new Map<number, Code>();
const memories = new MemoryPool((bytes) => channel.kept(bytes));

port.on('message', (message: ToWorker) => {
  if (message.kind === 'code') codes.set(message.code, new Code(message, instantiateOf(message)));
  else if (message.kind === 'drop') drop(message.code);
  else if (message.kind === 'run') serve(channel, codes.get(message.code)!, message, memories);
  // Anything else is for a request that has ended.
});

function drop(number: number): void {
  for (const { memory } of codes.get(number)?.message.modules ?? []) if (memory) memories.forget(memory);
  codes.delete(number);
}

/** The generated code of its component: evaluated here, or shared with a function that came before. */
function instantiateOf({ component, glue }: CodeMessage): Instantiate {
  if (glue !== null) return evaluate(glue, component.slice(0, 19));
  for (const { message, instantiate } of codes.values()) if (message.component === component) return instantiate;
  throw new Error('a function without code');
}

function threadId(): number {
  try {
    // PID/task/TID
    return Number(readlinkSync('/proc/thread-self').split('/')[2]);
  } catch {
    return 0;
  }
}

const thread = threadId();
lockDown();
channel.post({ kind: 'ready', thread });
