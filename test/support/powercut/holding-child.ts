/** Opens a data folder, says so, and holds it until its stdin ends. Arguments: the folder, and the user to become first. */
import { writeSync } from 'node:fs';
import { openDataFolder } from '../../../daemon/data-folder.ts';
import type { SkerryError } from '../../../errors/skerry-error.ts';

const [folder, user] = process.argv.slice(2);
if (user) process.setuid!(Number(user));
try {
  const data = await openDataFolder(folder!);
  writeSync(1, `held ${Buffer.from(data.nodeKey).toString('hex')}\n`);
  process.stdin.resume().on('end', () => void data.close());
} catch (error) {
  const { code, what } = error as SkerryError;
  writeSync(1, `${code} ${what}\n`);
}
