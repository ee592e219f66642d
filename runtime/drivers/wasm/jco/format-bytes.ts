/** A size for a message: `64 MiB`, `1.5 MiB`, `256 KiB`. */
export function formatBytes(bytes: number): string {
  const [unit, factor] = bytes >= 2 ** 20 ? ['MiB', 2 ** 20] : ['KiB', 2 ** 10];
  const value = bytes / (factor as number);
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${unit}`;
}
