/** Whom an image's processes run as: `USER[:GROUP]` looked up in the image's own files. */
import type { ImageAccounts } from '../container/host.ts';
import { imageErrors } from './errors.ts';

export interface ImageUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** Ids that a container has. */
const MOST_ID = 65_535;

const fields = (text: string) => text.split('\n').map((line) => line.split(':'));

/** A number in the range of a container's ids; null when it is none. */
function idOf(text: string | undefined): number | null {
  if (text === undefined || !/^\d{1,5}$/.test(text)) return null;
  const id = Number(text);
  return id <= MOST_ID ? id : null;
}

/** Throws IMAGE_USER_UNKNOWN. */
export function imageUser(name: string, user: string, accounts: ImageAccounts): ImageUser {
  const [who = '', group] = (user === '' ? '0' : user).split(':', 2);
  const unknown = () => imageErrors.IMAGE_USER_UNKNOWN(name, user);
  const passwd = fields(accounts.passwd);
  const groups = fields(accounts.group);
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
