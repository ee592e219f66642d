// What the builds of the native parts share.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

/** @type {(path: string) => string} */
export const sha256 = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');

/** Ends the build of a part; thrown, so that a lock that is held is given back. */
export class Stopped extends Error {}

/** @type {(why: string) => never} */
export function stop(why) {
  throw new Stopped(why);
}

/** What is copied takes its name at the end: a node that runs keeps the file that it has loaded. */
export function place(from, to) {
  const part = `${to}.${process.pid}`;
  copyFileSync(from, part);
  renameSync(part, to);
}

/** True when `file` is there and the stamp beside it says that it was made from this. */
export function isBuilt(file, made) {
  if (!existsSync(file) || !existsSync(`${file}.stamp`)) return false;
  try {
    return JSON.stringify(JSON.parse(readFileSync(`${file}.stamp`, 'utf8'))) === JSON.stringify(made);
  } catch {
    return false;
  }
}

/** @type {(file: string, made: object) => void} */
export function writeStamp(file, made) {
  writeFileSync(`${file}.stamp.${process.pid}`, `${JSON.stringify(made, null, 1)}\n`);
  renameSync(`${file}.stamp.${process.pid}`, `${file}.stamp`);
}
