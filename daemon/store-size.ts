import { mkdir, statfs } from 'node:fs/promises';
import { parseBytes } from '../runtime/workload/units.ts';

/** A size, or a share of the disk; null when it is neither. */
export function parseStoreSize(text: string): { readonly bytes: number } | { readonly share: number } | null {
  const [, percent] = /^(\d{1,3})%$/.exec(text) ?? [];
  if (percent !== undefined) {
    const share = Number(percent) / 100;
    return share > 0 && share <= 1 ? { share } : null;
  }
  const bytes = parseBytes(text);
  return bytes !== null && bytes > 0 ? { bytes } : null;
}

/** What the content store may have, in bytes. @param folder on the disk that a share is of; made if missing */
export async function storeLimit(text: string, folder: string): Promise<number> {
  const size = parseStoreSize(text);
  if (size && 'bytes' in size) return size.bytes;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { blocks, bsize } = await statfs(folder);
  return Math.floor(blocks * bsize * (size?.share ?? 1));
}
