import { cliErrors } from './errors.ts';

/** UNREADABLE, with what the system says. */
export function unreadable(path: string, error: Error): Error {
  const code = (error as NodeJS.ErrnoException).code;
  const why: Record<string, string> = {
    ENOENT: 'there is no such file',
    EACCES: 'permission denied',
    EISDIR: 'it is a folder',
    ENOTDIR: 'a part of the path is not a folder',
  };
  return cliErrors.UNREADABLE(path, why[code ?? ''] ?? code ?? error.message).because(error);
}
