/** One line of the table that a run ends with. */
export interface Row {
  readonly what: string;
  /** As it is read: `1.93x (1.85-2.02)`, `7.4 ms`. */
  readonly figure: string;
  /** Null where nothing was promised. */
  readonly target: string | null;
  readonly holds: boolean | null;
}

/** What is measured together. Prints what it sees on its way, gives back the rows for the table. */
export interface Group {
  readonly name: string;
  readonly title: string;
  run(context: Context): Promise<Row[]>;
}

export interface Context {
  /** How often each server is driven, in turn with the others, and for how many seconds each time. */
  readonly rounds: number;
  readonly seconds: number;
  /** A Rust component of 100 KB; `/hello` answers at once. */
  rust(): Promise<string>;
  /** examples/hello, a component of 13 MB. */
  javaScript(): Promise<string>;
  print(line: string): void;
}

export function atLeast(what: string, value: number, target: number, figure: string): Row {
  return { what, figure, target: `at least ${target}x`, holds: value >= target };
}

export function atMost(what: string, value: number, target: number, unit: string, figure: string): Row {
  return { what, figure, target: `at most ${target} ${unit}`, holds: value <= target };
}

export function untargeted(what: string, figure: string): Row {
  return { what, figure, target: null, holds: null };
}

export function printTable(rows: readonly Row[], print: (line: string) => void): void {
  const cells = rows.map(({ what, figure, target, holds }) => [
    what,
    figure,
    target ?? '-',
    holds === null ? '' : holds ? 'holds' : 'MISSED',
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((row) => row[column]!.length)));
  for (const row of cells)
    print(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );
}
