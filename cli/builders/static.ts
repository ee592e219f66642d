/**
 * A static site: a component with the files in it. It runs on every node, without root and containers, takes nothing while it is idle, and
 * is the same on every machine, which an image with some file server of this machine would not be.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { projectRoot } from '../../errors/project-root.ts';
import type { Builder, Product } from './builder.ts';
import { builderErrors } from './errors.ts';
import { leftOutOfBuilds, type SourceFolder, tableOf } from './source-folder.ts';

/** Bytes: all of them are in the memory of each instance. */
export const LARGEST_SITE = 8 * 1024 * 1024;
/** Where generators of sites put them, and then where people do. */
const GENERATED = ['dist', 'build', 'out', '_site'];
const WRITTEN = ['.', 'public', 'site', 'www'];
const SERVER = join(projectRoot, 'cli/builders/static-server.js');

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.htm': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.xml': 'application/xml',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.gif': 'image/gif',
  '.webp': 'image/webp',
  '.avif': 'image/avif',
  '.ico': 'image/x-icon',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
  '.ttf': 'font/ttf',
  '.pdf': 'application/pdf',
  '.wasm': 'application/wasm',
  '.mp3': 'audio/mpeg',
  '.mp4': 'video/mp4',
};

export const staticSite: Builder = {
  name: 'static',
  makes: 'component',
  looksFor: 'index.html, here or in one of dist, build, out, _site, public, site, www',
  async detect(folder) {
    const { build } = tableOf((await folder.table('package.json'))?.scripts);
    // The page beside a package.json with a build is what the build starts from.
    const places = build === undefined ? [...WRITTEN, ...GENERATED] : GENERATED;
    for (const place of places) {
      const index = join(place, 'index.html');
      if (await folder.has(index)) return { why: `${index} is a page`, make: () => make(folder, place) };
    }
    return null;
  },
};

/** Hidden files are not for visitors, but for what https://www.rfc-editor.org/rfc/rfc8615 says. */
const notServed = (name: string) =>
  leftOutOfBuilds(name) || (name.startsWith('.') && name !== '.well-known') || name === 'skerry.toml';

async function make(folder: SourceFolder, place: string): Promise<Product> {
  const files: Record<string, readonly [type: string, tag: string, base64: string]> = {};
  let size = 0;
  for (const file of await folder.files(place, notServed)) {
    const bytes = await readFile(folder.at(place, file));
    size += bytes.byteLength;
    if (size > LARGEST_SITE) {
      const mebibytes = LARGEST_SITE / 1024 / 1024;
      throw builderErrors.SOURCE_TOO_LARGE(folder.at(place), `over ${mebibytes} MiB of files`, `${mebibytes} MiB`);
    }
    const type = TYPES[extname(file).toLowerCase()] ?? 'application/octet-stream';
    const tag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}"`;
    files[`/${file}`] = [type, tag, bytes.toString('base64')];
  }
  const server = await readFile(SERVER, 'utf8');
  return { kind: 'module', text: `const FILES = ${JSON.stringify(files)};\n${server}` };
}
