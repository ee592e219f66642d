/** Whom an image's processes run as: `USER[:GROUP]` looked up in the image's own files. */
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { containerErrors } from './errors.ts';

export interface ImageUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** Of /etc/passwd and /etc/group, in bytes: more is not looked at. */
const MAX_BYTES = 1024 * 1024;
/** Ids that a container has. */
const MOST_ID = 65_535;

/**
 * A file of an image by its unpacked layers, the topmost first; empty when it has none. Only a plain file in plain folders:
 * a link could lead to the host's.
 */
async function fileOf(layers: readonly string[], folder: string, name: string): Promise<string> {
  for (const layer of layers) {
    const parent = await lstat(join(layer, folder)).catch(() => null);
    if (!parent) continue;
    const found = parent.isDirectory() ? await lstat(join(layer, folder, name)).catch(() => null) : null;
    if (found?.isFile() && found.size <= MAX_BYTES) return readFile(join(layer, folder, name), 'utf8');
    // A whiteout, a link, or a folder that hides those below.
    if (found || !parent.isDirectory()) return '';
  }
  return '';
}

const fields = (text: string) => text.split('\n').map((line) => line.split(':'));

/** A number in the range of a container's ids; null when it is none. */
function idOf(text: string | undefined): number | null {
  if (text === undefined || !/^\d{1,5}$/.test(text)) return null;
  const id = Number(text);
  return id <= MOST_ID ? id : null;
}

/** Throws IMAGE_USER_UNKNOWN. `layers`: the topmost first. */
export async function imageUser(name: string, user: string, layers: readonly string[]): Promise<ImageUser> {
  const [who = '', group] = (user === '' ? '0' : user).split(':', 2);
  const unknown = () => containerErrors.IMAGE_USER_UNKNOWN(name, user);
  const passwd = fields(await fileOf(layers, 'etc', 'passwd'));
  const groups = fields(await fileOf(layers, 'etc', 'group'));
  const number = idOf(who);
  const entry = passwd.find(([login, , uid]) => (number === null ? login === who : idOf(uid) === number));
  const uid = number ?? idOf(entry?.[2]);
  if (uid === null) throw unknown();
  const login = entry?.[0];
  let gid = idOf(entry?.[3]) ?? 0;
  if (group !== undefined) {
    const named = idOf(group) ?? idOf(groups.find(([each]) => each === group)?.[2]);
    if (named === null) throw unknown();
    gid = named;
  }
  const member = (list: string | undefined) => login !== undefined && (list ?? '').split(',').includes(login);
  const further = groups
    .flatMap(([, , id, members]) => (member(members) ? [idOf(id)] : []))
    .filter((id) => id !== null);
  // With a group that was named Docker gives no others.
  return { uid, gid, groups: group === undefined ? further.filter((id) => id !== gid) : [] };
}
