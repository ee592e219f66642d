/** From places in a bundle, as the engine tells them, to those in the files that it was made from. */
import { SourceMap } from 'node:module';

/** The name that the node gives a bundle in what it says about it. */
export const BUNDLE = 'function.js';

export interface SourcePlace {
  /** As the map has it: from the folder of the bundled file. */
  readonly file: string;
  /** Both from 1. */
  readonly line: number;
  readonly column: number;
}

export class BundleMap {
  readonly #map: SourceMap;

  /** `json` is a source map (ECMA-426); throws when it is none. */
  constructor(json: string) {
    this.#map = new SourceMap(JSON.parse(json));
  }

  /** `line` and `column` from 1; null for what no file was made into. */
  place(line: number, column: number): SourcePlace | null {
    const entry = this.#map.findEntry(line - 1, column - 1);
    // The nearest place before it may be one of another line: that is none of it.
    if (!('originalSource' in entry) || entry.originalSource === undefined || entry.generatedLine !== line - 1)
      return null;
    return { file: entry.originalSource, line: entry.originalLine + 1, column: entry.originalColumn + 1 };
  }
}

const PLACES = new RegExp(`(?<![\\w./-])${BUNDLE.replace('.', '\\.')}:(\\d+):(\\d+)`, 'g');

export function namesBundle(text: string): boolean {
  return text.includes(`${BUNDLE}:`);
}

/** The text with each `function.js:LINE:COLUMN` as the place that it was made from. */
export function withSourcePlaces(text: string, map: BundleMap): string {
  return text.replace(PLACES, (bundled, line, column) => {
    const place = map.place(Number(line), Number(column));
    return place ? `${place.file}:${place.line}:${place.column}` : bundled;
  });
}
