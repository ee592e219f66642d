/** The one request that this thread serves at the moment: the shims' view of it. */
import type { Channel } from '../channel.ts';
import type { CodeMessage, RunMessage, ToWorker } from '../protocol.ts';
import type { Answer } from './answer.ts';
import type { BodyStream } from './body-stream.ts';
import { Calls } from './calls.ts';
import { RunFailure } from './failure.ts';
import { Output } from './output.ts';
import { brokenOff } from './request-body.ts';

export class CurrentRun {
  readonly channel: Channel;
  readonly number: number;
  readonly message: RunMessage;
  readonly body: BodyStream;
  readonly answer: Answer;
  readonly output: Output;
  readonly calls: Calls;
  /** Set once by what ended the run, so that a guest that catches the unwinding cannot go on. */
  failure: RunFailure | null = null;

  constructor(channel: Channel, message: RunMessage, body: BodyStream, answer: Answer, { outbound }: CodeMessage) {
    this.channel = channel;
    this.number = message.run;
    this.message = message;
    this.body = body;
    this.answer = answer;
    this.output = new Output(channel, message.run);
    this.calls = new Calls(channel, message.run, outbound, this.output);
  }

  get gone(): boolean {
    return this.channel.gone(this.number);
  }

  /** To be thrown: ends the run, unwinds the guest now and at every later call of the host that it still makes. */
  failed(failure: RunFailure['failure']): RunFailure {
    this.failure ??= new RunFailure(failure);
    return this.failure;
  }

  /** Takes in what has arrived. */
  receive(): void {
    for (let message = this.channel.take(); message; message = this.channel.take()) this.accept(message);
  }

  accept(message: ToWorker): void {
    if (!('run' in message) || message.run !== this.number) return;
    if (message.kind === 'chunk') this.body.push(message.data);
    else if (message.kind === 'end') this.body.end(message.trailers);
    else if (message.kind === 'broken') this.body.fail(brokenOff);
    else if (message.kind === 'outbound' || message.kind === 'keyvalue') this.calls.hear(message);
  }
}

let current: CurrentRun | null = null;

export function setCurrentRun(run: CurrentRun | null): void {
  current = run;
}

/** The run, for a call from the guest. Throws again what has ended it already. */
export function currentRun(): CurrentRun {
  if (!current) throw new Error('a call to the host outside a request');
  if (current.failure) throw current.failure;
  return current;
}

/** The run, or null while an instance is made ready ahead of its request. */
export function currentRunOrNull(): CurrentRun | null {
  return current;
}
