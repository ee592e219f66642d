import type { EgressClient, EgressSession } from '../../egress/egress.ts';
import { type GuestEnd, OutboundRequest, type OutboundStart } from './outbound-request.ts';

/** The outbound requests that come of one served request, by the numbers that its engine gives them. */
export class OutboundRequests {
  readonly #client: EgressClient;
  readonly #deadline: number;
  readonly #note: (text: string) => void;
  readonly #open = new Map<number, OutboundRequest>();
  #session: EgressSession | null = null;

  /** `deadline` is that of the request on the clock of `performance.now()`; `note` takes lines for the function's log. */
  constructor(client: EgressClient, deadline: number, note: (text: string) => void) {
    this.#client = client;
    this.#deadline = deadline;
    this.#note = note;
  }

  send(number: number, start: OutboundStart, guest: GuestEnd): void {
    this.#session ??= this.#client.open(this.#deadline);
    const request = new OutboundRequest(start, guest, this.#note, () => this.#open.delete(number));
    this.#open.set(number, request);
    request.send(this.#session);
  }

  /** One that is not over. */
  get(number: number): OutboundRequest | undefined {
    return this.#open.get(number);
  }

  /** Gives up what is under way. */
  close(): void {
    for (const request of this.#open.values()) request.cancel();
    this.#session?.close();
  }
}
