// Boots a kernel in QEMU, emulated in software so that it is the same everywhere.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const MEMORY_MIB = 1536;

/**
 * Runs until `onLine` gives back true for a line of the machine's console, the machine stops, or it takes too long.
 * @type {(files: { kernel: string, initial: string, disk: string }, options: { kernelArguments: string, timeoutMs: number, onLine: (line: string) => boolean }) => Promise<void>}
 */
export function boot({ kernel, initial, disk }, { kernelArguments, timeoutMs, onLine }) {
  const vmlinuz = readdirSync(join(kernel, 'boot')).find((name) => name.startsWith('vmlinuz'));
  const args = ['-M', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', String(MEMORY_MIB)];
  args.push('-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio');
  args.push('-kernel', join(kernel, 'boot', vmlinuz), '-initrd', initial);
  args.push('-drive', `file=${disk},format=raw,if=virtio,cache=unsafe`);
  args.push('-append', `console=ttyS0 quiet loglevel=1 panic=-1 ${kernelArguments}`);
  return new Promise((resolve, reject) => {
    const qemu = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const kill = () => qemu.kill('SIGKILL');
    const timer = setTimeout(kill, timeoutMs);
    process.once('exit', kill);
    createInterface({ input: qemu.stdout }).on('line', (line) => {
      if (onLine(line.replaceAll('\r', ''))) kill();
    });
    qemu.on('error', reject);
    qemu.on('close', () => {
      clearTimeout(timer);
      process.off('exit', kill);
      resolve();
    });
  });
}
