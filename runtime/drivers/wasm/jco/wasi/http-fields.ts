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

/** Bytes of one Fields: names and values with 32 each for their keeping. A guest's answer may have far less. */
const fieldsLimit = 4 * 1024 * 1024;
const perEntry = 32;

const invalid = { tag: 'invalid-syntax' } as const;
const refused = { tag: 'forbidden' } as const;
const immutable = { tag: 'immutable' } as const;

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
      if (!forbidden.has(name)) fields.#flat.push(name, flat[i + 1]!);
    }
    fields.#immutable = true;
    return fields;
  }

  static flat(fields: Fields): FlatHeaders {
    return fields.#flat;
  }

  /** The same entries under a handle of their own, not to be changed. */
  static view(fields: Fields): Fields {
    const view = new Fields();
    view.#flat = fields.#flat;
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
    const texts = values.map(valueText);
    this.#remove(key);
    for (const text of texts) this.#add(key, text);
  }

  delete(name: string): void {
    this.#remove(this.#key(name));
  }

  append(name: string, value: Uint8Array): void {
    const key = this.#key(name);
    this.#add(key, valueText(value));
  }

  entries(): Entry[] {
    const entries: Entry[] = [];
    for (let i = 0; i < this.#flat.length; i += 2) entries.push([this.#flat[i]!, bytesOf(this.#flat[i + 1]!)]);
    return entries;
  }

  clone(): Fields {
    const copy = new Fields();
    copy.#flat = [...this.#flat];
    copy.#bytes = this.#bytes;
    return copy;
  }

  #key(name: string): string {
    if (this.#immutable) throw immutable;
    if (!token.test(name)) throw invalid;
    const key = name.toLowerCase();
    if (forbidden.has(key)) throw refused;
    return key;
  }

  #add(key: string, text: string): void {
    this.#bytes += key.length + text.length + perEntry;
    if (this.#bytes > fieldsLimit) throw new HostTrap(`headers of more than ${fieldsLimit} bytes`);
    this.#flat.push(key, text);
  }

  #remove(key: string): void {
    const kept: string[] = [];
    for (let i = 0; i < this.#flat.length; i += 2) {
      if (this.#flat[i] !== key) kept.push(this.#flat[i]!, this.#flat[i + 1]!);
      else this.#bytes -= key.length + this.#flat[i + 1]!.length + perEntry;
    }
    this.#flat = kept;
  }
}

function valueText(value: Uint8Array): string {
  const text = latin1(value);
  if (badValue.test(text)) throw invalid;
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

/** Fields and bytes of a head or of trailers that an answer may have. */
const answerFields = 256;
const answerBytes = 64 * 1024;

/** Why a client cannot be sent these, or null. */
export function tooLarge(flat: FlatHeaders, what: string): string | null {
  if (flat.length / 2 > answerFields) return `it has ${flat.length / 2} ${what} and ${answerFields} are the most`;
  let bytes = 0;
  for (const text of flat) bytes += text.length;
  if (bytes > answerBytes) return `its ${what} have ${bytes} bytes and ${answerBytes} are the most`;
  return null;
}
