/**
 * Where each key and value of a TOML document stands, which smol-toml does not tell. Scans text that smol-toml has
 * already accepted, so that nothing is checked here (TOML 1.0: keys, tables, strings, arrays, inline tables).
 */
export type Path = readonly (string | number)[];

/** Offsets into the text. */
export interface Place {
  readonly key: number;
  readonly value: number;
}

export function pathId(path: Path): string {
  return JSON.stringify(path.map(String));
}

/** By `pathId`. */
export function tomlPlaces(text: string): Map<string, Place> {
  return new Scanner(text).scan();
}

const BARE_KEY = /[A-Za-z0-9_-]+/y;
const SCALAR = /[^,\]}#\r\n]+/y;

class Scanner {
  readonly #text: string;
  readonly #places = new Map<string, Place>();
  /** How many tables an array of tables has by now, by `pathId`. */
  readonly #counts = new Map<string, number>();
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  scan(): Map<string, Place> {
    let table: Path = [];
    for (this.#blank(); this.#at < this.#text.length; this.#blank()) {
      const start = this.#at;
      if (this.#text[this.#at] !== '[') {
        this.#pair(table);
        continue;
      }
      const array = this.#text[this.#at + 1] === '[';
      this.#at += array ? 2 : 1;
      table = this.#resolve(this.#key());
      if (array) {
        const index = this.#counts.get(pathId(table)) ?? 0;
        this.#counts.set(pathId(table), index + 1);
        this.#note(table, start, start);
        table = [...table, index];
      }
      this.#note(table, start, start);
      this.#at += array ? 2 : 1;
    }
    return this.#places;
  }

  /** A header below an array of tables means the array's last table. */
  #resolve(key: readonly string[]): Path {
    let path: Path = [];
    key.forEach((part, i) => {
      path = [...path, part];
      const count = this.#counts.get(pathId(path));
      if (count !== undefined && i < key.length - 1) path = [...path, count - 1];
    });
    return path;
  }

  #note(path: Path, key: number, value: number): void {
    if (!this.#places.has(pathId(path))) this.#places.set(pathId(path), { key, value });
  }

  #pair(table: Path): void {
    const start = this.#at;
    const key = this.#key();
    this.#at++; // =
    this.#blank();
    for (let i = 1; i < key.length; i++) this.#note([...table, ...key.slice(0, i)], start, start);
    const path = [...table, ...key];
    this.#note(path, start, this.#at);
    this.#value(path);
  }

  /** A dotted key, and the blanks behind it. */
  #key(): string[] {
    const parts: string[] = [];
    for (;;) {
      this.#blank();
      const char = this.#text[this.#at];
      if (char === '"' || char === "'") parts.push(this.#string());
      else parts.push(this.#match(BARE_KEY));
      this.#blank();
      if (this.#text[this.#at] !== '.') return parts;
      this.#at++;
    }
  }

  #value(path: Path): void {
    const char = this.#text[this.#at];
    if (char === '"' || char === "'") this.#string();
    else if (char === '[') this.#list(path);
    else if (char === '{') this.#inlineTable(path);
    else this.#match(SCALAR);
  }

  #list(path: Path): void {
    this.#at++;
    for (let index = 0; ; index++) {
      this.#blank();
      if (this.#text[this.#at] === ']') break;
      this.#note([...path, index], this.#at, this.#at);
      this.#value([...path, index]);
      this.#blank();
      if (this.#text[this.#at] === ',') this.#at++;
    }
    this.#at++;
  }

  #inlineTable(path: Path): void {
    this.#at++;
    for (;;) {
      this.#blank();
      if (this.#text[this.#at] === '}') break;
      this.#pair(path);
      this.#blank();
      if (this.#text[this.#at] === ',') this.#at++;
    }
    this.#at++;
  }

  /** Any of the four kinds of string; the text between its quotes, with JSON's escapes undone where it has some. */
  #string(): string {
    const quote = this.#text[this.#at] as string;
    const long = this.#text.startsWith(quote.repeat(3), this.#at);
    const mark = long ? quote.repeat(3) : quote;
    const start = this.#at + mark.length;
    let end = start;
    while (!this.#text.startsWith(mark, end)) end += quote === '"' && this.#text[end] === '\\' ? 2 : 1;
    // A long string may end with up to two quotes of its own.
    while (long && this.#text[end + 3] === quote) end++;
    this.#at = end + mark.length;
    const inner = this.#text.slice(start, end);
    if (quote === "'" || !inner.includes('\\')) return inner;
    try {
      return JSON.parse(`"${inner}"`) as string;
    } catch {
      return inner;
    }
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += Math.max(found.length, 1);
    return found;
  }

  /** Blanks, line ends and comments. */
  #blank(): void {
    for (;;) {
      const char = this.#text[this.#at];
      if (char === '#') {
        const end = this.#text.indexOf('\n', this.#at);
        this.#at = end < 0 ? this.#text.length : end;
      } else if (char === ' ' || char === '\t' || char === '\r' || char === '\n' || char === '\ufeff') this.#at++;
      else return;
    }
  }
}
