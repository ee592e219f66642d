/** An image of the node: what it is made from, who uses it, who signed it, what is attached to it. */
import type { ImageInspection } from '../../gateway/admin/schemas.ts';
import { formatBytes } from '../../runtime/workload/units.ts';
import { type Cell, table } from '../table.ts';
import { palette, type Terminal, writeJson } from '../terminal.ts';

export function showImage(terminal: Terminal, json: boolean, image: ImageInspection): void {
  if (json) return writeJson(terminal.stdout, image);
  const colours = palette(terminal.stdout, terminal.env);
  const rows: Cell[][] = [
    ['digest', image.digest],
    ['media type', image.mediaType],
    ['size', formatBytes(image.size)],
    ['tags', image.tags.join(', ') || '-'],
    ['used by', image.usedBy.join(', ') || '-'],
    ...image.policies.map(({ pattern, requires, met }): Cell[] => [
      'policy',
      {
        text: `${pattern}: signed by ${requires}: ${met ? 'yes' : 'no, not deployable'}`,
        paint: met ? colours.good : colours.bad,
      },
    ]),
    ...(image.policies.length === 0 ? [['policy', 'none: no signature is required'] as Cell[]] : []),
    ...image.signatures.map(({ kind, by, why }): Cell[] => [
      'signature',
      `${kind === 'bundle' ? 'sigstore bundle' : 'simple signing'}: ${by ?? why ?? 'not verified, since no policy says by what'}`,
    ]),
  ];
  terminal.stdout.write(table([{ text: image.name, paint: colours.bold }, ''], rows));
  section(
    terminal,
    ['PLATFORM', 'SIZE', 'DIGEST'],
    image.platforms.map(({ platform, size, digest }) => [platform, formatBytes(size), digest]),
  );
  section(
    terminal,
    ['LAYER', 'SIZE', 'DIGEST'],
    image.layers.map(({ mediaType, size, digest }) => [mediaType, formatBytes(size), digest]),
  );
  section(
    terminal,
    ['ATTACHED', 'TYPE', 'SIZE', 'DIGEST'],
    image.attachments.map(({ kind, mediaType, predicate, size, digest }) => [
      kind,
      predicate ?? mediaType,
      formatBytes(size),
      digest,
    ]),
  );
}

function section(terminal: Terminal, header: Cell[], rows: Cell[][]): void {
  if (rows.length > 0) terminal.stdout.write(`\n${table(header, rows)}`);
}
