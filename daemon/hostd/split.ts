/** Whether root's rights and the node can be two processes here. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../../errors/project-root.ts';
import { hostAvailable } from '../../native/host/index.ts';

export const LAUNCHER = join(projectRoot, 'native', 'host', 'skerry-launcher');

/** The descriptor of the node's end of the channel, in the node. */
export const CHANNEL_FD = 3;

/** What is missing for root to give up its rights, or null. */
export function whyNotSplit(): string | null {
  if (process.geteuid?.() !== 0) return 'not root';
  if (process.platform !== 'linux' || !hostAvailable().available || !existsSync(LAUNCHER)) {
    return 'the native parts are not built';
  }
  return null;
}
