/** What the Exchanges of every protocol have in common. */
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { FlatHeaders, UpgradeOffer } from '../../runtime/exchange.ts';
import type { GatewayExchange, TransferLimits } from '../exchange.ts';
import { sendProblem } from '../problem.ts';
import { nextRequestId } from '../request-id.ts';
import { tellCaller } from './caller.ts';
import type { Front } from './front.ts';
import type { Reply } from './reply.ts';
import type { RequestBody } from './request-body.ts';
import { hostOf } from './request-head.ts';

/** A far deadline until the dispatcher sets the workload's own. */
const NO_DEADLINE = Number.POSITIVE_INFINITY;

export abstract class ListenerExchange implements GatewayExchange {
  readonly id = nextRequestId();
  readonly front: Front;
  readonly method: string;
  readonly scheme: 'http' | 'https';
  readonly authority: string;
  readonly host: string;
  readonly path: string;
  readonly query: string;
  readonly headers: FlatHeaders;
  abstract readonly body: RequestBody | null;
  abstract readonly reply: Reply;
  readonly upgrade: UpgradeOffer | null = null;
  target = '';
  deadline = NO_DEADLINE;
  priority = 0;
  expectedUs = 0;
  maxRequestBytes = Number.POSITIVE_INFINITY;
  maxResponseBytes = Number.POSITIVE_INFINITY;
  aborted = false;
  failure: SkerryError | null = null;
  #onAbort: (() => void) | null = null;

  /** `url`: path and query; `headers`: the client's, to which the gateway's are added. */
  constructor(
    front: Front,
    method: string,
    authority: string,
    url: string,
    headers: FlatHeaders,
    remoteAddress: string | undefined,
  ) {
    this.front = front;
    this.method = method;
    this.scheme = front.scheme;
    this.authority = authority;
    this.host = hostOf(authority);
    const question = url.indexOf('?');
    this.path = question < 0 ? url : url.slice(0, question);
    this.query = question < 0 ? '' : url.slice(question);
    headers.push(
      'x-forwarded-for',
      // The address of a workload is that of its own loopback, which many take for a friend's.
      front.caller === null ? (remoteAddress ?? 'unknown') : 'unknown',
      'x-forwarded-proto',
      front.scheme,
      'x-forwarded-host',
      authority,
      'x-request-id',
      this.id,
    );
    if (front.caller !== null) tellCaller(headers, front.caller);
    this.headers = headers;
  }

  route(target: string, prefix: string, deadline: number, limits: TransferLimits): void {
    this.target = target;
    this.deadline = deadline;
    this.maxRequestBytes = limits.maxRequestBytes;
    this.maxResponseBytes = limits.maxResponseBytes;
    if (prefix !== '') this.headers.push('x-forwarded-prefix', prefix);
  }

  onAbort(callback: () => void): void {
    this.#onAbort = callback;
    if (this.aborted) callback();
  }

  /** The node gives up on the request: answers with the error or breaks the answer off, and ends the work. */
  refuse(error: SkerryError): void {
    if (this.aborted || this.reply.ended) return;
    this.failure = error;
    // The problem is the node's own answer.
    this.maxResponseBytes = Number.POSITIVE_INFINITY;
    sendProblem(this, error);
    this.#abort();
  }

  /** The client has gone, or is as good as gone. */
  leave(): void {
    this.reply.leave();
    this.#abort();
  }

  #abort(): void {
    if (this.aborted) return;
    this.aborted = true;
    this.#onAbort?.();
    this.body?.abandon();
  }
}
