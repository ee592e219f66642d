/*
 * The engine ends an answer cleanly when the stream of its body fails, so that a cut answer looks whole. Streams made
 * in JavaScript are therefore watched on their way out. Those that come from the host (the body of a request, or of an
 * answer that was fetched) stay as they are: the engine passes them on without running any JavaScript.
 */
import { fail } from './failure.js';

const fromHost = new WeakSet();
/** Response made here → whether it is being sent. */
const made = new WeakMap();

/** From here on a failure of the body of `response` is a failure of the function. */
export function beginSending(response) {
  const sending = made.get(response);
  if (sending) sending.now = true;
}

function watched(stream, sending) {
  const reader = stream.getReader();
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) return controller.close();
          if (!(value instanceof Uint8Array)) throw new TypeError('a piece of the body is not a Uint8Array');
          controller.enqueue(value);
        } catch (error) {
          if (sending.now) fail(error);
          throw error;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

function noteFromHost(prototype, isFromHost) {
  const descriptor = Object.getOwnPropertyDescriptor(prototype, 'body');
  Object.defineProperty(prototype, 'body', {
    ...descriptor,
    get() {
      const stream = descriptor.get.call(this);
      if (stream && isFromHost(this)) fromHost.add(stream);
      return stream;
    },
  });
}

const requests = new WeakSet();

/** Notes the request of an event: the body of any other request was made in JavaScript. */
export function noteRequest(request) {
  requests.add(request);
}

noteFromHost(Request.prototype, (request) => requests.has(request));
noteFromHost(Response.prototype, (response) => !made.has(response));

globalThis.Response = new Proxy(Response, {
  construct(target, [body, ...rest], newTarget) {
    const sending = { now: false };
    const watch = body instanceof ReadableStream && !fromHost.has(body) && !body.locked;
    const response = Reflect.construct(target, [watch ? watched(body, sending) : body, ...rest], newTarget);
    made.set(response, sending);
    return response;
  },
});
