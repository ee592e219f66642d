import { lastFailure } from 'skerry:function/outbound';

/*
 * The engine tells every failure of a request in the same words. Here the error says which kind it was; what there is to know
 * beside that, the node writes to the function's log.
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
  const { username, password, host, protocol } = new URL(resource);
  if (protocol !== 'http:' && protocol !== 'https:')
    throw new TypeError(`${protocol} is not a protocol that can be fetched`);
  if (username === '' && password === '') return;
  throw new TypeError(`the URL for ${host} has a user name or password: send them in an Authorization header`);
}

globalThis.Request = new Proxy(Request, {
  construct(target, [resource, ...init], newTarget) {
    check(resource, ...init);
    return Reflect.construct(target, [resource, ...init], newTarget);
  },
});

/** By the kinds of runtime/egress. */
const reasons = {
  'HTTP-request-denied':
    'it is not on the allow-list of the function (--allow HOST[:PORT]), or a header of it is refused',
  'destination-IP-prohibited': 'its name leads to a private address that is not on the allow-list of the function',
  'destination-not-found': 'there is no such name',
  'DNS-error': 'its name could not be resolved',
  'DNS-timeout': 'its name was not resolved in time',
  'destination-unavailable': 'it cannot be reached',
  'destination-IP-unroutable': 'it cannot be reached',
  'connection-refused': 'it refuses connections',
  'connection-timeout': 'it did not take the connection in time',
  'connection-read-timeout': 'it did not go on in time',
  'connection-write-timeout': 'it did not take the request in time',
  'connection-terminated': 'the connection broke off',
  'connection-limit-reached': 'the function has made as many requests as one request may, in all or at once',
  'TLS-protocol-error': 'it offers no TLS that can be used',
  'TLS-certificate-error': 'its certificate is not one to trust',
  'TLS-alert-received': 'it refused the TLS connection',
  'HTTP-request-body-size': 'the body of the request is larger than it may be, or not as long as it says',
  'HTTP-request-header-section-size': 'the headers of the request are larger than they may be',
  'HTTP-request-URI-too-long': 'the URL is longer than it may be',
  'HTTP-request-URI-invalid': 'its URL cannot be sent',
  'HTTP-response-header-section-size': 'the headers of its answer are larger than they may be',
  'HTTP-response-body-size': 'its answer is larger than it may be',
  'HTTP-response-incomplete': 'its answer broke off',
  'HTTP-response-timeout': 'it did not answer in time',
  'HTTP-protocol-error': 'its answer is not HTTP that can be read',
};

function originOf(resource) {
  return new URL((resource instanceof Request ? resource : new Request(resource)).url).origin;
}

globalThis.fetch = async function fetch(resource, ...init) {
  check(resource, ...init);
  try {
    return await send(resource, ...init);
  } catch (error) {
    if (!(error instanceof TypeError && unexplained.test(error.message))) throw error;
    const origin = originOf(resource);
    const kind = lastFailure(origin);
    const why = reasons[kind] ?? 'the request failed';
    throw new TypeError(
      `${origin} was not fetched: ${why}${kind === undefined ? '' : ` [${kind}]`}; see the log of the function`,
      {
        cause: error,
      },
    );
  }
};
