import { beginSending, noteRequest } from './bodies.js';
import { fail } from './failure.js';

/** How many listeners for requests were registered. */
export const listeners = { count: 0 };

const addEventListener = globalThis.addEventListener;
globalThis.addEventListener = (type, listener, ...options) => {
  if (type !== 'fetch') return addEventListener(type, listener, ...options);
  listeners.count++;
  const listen = typeof listener === 'function' ? listener : (event) => listener.handleEvent(event);
  return addEventListener(type, (event) => {
    checkAnswersTo(event);
    noteRequest(event.request);
    try {
      return listen.call(globalThis, event);
    } catch (error) {
      return fail(error);
    }
  });
};

/** The host takes no other Content-Length, and the engine would send an answer that never ends. */
function checkLength(length) {
  if (length === null || /^\d+$/.test(length)) return;
  throw new TypeError(`the Content-Length of the answer is not a number: ${JSON.stringify(length)}`);
}

let original;

/** Makes `respondWith` of this engine's events end in `fail` when what it was given is rejected or no Response. */
function checkAnswersTo(event) {
  if (original) return;
  const prototype = Object.getPrototypeOf(event);
  original = prototype.respondWith;
  prototype.respondWith = function (answer) {
    const checked = Promise.resolve(answer).then((response) => {
      if (!(response instanceof Response)) {
        throw new TypeError('the function answered with something that is not a Response');
      }
      checkLength(response.headers.get('content-length'));
      beginSending(response);
      return response;
    });
    return original.call(this, checked.catch(fail));
  };
}
