/** What a component imports and exports at its surface, read from its binary form. */
import { BinaryReader } from './binary-reader.ts';

export type Preamble = 'component' | 'core-module' | 'other';

/** What the first 8 bytes of a file say it is. */
export function preamble(bytes: Uint8Array): Preamble {
  const magic = bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d;
  if (!magic) return 'other';
  if (bytes[6] === 1 && bytes[7] === 0) return 'component';
  return bytes[4] === 1 && bytes[6] === 0 ? 'core-module' : 'other';
}

export interface ComponentNames {
  readonly imports: string[];
  readonly exports: string[];
}

const importSection = 10;
const exportSection = 11;

/** Names of the component's imports and exports. Throws a RangeError when the file is cut off. */
export function componentNames(bytes: Uint8Array): ComponentNames {
  const imports: string[] = [];
  const exports: string[] = [];
  const reader = new BinaryReader(bytes, 8);
  while (!reader.done) {
    const { id, content } = reader.section();
    if (id === importSection) {
      for (let left = content.number(); left > 0; left--) {
        imports.push(externName(content));
        externType(content);
      }
    } else if (id === exportSection) {
      for (let left = content.number(); left > 0; left--) {
        exports.push(externName(content));
        if (content.byte() === 0) content.byte();
        content.number();
        if (content.byte() === 1) externType(content);
      }
    }
  }
  return { imports, exports };
}

function externName(reader: BinaryReader): string {
  const form = reader.byte();
  const name = reader.name();
  // Form 2 has options after the name: each a tag and a string.
  if (form === 2) for (let left = reader.number(); left > 0; left--) void [reader.byte(), reader.name()];
  return name;
}

/** Component model, Binary.md, `externdesc`: skipped. */
function externType(reader: BinaryReader): void {
  const kind = reader.byte();
  if (kind === 0) reader.byte();
  else if (kind === 2 || kind === 3) {
    const bound = reader.byte();
    if (kind === 3 && bound !== 0) return;
  }
  reader.number();
}
