// These come first: they change what the function's module sees while it runs its top level.
import './realm.js';
import './prelude.js';
import './fetch.js';
import './top-level.js';

import { getAll } from 'wasi:config/store@0.2.0-rc.1';
import * as module from './function.js';
import { listeners } from './prelude.js';
import { beginServing } from './top-level.js';

function handlerOf(exported) {
  if (typeof exported?.fetch === 'function') return (...args) => exported.fetch(...args);
  return typeof exported === 'function' ? exported : null;
}

let configuration;

/** The values of `--env` and `--secret`. Read at the first request: while the component is built there are none. */
function env() {
  configuration ??= Object.fromEntries(getAll());
  return configuration;
}

const handler = handlerOf(module.default);

// A function that registers a listener and exports a handler too (Hono's `fire()`) is served by its listener.
if (listeners.count === 0 && handler !== null) {
  globalThis.addEventListener('fetch', (event) => {
    const context = { waitUntil: (promise) => event.waitUntil(promise), passThroughOnException() {} };
    event.respondWith((async () => handler(event.request, env(), context))());
  });
}

beginServing();

// The builder looks for this line: without it the top level never came to its end.
console.log(listeners.count > 0 || handler !== null ? 'skerry: ready' : 'skerry: no handler');
