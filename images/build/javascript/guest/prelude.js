import { exit } from 'wasi:cli/exit@0.2.10';

/** How many listeners for requests were registered. */
export const listeners = { count: 0 };

const addEventListener = globalThis.addEventListener;
globalThis.addEventListener = (type, listener, ...options) => {
  if (type !== 'fetch') return addEventListener(type, listener, ...options);
  listeners.count++;
  const listen = typeof listener === 'function' ? listener : (event) => listener.handleEvent(event);
  return addEventListener(type, (event) => {
    checkAnswersTo(event);
    try {
      return listen.call(globalThis, event);
    } catch (error) {
      return fail(error);
    }
  });
};

/**
 * Ends the instance, so that the node knows that the function failed and says so to the client. The engine by itself
 * would answer 500 with an empty body, which the node could not tell from an answer that the function chose.
 */
function fail(error) {
  const stack = typeof error?.stack === 'string' ? `\n${error.stack.trimEnd()}` : '';
  console.error(`Uncaught ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}${stack}`);
  exit({ tag: 'err' });
}

let original;

/** Makes `respondWith` of this engine's events end in `fail` when what it was given is rejected or no Response. */
function checkAnswersTo(event) {
  if (original) return;
  const prototype = Object.getPrototypeOf(event);
  original = prototype.respondWith;
  prototype.respondWith = function (answer) {
    const checked = Promise.resolve(answer).then((response) => {
      if (response instanceof Response) return response;
      throw new TypeError('the function answered with something that is not a Response');
    });
    return original.call(this, checked.catch(fail));
  };
}
