/** Calls of workloads to each other: connections that their networks hand over, served as the gateway serves its own. */
import type { Duplex } from 'node:stream';
import type { Call, Neighbours } from '../runtime/network/neighbours.ts';
import type { Dispatcher } from './dispatch.ts';
import { gatewayErrors } from './errors.ts';
import type { GatewayExchange } from './exchange.ts';
import { hopsOf, MOST_HOPS } from './listener/caller.ts';
import { makeFront } from './listener/front.ts';
import { type HandedOver, serveHandedOver } from './listener/listen.ts';
import { sendProblem } from './problem.ts';

/** What serves the connections of one workload to another, while there are any. */
interface Door {
  readonly listener: HandedOver;
  connections: number;
}

export class GatewayNeighbours implements Neighbours {
  readonly httpPort = 80;
  /** By caller and callee. */
  readonly #doors = new Map<string, Door>();
  #dispatcher: Dispatcher | null = null;

  /** To be called before a workload starts: the dispatcher is made later than what the workloads run in. */
  attach(dispatcher: Dispatcher): void {
    this.#dispatcher = dispatcher;
  }

  serve(connection: Duplex, call: Call): void {
    const name = `${call.caller} ${call.callee}`;
    const door = this.#doors.get(name) ?? this.#open(name, call);
    door.connections++;
    // Whoever serves it hears of them.
    connection.on('error', () => {});
    connection.on('close', () => {
      door.connections--;
      if (door.connections > 0) return;
      this.#doors.delete(name);
      door.listener.close();
    });
    door.listener.accept(connection);
    connection.resume();
  }

  connect({ callee }: Call, port: number, signal: AbortSignal): Promise<Duplex> {
    return this.#calls.connectTo(callee, port, signal);
  }

  #open(name: string, { caller, callee }: Call): Door {
    const dispatch = (exchange: GatewayExchange) => {
      const hops = hopsOf(exchange.headers);
      if (hops > MOST_HOPS) sendProblem(exchange, gatewayErrors.LOOP_DETECTED(hops));
      else this.#calls.dispatchCall(callee, exchange);
    };
    // What is the node's own on the gateway is nobody's here.
    const own = (exchange: GatewayExchange) => sendProblem(exchange, gatewayErrors.NO_ROUTE());
    const listener = serveHandedOver({ dispatch, own }, makeFront('http', undefined, caller));
    const door = { listener, connections: 0 };
    this.#doors.set(name, door);
    return door;
  }

  get #calls(): Dispatcher {
    if (!this.#dispatcher) throw new Error('a workload calls before the node is made');
    return this.#dispatcher;
  }
}
