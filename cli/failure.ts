import { SkerryError } from '../errors/skerry-error.ts';
import { cliErrors } from './errors.ts';

/** What is told to the user: a SkerryError as it is, anything else as INTERNAL with its first line. */
export function asFailure(thrown: unknown): SkerryError {
  if (thrown instanceof SkerryError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return cliErrors.INTERNAL(message.split('\n')[0] as string).because(thrown);
}
