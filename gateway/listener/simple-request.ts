/**
 * Requests whose head is beyond doubt and came whole in one piece: most of them. What is not simple is no error here, it
 * goes to Node's parser, which knows all of HTTP/1 and answers what is wrong. So nothing may be accepted here that Node
 * would read in another way; whatever is in doubt is left to it.
 */

export interface SimpleRequest {
  readonly method: string;
  /** Path and query as the client wrote them; it begins with `/`. */
  readonly url: string;
  /** Names as the client wrote them, and values, in turn. */
  readonly rawHeaders: string[];
  /** It asks to go on as a WebSocket (RFC 6455, 4.1). */
  readonly webSocket: boolean;
}

/** Larger heads are left to Node, in bytes. */
const MAX_BYTES = 8 * 1024;
/** Only requests that have no body as a rule, and only a path (RFC 9112, 3.2.1) of the characters of a URL. */
const REQUEST_LINE = /^(GET|HEAD|OPTIONS|DELETE) (\/[\x21\x22\x24-\x7e]*) HTTP\/1\.1$/;
/** A byte that is no plain text, or half of a line's end. */
const DOUBTFUL = /[^\t\x20-\x7e\r\n]|\r(?!\n)|(?<!\r)\n/;
/** RFC 9110, 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const SPACE_AROUND = /^[\t ]|[\t ]$/;

/** Headers that say how a message is framed or how its connection goes on: left to Node, whatever their value. */
const FOR_NODE = new Set([
  'connection',
  'content-length',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** A name that means nothing to the connection. */
function isPlain(name: string): boolean {
  return TOKEN.test(name) && !FOR_NODE.has(name.toLowerCase());
}

/** `Connection: keep-alive` says what HTTP/1.1 does anyway. */
function keepsAlive(name: string, value: string): boolean {
  return name.toLowerCase() === 'connection' && value.toLowerCase() === 'keep-alive';
}

/** One of the two headers with which a client asks for a WebSocket. */
function asksForWebSocket(name: string, value: string): boolean {
  switch (name.toLowerCase()) {
    case 'connection':
      return /^(?:keep-alive, *)?upgrade$/i.test(value);
    case 'upgrade':
      return value.toLowerCase() === 'websocket';
    default:
      return false;
  }
}

/** The one request that `chunk` is; null when it is not one simple request and nothing else. */
export function readSimpleRequest(chunk: Buffer): SimpleRequest | null {
  if (chunk.length > MAX_BYTES) return null;
  const text = chunk.toString('latin1');
  if (!text.endsWith('\r\n\r\n') || DOUBTFUL.test(text)) return null;
  const line = text.indexOf('\r\n');
  const request = REQUEST_LINE.exec(text.slice(0, line));
  if (!request) return null;
  const rawHeaders: string[] = [];
  let asked = 0;
  // Up to the empty line, which must be the last: after it would be a body, or the next request.
  const end = text.length - 2;
  for (let at = line + 2; at < end; ) {
    const next = text.indexOf('\r\n', at);
    const colon = text.indexOf(':', at);
    if (next === at || colon < 0 || colon > next) return null;
    const name = text.slice(at, colon);
    // Nearly always one space stands before a value, and none behind.
    let value = text.slice(text.charCodeAt(colon + 1) === 0x20 ? colon + 2 : colon + 1, next);
    if (SPACE_AROUND.test(value)) value = value.replace(/^[\t ]+/, '').replace(/[\t ]+$/, '');
    if (!isPlain(name) && !keepsAlive(name, value)) {
      if (!asksForWebSocket(name, value)) return null;
      asked++;
    }
    rawHeaders.push(name, value);
    at = next + 2;
  }
  const method = request[1] as string;
  // Both of them and once each, or it is not for us to say what is meant.
  if (asked > 0 && (asked !== 2 || method !== 'GET')) return null;
  return { method, url: request[2] as string, rawHeaders, webSocket: asked === 2 };
}
