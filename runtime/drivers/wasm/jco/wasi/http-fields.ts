/** wasi:http/types.fields: headers and trailers. */
import type { FlatHeaders } from '../../../../exchange.ts';
import { HostTrap } from './failure.ts';
import { Handle } from './handle.ts';

/** Names that are the connection's own, or that the node sets: the list of wasmtime-wasi-http, so that both engines agree. */
const forbidden = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'host',
  'http2-settings',
]);

/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110, section 5.5: no control characters except the tab. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const badValue = /[\x00-\x08\x0a-\x1f\x7f]/;

/** Bytes of one Fields, counted as the native engine counts them: each name once, each value, and their keeping. */
const fieldsLimit = 48 * 1024;
const nameKeeping = 32;
const valueKeeping = 40;

const invalid = { tag: 'invalid-syntax' } as const;
const refused = { tag: 'forbidden' } as const;
const immutable = { tag: 'immutable' } as const;

const contentLength = 'content-length';
/** RFC 9110, section 8.6; more than 15 digits are no length that a number can hold. */
const digits = /^\d{1,15}$/;

type Entry = [name: string, value: Uint8Array];

export class Fields extends Handle {
  /** Names in lower case and values as Latin-1, in turn. */
  #flat: FlatHeaders = [];
  #bytes = 0;
  #immutable = false;

  static fromList(entries: readonly Entry[]): Fields {
    const fields = new Fields();
    for (const [name, value] of entries) fields.append(name, value);
    return fields;
  }

  /** What came from outside: not to be changed by the guest, without the names that are not its business. */
  static received(flat: FlatHeaders): Fields {
    const fields = new Fields();
    for (let i = 0; i < flat.length; i += 2) {
      const name = flat[i]!.toLowerCase();
      if (forbidden.has(name)) continue;
      fields.#flat.push(name, flat[i + 1]!);
      fields.#bytes += name.length + nameKeeping + flat[i + 1]!.length + valueKeeping;
    }
    fields.chargeReceived(fields.#bytes);
    fields.#immutable = true;
    return fields;
  }

  /** What it has the host keep, in bytes. */
  static bytes(fields: Fields): number {
    return fields.#bytes;
  }

  static flat(fields: Fields): FlatHeaders {
    return fields.#flat;
  }

  /** What they declare; null when they do not. There is one Content-Length at most, and it is a number. */
  static contentLength(fields: Fields): number | null {
    const flat = fields.#flat;
    for (let i = 0; i < flat.length; i += 2) if (flat[i] === contentLength) return Number(flat[i + 1]);
    return null;
  }

  /** The same entries under a handle of their own, not to be changed. */
  static view(fields: Fields): Fields {
    const view = new Fields();
    view.#flat = fields.#flat;
    // It keeps them even when the message has gone.
    view.#hold(fields.#bytes);
    view.#immutable = true;
    return view;
  }

  /** From here on it belongs to a message. */
  static freeze(fields: Fields): Fields {
    fields.#immutable = true;
    return fields;
  }

  get(name: string): Uint8Array[] {
    const key = name.toLowerCase();
    const values: Uint8Array[] = [];
    for (let i = 0; i < this.#flat.length; i += 2) {
      if (this.#flat[i] === key) values.push(bytesOf(this.#flat[i + 1]!));
    }
    return values;
  }

  has(name: string): boolean {
    const key = name.toLowerCase();
    for (let i = 0; i < this.#flat.length; i += 2) if (this.#flat[i] === key) return true;
    return false;
  }

  set(name: string, values: readonly Uint8Array[]): void {
    const key = this.#key(name);
    if (key === contentLength && values.length > 1) throw invalid;
    const texts = values.map((value) => valueText(key, value));
    this.#remove(key);
    for (const text of texts) this.#add(key, text);
  }

  delete(name: string): void {
    this.#remove(this.#key(name));
  }

  append(name: string, value: Uint8Array): void {
    const key = this.#key(name);
    const text = valueText(key, value);
    // Two lengths leave open which one holds.
    if (key === contentLength && this.has(key)) throw invalid;
    this.#add(key, text);
  }

  entries(): Entry[] {
    const entries: Entry[] = [];
    for (let i = 0; i < this.#flat.length; i += 2) entries.push([this.#flat[i]!, bytesOf(this.#flat[i + 1]!)]);
    return entries;
  }

  clone(): Fields {
    const copy = new Fields();
    copy.#flat = [...this.#flat];
    copy.#hold(this.#bytes);
    return copy;
  }

  #hold(bytes: number): void {
    this.#bytes += bytes;
    this.charge(bytes);
  }

  #key(name: string): string {
    if (this.#immutable) throw immutable;
    if (!token.test(name)) throw invalid;
    const key = name.toLowerCase();
    if (forbidden.has(key)) throw refused;
    return key;
  }

  #add(key: string, text: string): void {
    this.#hold(text.length + valueKeeping + (this.has(key) ? 0 : key.length + nameKeeping));
    if (this.#bytes > fieldsLimit) throw new HostTrap('total size of fields exceeds limit');
    this.#flat.push(key, text);
  }

  #remove(key: string): void {
    const kept: string[] = [];
    let removed = 0;
    for (let i = 0; i < this.#flat.length; i += 2) {
      if (this.#flat[i] !== key) kept.push(this.#flat[i]!, this.#flat[i + 1]!);
      else removed += this.#flat[i + 1]!.length + valueKeeping;
    }
    if (removed > 0) this.#hold(-(removed + key.length + nameKeeping));
    this.#flat = kept;
  }
}

function valueText(key: string, value: Uint8Array): string {
  const text = latin1(value);
  if (badValue.test(text) || (key === contentLength && !digits.test(text))) throw invalid;
  return text;
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  // Spreading a long array would overflow the stack.
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  return text;
}

function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
