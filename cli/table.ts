import { printable } from './printable.ts';
import type { Paint } from './terminal.ts';

/** A cell: text of anyone, made safe here, and how to paint it. */
export type Cell = string | { readonly text: string; readonly paint: Paint };

function cellText(cell: Cell): string {
  return printable(typeof cell === 'string' ? cell : cell.text).replaceAll('\t', ' ');
}

/** Columns two spaces apart, as wide as their widest cell; no blanks at a line's end. */
export function table(header: readonly Cell[], rows: readonly (readonly Cell[])[]): string {
  const all = header.length > 0 ? [header, ...rows] : rows;
  const widths: number[] = [];
  for (const row of all) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, [...cellText(cell)].length);
    });
  }
  return all.map((row) => `${line(row, widths)}\n`).join('');
}

function line(row: readonly Cell[], widths: readonly number[]): string {
  let out = '';
  let gap = '';
  row.forEach((cell, column) => {
    const text = cellText(cell);
    if (text === '') {
      gap += ' '.repeat(widths[column]! + 2);
      return;
    }
    out += gap + (typeof cell === 'string' ? text : cell.paint(text));
    gap = ' '.repeat(widths[column]! - [...text].length + 2);
  });
  return out;
}
