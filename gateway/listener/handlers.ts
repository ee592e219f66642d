/** Whom the listener hands its Exchanges to. */
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { GatewayExchange } from '../exchange.ts';
import { sendProblem } from '../problem.ts';

/** Paths below this are the node's own; `own` answers them. */
const OWN_PREFIX = '/_skerry/';

export interface Handlers {
  dispatch(exchange: GatewayExchange): void;
  own(exchange: GatewayExchange): void;
}

/** `fault`: why the listener itself refuses the request. */
export function hand(exchange: GatewayExchange, fault: SkerryError | null, handlers: Handlers): void {
  if (fault) sendProblem(exchange, fault);
  else if (exchange.path.startsWith(OWN_PREFIX)) handlers.own(exchange);
  else handlers.dispatch(exchange);
}
