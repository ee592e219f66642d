/** Signals by name, and whether a process hears them. */
import { constants } from 'node:os';

/** Throws for what is no signal. */
export function signalNumber(name: string): number {
  const number = /^\d+$/.test(name)
    ? Number(name)
    : constants.signals[`SIG${name.replace(/^SIG/, '')}` as NodeJS.Signals];
  if (number === undefined || number < 1 || number > 64) throw new RangeError(`${name} is no signal`);
  return number;
}

/** Whether a process has a handler for it, by its `/proc/PID/status`. */
export function catches(status: string, signal: number): boolean {
  const caught = BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return ((caught >> BigInt(signal - 1)) & 1n) === 1n;
}
