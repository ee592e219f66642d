/** Files of settings (TOML, YAML, JSON): read, checked with a schema, and every fault told with its line and column. */
import { z } from 'zod';
import { cliErrors } from './errors.ts';
import { nearest } from './nearest.ts';
import { type Path, pathId, tomlPlaces } from './toml-positions.ts';

export type Format = 'toml' | 'yaml' | 'json';

export interface SettingsDocument {
  /** As the user calls it. */
  readonly file: string;
  readonly value: unknown;
  /** Offset of a key or of its value; of the nearest thing around it when the path itself has no place. */
  readonly offset: (path: Path, of: 'key' | 'value') => number;
  readonly text: string;
}

/** Throws SYNTAX. JSON is read as the YAML that it is, for its positions, after JSON's own grammar accepted it. */
export async function parseDocument(file: string, text: string, format: Format): Promise<SettingsDocument> {
  const document = format === 'toml' ? await parseToml(file, text) : await parseYaml(file, text);
  if (format === 'json') {
    try {
      JSON.parse(text);
    } catch (error) {
      throw cliErrors.SYNTAX(`${file}:1:1`, `is not JSON: ${(error as Error).message.replaceAll(/\s+/g, ' ')}`);
    }
  }
  return document;
}

async function parseToml(file: string, text: string): Promise<SettingsDocument> {
  const { parse, TomlError } = await import('smol-toml');
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.replace(/^Invalid TOML document: /, '').split('\n')[0] as string;
    throw cliErrors.SYNTAX(`${file}:${error.line}:${error.column}`, what);
  }
  let places: ReturnType<typeof tomlPlaces> | undefined;
  const offset = (path: Path, of: 'key' | 'value') => {
    places ??= tomlPlaces(text);
    for (let length = path.length; length > 0; length--) {
      const place = places.get(pathId(path.slice(0, length)));
      if (place) return length === path.length ? place[of] : place.key;
    }
    return 0;
  };
  return { file, value, offset, text };
}

async function parseYaml(file: string, text: string): Promise<SettingsDocument> {
  const { isMap, isNode, isPair, isSeq, parseDocument: parse } = await import('yaml');
  const parsed = parse(text, { prettyErrors: false });
  const fault = parsed.errors[0];
  if (fault) throw cliErrors.SYNTAX(`${file}:${lineColumn(text, fault.pos[0])}`, fault.message);
  let value: unknown;
  try {
    value = parsed.toJS();
  } catch (error) {
    // An alias without its anchor, or too many of them.
    throw cliErrors.SYNTAX(`${file}:1:1`, (error as Error).message);
  }
  const offset = (path: Path, of: 'key' | 'value') => {
    let node: unknown = parsed.contents;
    let found = isNode(node) ? (node.range?.[0] ?? 0) : 0;
    for (const [depth, part] of path.entries()) {
      const last = depth === path.length - 1;
      if (isMap(node)) {
        const pair = node.items.find((item) => isPair(item) && String(item.key) === String(part));
        if (!pair) return found;
        const key = isNode(pair.key) ? pair.key.range?.[0] : undefined;
        const inner = isNode(pair.value) ? pair.value.range?.[0] : undefined;
        found = (last && of === 'value' ? (inner ?? key) : key) ?? found;
        node = pair.value;
      } else if (isSeq(node)) {
        const item = node.items[Number(part)];
        if (!isNode(item)) return found;
        found = item.range?.[0] ?? found;
        node = item;
      } else return found;
    }
    return found;
  };
  return { file, value, offset, text };
}

/** `LINE:COLUMN`, both from 1. */
function lineColumn(text: string, offset: number): string {
  const before = text.slice(0, offset);
  return `${before.split('\n').length}:${offset - before.lastIndexOf('\n')}`;
}

export function place(document: SettingsDocument, path: Path, of: 'key' | 'value'): string {
  return `${document.file}:${lineColumn(document.text, document.offset(path, of))}`;
}

/** The document's value as the schema has it; throws SETTING for the first fault, with the key that was probably meant. */
export function checkDocument<T>(document: SettingsDocument, schema: z.ZodType<T>): T {
  const result = schema.safeParse(document.value, { error: (issue) => describeIssue(issue) });
  if (result.success) return result.data;
  const issues = result.error.issues;
  // Faults in the order of the file.
  const [first] = issues
    .map((issue) => fault(schema, issue))
    .sort((a, b) => document.offset(a.path, a.of) - document.offset(b.path, b.of));
  const { path, of, problem, hint } = first as Fault;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  const key = path.length > 0 ? `${keyText(path)}: ` : '';
  throw cliErrors.SETTING(place(document, path, of), `${key}${problem}${more}`, hint);
}

interface Fault {
  readonly path: Path;
  readonly of: 'key' | 'value';
  readonly problem: string;
  readonly hint: string;
}

function fault(schema: z.ZodType, issue: z.core.$ZodIssue): Fault {
  const at = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] as string;
    const known = knownKeys(schema, at);
    const meant = nearest(key, known);
    const hint = meant ? `did you mean ${meant}?` : `the keys here are ${known.join(', ')}`;
    return { path: [...at, key], of: 'key', problem: 'is no known setting', hint: hint.replace(/\?$/, '') };
  }
  const message = issueMessage(issue);
  const missing = message === 'is missing';
  const hint = missing ? 'add it' : 'correct it and try again';
  // A value that is not there has its place where it would be: in the thing around it.
  return { path: at, of: issue.code === 'invalid_key' ? 'key' : 'value', problem: message, hint };
}

/** What an issue says; of a key, what is wrong with the key. */
export function issueMessage(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message;
  return issue.message;
}

/** In a user's words what zod would say in a programmer's, where the schema itself says nothing. */
export function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'too_small' && issue.origin === 'array') return 'must not be empty';
  if (issue.code !== 'invalid_type') return undefined;
  if (issue.input === undefined) return 'is missing';
  const names: Record<string, string> = {
    string: 'text in quotes',
    record: 'a table',
    object: 'a table',
    array: 'a list',
  };
  return `must be ${names[issue.expected] ?? `a ${issue.expected}`}`;
}

function knownKeys(schema: z.ZodType, path: Path): string[] {
  let at: unknown = schema;
  for (const part of path) {
    while (at instanceof z.ZodOptional) at = at.unwrap();
    if (at instanceof z.ZodObject) at = at.shape[part];
    else if (at instanceof z.ZodArray) at = at.element;
    else return [];
  }
  while (at instanceof z.ZodOptional) at = at.unwrap();
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function keyText(path: Path): string {
  return path.map((part, i) => (typeof part === 'number' ? `[${part}]` : i === 0 ? part : `.${part}`)).join('');
}
