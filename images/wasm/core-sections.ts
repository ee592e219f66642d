import { BinaryReader } from './binary-reader.ts';

/** Ids of the sections of a core module (core specification, section 5.5.2). */
export const section = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  code: 10,
  data: 11,
  dataCount: 12,
} as const;

/** Sizes of a memory in pages of 64 KiB. */
export interface MemorySize {
  readonly initial: number;
  readonly maximum: number;
}

/** The most pages that a memory of 32 bits has. */
const maxPages = 65_536;

/** The one memory of a memory section's content, when it is neither shared nor of 64 bits; else null. */
export function usualMemory(content: Uint8Array): MemorySize | null {
  const reader = new BinaryReader(content);
  if (reader.u32() !== 1) return null;
  const flags = reader.byte();
  if (flags > 1) return null;
  const initial = reader.u32();
  const maximum = flags === 1 ? reader.u32() : maxPages;
  return reader.done && initial <= maximum && maximum <= maxPages ? { initial, maximum } : null;
}
