/** Takes an order, answers at once, and delivers the order to a webhook when the client is gone already. */
interface Environment {
  readonly WEBHOOK: string;
}

interface Context {
  waitUntil(work: Promise<unknown>): void;
}

export default {
  async fetch(request: Request, env: Environment, context: Context): Promise<Response> {
    const order = await request.text();
    context.waitUntil(deliver(order, env.WEBHOOK));
    return new Response('accepted\n', { status: 202 });
  },
};

async function deliver(order: string, webhook: string): Promise<void> {
  const answer = await fetch(webhook, { method: 'POST', body: order });
  console.log(`delivered: the webhook answered ${answer.status}`);
}
