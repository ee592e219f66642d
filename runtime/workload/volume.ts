/** How a volume is written: `NAME:/PATH[:SIZE]`. */
import { posix } from 'node:path';
import type { Volume } from './revision.ts';
import { exactBytes, parseBytes } from './units.ts';

const MiB = 2 ** 20;
/** Smallest and largest, in bytes. */
export const VOLUME_BYTES = { min: 8 * MiB, max: 1024 * 1024 * MiB } as const;

const FORM = /^([A-Za-z0-9][A-Za-z0-9_.-]{0,62}):(\/[^:\0]*)(?::([^:]+))?$/;
/** The kernel's, or the sandbox's own. */
const TAKEN = ['/proc', '/dev', '/sys', '/etc/resolv.conf', '/etc/hosts', '/etc/hostname'];
/** Of the file system in it, in bytes. */
const BLOCK = 4096;

export function formatVolume({ name, path, bytes }: Volume): string {
  return bytes === null ? `${name}:${path}` : `${name}:${path}:${exactBytes(bytes)}`;
}

/** Null when it is none. */
export function parseVolume(text: string): Volume | null {
  const [, name = '', path = '', size] = FORM.exec(text) ?? [];
  if (name === '' || path.length > 4096) return null;
  const place = posix.normalize(path).replace(/(?<=.)\/$/, '');
  if (place === '/' || TAKEN.some((taken) => place === taken || place.startsWith(`${taken}/`))) return null;
  if (size === undefined) return { name, path: place, bytes: null };
  const bytes = parseBytes(size);
  if (bytes === null || bytes < VOLUME_BYTES.min || bytes > VOLUME_BYTES.max) return null;
  return { name, path: place, bytes: Math.ceil(bytes / BLOCK) * BLOCK };
}
