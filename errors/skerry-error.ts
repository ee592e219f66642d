/** One row of an error table: everything a user needs to act on the failure. */
export interface ErrorRow<A extends unknown[] = never[]> {
  /** HTTP status that the gateway or the admin API answers with. */
  readonly status: number;
  /** What happened and why, in one sentence without a full stop. */
  readonly what: (...args: A) => string;
  /** What to do about it, in one sentence without a full stop. */
  readonly fix: string | ((...args: A) => string);
  /** Exit status of the CLI; 1 when left out. */
  readonly exit?: number;
  /** Seconds that a client is told to wait before it tries again (Retry-After). */
  readonly retryAfter?: number;
}

export interface SkerryErrorInit {
  code: string;
  status: number;
  what: string;
  fix: string;
  exit?: number | undefined;
  cause?: unknown;
  /** Seconds for a Retry-After header. */
  retryAfter?: number | undefined;
}

/**
 * The one error class of Skerry. Its message is a single line: what, what to do, and the stable code.
 * Made only by a folder's error table (`defineErrors`).
 */
export class SkerryError extends Error {
  readonly code: string;
  readonly status: number;
  readonly what: string;
  readonly fix: string;
  readonly exit: number;
  readonly retryAfter: number | undefined;

  constructor(init: SkerryErrorInit) {
    super(`${init.what}; ${init.fix} [${init.code}]`, { cause: init.cause });
    this.name = 'SkerryError';
    this.code = init.code;
    this.status = init.status;
    this.what = init.what;
    this.fix = init.fix;
    this.exit = init.exit ?? 1;
    this.retryAfter = init.retryAfter;
  }

  /** The same error with the failure that led to it kept as its cause, for the node's log. */
  because(cause: unknown): this {
    this.cause = cause;
    return this;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a row's arguments are its own; `any` lets each keep its tuple
type Rows = Record<string, ErrorRow<any>>;
type Makers<T extends Rows> = {
  readonly [K in keyof T]: (...args: Parameters<T[K]['what']>) => SkerryError;
};

/**
 * Turns a folder's table of errors into functions that make them: `throw errors.NOT_WASM(path)`.
 * The row's key is the stable code.
 */
export function defineErrors<T extends Rows>(rows: T): Makers<T> {
  const makers: Record<string, (...args: never[]) => SkerryError> = {};
  for (const [code, row] of Object.entries(rows)) {
    makers[code] = (...args) =>
      new SkerryError({
        code,
        status: row.status,
        what: row.what(...args),
        fix: typeof row.fix === 'string' ? row.fix : row.fix(...args),
        exit: row.exit,
        retryAfter: row.retryAfter,
      });
  }
  return makers as unknown as Makers<T>;
}

/** The same error whoever made it: a SkerryError passes through, anything else becomes INTERNAL. */
export function asSkerryError(error: unknown): SkerryError {
  if (error instanceof SkerryError) return error;
  return new SkerryError({
    code: 'INTERNAL',
    status: 500,
    what: 'an internal error of the node',
    fix: 'look in the log of the node for this request and report it',
    cause: error,
  });
}
