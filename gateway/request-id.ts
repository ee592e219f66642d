import { randomBytes } from 'node:crypto';

/** A random start for this process and a counter: unique, and much cheaper than randomness for each request. */
const prefix = randomBytes(8).toString('hex');
let counter = 0;

/** The id of a request: 16 hex digits of this process, `-`, and a number in base 36. */
export function nextRequestId(): string {
  counter++;
  return `${prefix}-${counter.toString(36)}`;
}
