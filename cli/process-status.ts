import { SkerryError } from '../errors/skerry-error.ts';

/** The status of a process is the status of the command: there is nothing to tell beside it. */
export class ProcessStatus extends SkerryError {
  constructor(status: number) {
    super({
      code: 'PROCESS_STATUS',
      status: 200,
      what: `it ended with status ${status}`,
      fix: 'see what it wrote',
      exit: status,
    });
  }
}
