/*
 * While the component is built there is no host: the engine would trap, without a message, where it asks one for
 * randomness or the monotonic clock. Libraries do that as they load, so that the top level gets stand-ins.
 */
let serving = false;
const restore = [];

/** Called when the top level has ended: from here on everything is the engine's own. */
export function beginServing() {
  serving = true;
  for (const undo of restore) undo();
}

/** A function that some module kept from its top level still finds the real one when it serves. */
function standIn(owner, name, substitute) {
  const original = owner[name];
  const descriptor = Object.getOwnPropertyDescriptor(owner, name);
  function either(...args) {
    return serving ? original.apply(this, args) : substitute.apply(this, args);
  }
  Object.defineProperty(owner, name, { value: either, writable: true, configurable: true });
  restore.push(() => {
    if (owner[name] !== either) return; // replaced by the function itself
    if (descriptor) Object.defineProperty(owner, name, descriptor);
    else delete owner[name];
  });
}

// Whatever is drawn here is the same for every request ever after: good enough to spread things, never a secret.
let state = Date.now() >>> 0;
standIn(Math, 'random', () => {
  // mulberry32, by Tommy Ettinger (public domain)
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
});

standIn(performance, 'now', () => 0);

for (const name of ['getRandomValues', 'randomUUID']) {
  standIn(crypto, name, () => {
    throw new TypeError(
      `crypto.${name} can only be used while a request is handled: at the top level its result would be the same for every request`,
    );
  });
}
