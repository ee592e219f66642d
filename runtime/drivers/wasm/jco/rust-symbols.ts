/**
 * Names of Rust functions as their developer wrote them, from the symbols that the compiler makes: the old form (`_ZN…E`)
 * and the one of RFC 2603, "v0" (`_R…`). The hashes that tell versions of a crate apart are left out. What is not
 * such a symbol stays as it is. A guest may choose its names: depth and length are bounded.
 */

const mostDepth = 64;
const mostLength = 1000;

export function readableSymbol(name: string): string {
  try {
    if (name.startsWith('_ZN')) return legacy(name);
    if (/^_R[A-Z]/.test(name)) return new V0(name).symbol();
  } catch {
    // It only looked like one.
  }
  return name;
}

class NotASymbol extends Error {}

/** What stands for characters that a symbol cannot have. */
const escapes: Record<string, string> = { SP: '@', BP: '*', RF: '&', LT: '<', GT: '>', LP: '(', RP: ')', C: ',' };

function legacy(name: string): string {
  const parts: string[] = [];
  let at = 3;
  while (name[at] !== 'E') {
    const digits = /^\d+/.exec(name.slice(at, at + 6))?.[0];
    if (digits === undefined) throw new NotASymbol();
    at += digits.length;
    const part = name.slice(at, at + Number(digits));
    if (part.length !== Number(digits)) throw new NotASymbol();
    at += part.length;
    parts.push(part);
  }
  if (/^h[0-9a-f]{16}$/.test(parts.at(-1) ?? '')) parts.pop();
  if (parts.length === 0) throw new NotASymbol();
  return parts.map(unescaped).join('::').slice(0, mostLength);
}

function unescaped(part: string): string {
  return part
    .replace(/^_\$/, '$')
    .replaceAll('..', '::')
    .replace(/\$(?:u([0-9a-f]{1,6})|([A-Z]{1,2}))\$/g, (whole, code: string | undefined, sign: string) =>
      code === undefined ? (escapes[sign] ?? whole) : String.fromCodePoint(Number.parseInt(code, 16)),
    );
}

const basicTypes: Record<string, string> = {
  a: 'i8',
  b: 'bool',
  c: 'char',
  d: 'f64',
  e: 'str',
  f: 'f32',
  h: 'u8',
  i: 'isize',
  j: 'usize',
  l: 'i32',
  m: 'u32',
  n: 'i128',
  o: 'u128',
  p: '_',
  s: 'i16',
  t: 'u16',
  u: '()',
  v: '...',
  x: 'i64',
  y: 'u64',
  z: '!',
};

/** One symbol, read from its start; the grammar's names are those of the RFC. */
class V0 {
  readonly #text: string;
  #at = 2;
  #depth = 0;
  /** Characters made so far: what refers back may make much of little. */
  #made = 0;

  constructor(text: string) {
    this.#text = text;
  }

  symbol(): string {
    return this.#path(true);
  }

  #next(): string {
    const char = this.#text[this.#at++];
    if (char === undefined) throw new NotASymbol();
    return char;
  }

  #takes(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  /** Digits in base 62 up to `_`; nothing before it is 0, and the others count from 1. Of a crate's hash only about. */
  #base62(): number {
    let value = 0;
    for (let first = true; ; first = false) {
      const char = this.#next();
      if (char === '_') return first ? 0 : value + 1;
      const digit = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'.indexOf(char);
      if (digit === -1) throw new NotASymbol();
      value = value * 62 + digit;
    }
  }

  /** Its number, beginning with 0 for none. */
  #disambiguator(): number {
    return this.#takes('s') ? this.#base62() + 1 : 0;
  }

  #identifier(): { readonly name: string; readonly number: number } {
    const number = this.#disambiguator();
    const encoded = this.#takes('u');
    const digits = /^(?:0|[1-9]\d{0,3})/.exec(this.#text.slice(this.#at))?.[0];
    if (digits === undefined) throw new NotASymbol();
    const length = Number(digits);
    this.#at += digits.length;
    this.#takes('_');
    const name = this.#text.slice(this.#at, this.#at + length);
    if (name.length !== length) throw new NotASymbol();
    this.#at += length;
    return { name: this.#count(encoded ? `punycode{${name}}` : name), number };
  }

  #count(text: string): string {
    this.#made += text.length + 1;
    if (this.#made > mostLength) throw new NotASymbol();
    return text;
  }

  /** Reads what begins at an earlier place; one that refers to itself would never end. */
  #back<T>(read: () => T): T {
    const from = this.#at - 1;
    const to = this.#base62() + 2;
    if (to >= from) throw new NotASymbol();
    const after = this.#at;
    this.#at = to;
    const found = read();
    this.#at = after;
    return found;
  }

  #deeper<T>(read: () => T): T {
    if (++this.#depth > mostDepth) throw new NotASymbol();
    const found = read();
    this.#depth--;
    return found;
  }

  /** `value`: as in an expression, where arguments of types stand behind `::`. */
  #path(value: boolean): string {
    return this.#deeper(() => {
      const kind = this.#next();
      switch (kind) {
        case 'C':
          return this.#identifier().name;
        case 'M':
          this.#implementation();
          return `<${this.#type()}>`;
        case 'X':
          this.#implementation();
          return `<${this.#type()} as ${this.#path(false)}>`;
        case 'Y':
          return `<${this.#type()} as ${this.#path(false)}>`;
        case 'N':
          return this.#nested(value);
        case 'I': {
          const path = this.#path(value);
          return `${path}${value ? '::' : ''}<${this.#list(() => this.#argument()).join(', ')}>`;
        }
        case 'B':
          return this.#back(() => this.#path(value));
        default:
          throw new NotASymbol();
      }
    });
  }

  #implementation(): void {
    this.#disambiguator();
    this.#path(false);
  }

  #nested(value: boolean): string {
    const space = this.#next();
    const parent = this.#path(value);
    const { name, number } = this.#identifier();
    if (!/[A-Z]/.test(space)) return name === '' ? parent : `${parent}::${name}`;
    const kind = space === 'C' ? 'closure' : space === 'S' ? 'shim' : space;
    return `${parent}::{${kind}${name === '' ? '' : `:${name}`}#${number}}`;
  }

  #list(read: () => string): string[] {
    const all: string[] = [];
    while (!this.#takes('E')) all.push(this.#count(read()));
    return all;
  }

  #argument(): string {
    if (this.#takes('L')) return this.#lifetime();
    if (this.#takes('K')) return this.#constant();
    return this.#type();
  }

  #lifetime(): string {
    this.#base62();
    return "'_";
  }

  #constant(): string {
    if (this.#takes('B')) return this.#back(() => this.#constant());
    if (this.#takes('p')) return '_';
    const type = basicTypes[this.#next()];
    if (type === undefined) throw new NotASymbol();
    const sign = this.#takes('n') ? '-' : '';
    let digits = '';
    for (let char = this.#next(); char !== '_'; char = this.#next()) digits += char;
    if (!/^[0-9a-f]*$/.test(digits)) throw new NotASymbol();
    if (type === 'bool') return digits === '1' ? 'true' : 'false';
    return sign + BigInt(`0x${digits || '0'}`);
  }

  #type(): string {
    return this.#deeper(() => {
      const kind = this.#next();
      const basic = basicTypes[kind];
      if (basic !== undefined) return this.#count(basic);
      switch (kind) {
        case 'A':
          return `[${this.#type()}; ${this.#constant()}]`;
        case 'S':
          return `[${this.#type()}]`;
        case 'T': {
          const types = this.#list(() => this.#type());
          return `(${types.join(', ')}${types.length === 1 ? ',' : ''})`;
        }
        case 'R':
        case 'Q': {
          if (this.#takes('L')) this.#base62();
          return `&${kind === 'Q' ? 'mut ' : ''}${this.#type()}`;
        }
        case 'P':
          return `*const ${this.#type()}`;
        case 'O':
          return `*mut ${this.#type()}`;
        case 'F':
          return this.#function();
        case 'D':
          return this.#object();
        case 'B':
          return this.#back(() => this.#type());
        default:
          this.#at--;
          return this.#path(false);
      }
    });
  }

  #binder(): void {
    if (this.#takes('G')) this.#base62();
  }

  #function(): string {
    this.#binder();
    const unsafe = this.#takes('U') ? 'unsafe ' : '';
    let abi = '';
    if (this.#takes('K')) abi = this.#takes('C') ? 'extern "C" ' : `extern "${this.#identifier().name}" `;
    const types = this.#list(() => this.#type());
    const result = this.#type();
    return `${unsafe}${abi}fn(${types.join(', ')})${result === '()' ? '' : ` -> ${result}`}`;
  }

  #object(): string {
    this.#binder();
    const traits = this.#list(() => {
      let path = this.#path(false);
      const bound: string[] = [];
      while (this.#takes('p')) bound.push(`${this.#identifier().name} = ${this.#type()}`);
      if (bound.length > 0) {
        const open = path.endsWith('>') ? `${path.slice(0, -1)}, ` : `${path}<`;
        path = `${open}${bound.join(', ')}>`;
      }
      return path;
    });
    if (!this.#takes('L')) throw new NotASymbol();
    this.#base62();
    return `dyn ${traits.join(' + ')}`;
  }
}
