/*
 * The engine tells every failure of a request in the same words. Why it failed is known to the node alone, which writes it
 * to the function's log; here the error says where to look, and for which request.
 */
const send = globalThis.fetch;
const unexplained = /^NetworkError/;
/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const forbidden = /^(?:connect|trace|track)$/i;

/** What the Fetch standard refuses with a TypeError; the engine would send a bad method as GET, and a password as it is. */
function check(resource, init) {
  const method = init?.method;
  if (method !== undefined && (!token.test(method) || forbidden.test(method))) {
    throw new TypeError(`${JSON.stringify(String(method))} is not a method that can be sent`);
  }
  if (resource instanceof Request) return;
  const { username, password, host } = new URL(resource);
  if (username === '' && password === '') return;
  throw new TypeError(`the URL for ${host} has a user name or password: send them in an Authorization header`);
}

globalThis.Request = new Proxy(Request, {
  construct(target, [resource, ...init], newTarget) {
    check(resource, ...init);
    return Reflect.construct(target, [resource, ...init], newTarget);
  },
});

function originOf(resource) {
  return new URL((resource instanceof Request ? resource : new Request(resource)).url).origin;
}

globalThis.fetch = async function fetch(resource, ...init) {
  check(resource, ...init);
  try {
    return await send(resource, ...init);
  } catch (error) {
    if (!(error instanceof TypeError && unexplained.test(error.message))) throw error;
    const why = 'it is not on the allow-list of the function (--allow HOST[:PORT]), or it cannot be reached';
    throw new TypeError(`${originOf(resource)} was not fetched: ${why}; the log of the function says which`, {
      cause: error,
    });
  }
};
