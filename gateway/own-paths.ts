/** The node's own answers on the gateway: `/_skerry/healthz` and `/_skerry/readyz`. */
import type { Dispatcher } from './dispatch.ts';
import { gatewayErrors } from './errors.ts';
import type { GatewayExchange } from './exchange.ts';
import { sendProblem } from './problem.ts';

const TEXT = ['content-type', 'text/plain; charset=utf-8', 'cache-control', 'no-store'];

/** Healthy: the process answers. Ready: it takes requests for workloads, so not while it stops. */
export function answerOwn(dispatcher: Pick<Dispatcher, 'stopping'>): (exchange: GatewayExchange) => void {
  return (exchange) => {
    if (exchange.path === '/_skerry/healthz') return exchange.reply.send(200, TEXT, Buffer.from('ok\n'));
    if (exchange.path !== '/_skerry/readyz') return sendProblem(exchange, gatewayErrors.NO_ROUTE());
    if (dispatcher.stopping) return sendProblem(exchange, gatewayErrors.NODE_STOPPING());
    exchange.reply.send(200, TEXT, Buffer.from('ready\n'));
  };
}
