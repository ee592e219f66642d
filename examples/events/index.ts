/** Sends the time as server-sent events until the client leaves: `/?every=250` says how often, in milliseconds. */
const encoder = new TextEncoder();

export default {
  fetch(request: Request): Response {
    const every = Number(new URL(request.url).searchParams.get('every') ?? 1000);
    const events = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, every));
        controller.enqueue(encoder.encode(`id: ${crypto.randomUUID()}\ndata: ${new Date().toISOString()}\n\n`));
      },
    });
    return new Response(events, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' } });
  },
};
