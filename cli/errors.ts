import { defineErrors } from '../errors/skerry-error.ts';

export const cliErrors = defineErrors({
  // How the command was called.
  USAGE: {
    status: 400,
    what: (problem: string, _hint: string) => problem,
    fix: (_problem: string, hint: string) => hint,
    exit: 2,
  },
  BAD_FLAG: {
    status: 400,
    what: (flag: string, problem: string) => `${flag}: ${problem}`,
    fix: 'correct it and try again',
    exit: 2,
  },
  // What is deployed.
  NO_SUCH_SOURCE: {
    status: 400,
    what: (path: string) => `there is no file or folder ${path}`,
    fix: 'give a .ts, .js or .wasm file, or a folder that holds one',
  },
  NOT_A_SOURCE: {
    status: 400,
    what: (path: string) => `${path} is neither JavaScript, TypeScript nor a WebAssembly component`,
    fix: 'give a .ts, .js or .wasm file, or a folder that holds one',
  },
  UNREADABLE: {
    status: 400,
    what: (path: string, why: string) => `${path} cannot be read: ${why}`,
    fix: 'check the path and its permissions',
  },
  NO_MAIN: {
    status: 400,
    what: (folder: string, tried: string) => `${folder} has none of ${tried}`,
    fix: 'add one of them, or name the file as `main` in skerry.toml',
  },
  NO_NAME: {
    status: 400,
    what: (from: string) => `no name for the workload can be made from ${JSON.stringify(from)}`,
    fix: 'say one with --name: 1 to 63 of a-z, 0-9 and "-"',
  },
  UPLOAD_CHANGED: {
    status: 400,
    what: (path: string) => `${path} changed while it was uploaded`,
    fix: 'deploy it again when it is no longer being written',
  },
  // The source itself.
  SOURCE_NOT_FOUND: {
    status: 400,
    what: (path: string) => `there is no file ${path}`,
    fix: 'check the path',
  },
  /** `place` is FILE:LINE:COLUMN, or empty where none is known. */
  SOURCE_ERROR: {
    status: 400,
    what: (place: string, problem: string) => (place === '' ? problem : `${place}: ${problem}`),
    fix: 'correct the source and try again',
  },
  SOURCE_NO_HANDLER: {
    status: 400,
    what: (path: string) =>
      `${path} has no HTTP handler: neither a default export with fetch nor a listener for "fetch"`,
    fix: 'add `export default { fetch(request) { return new Response("hello") } }`',
  },
  // Files of settings.
  SYNTAX: {
    status: 400,
    what: (at: string, problem: string) => `${at}: ${problem}`,
    fix: 'correct the syntax',
  },
  SETTING: {
    status: 400,
    what: (at: string, problem: string, _hint: string) => `${at}: ${problem}`,
    fix: (_at: string, _problem: string, hint: string) => hint,
  },
  FILE_FORMAT: {
    status: 400,
    what: (file: string) => `${file} has none of the endings .yaml, .yml, .toml or .json`,
    fix: 'name it by its format',
  },
  // What the node made of it.
  NOT_READY: {
    status: 503,
    what: (name: string, message: string, serving: string) => `${name} is not ready: ${message}; ${serving}`,
    fix: (name: string) => `see \`skerry inspect ${name}\` and \`skerry logs ${name}\``,
    retryAfter: 5,
  },
  NOT_SETTLED: {
    status: 503,
    what: (name: string, phase: string, seconds: number) => `${name} is still ${phase} after ${seconds} s`,
    fix: (name: string) => `the node goes on with it: see \`skerry inspect ${name}\``,
    retryAfter: 5,
  },
  NOT_GONE: {
    status: 503,
    what: (name: string, seconds: number) => `${name} is still being removed after ${seconds} s`,
    fix: (name: string) => `the node goes on with it: see \`skerry inspect ${name}\``,
    retryAfter: 5,
  },
  NO_SUCH_REVISION: {
    status: 404,
    what: (name: string, revision: string) => `${name} has no revision ${revision}`,
    fix: (name: string) => `see \`skerry revisions ${name}\``,
  },
  AMBIGUOUS_REVISION: {
    status: 400,
    what: (name: string, revision: string, matches: string) => `${revision} of ${name} could be ${matches}`,
    fix: 'give more of its digits',
  },
  UNHEALTHY: {
    status: 503,
    what: (who: string, problems: string) => `${who} is not healthy: ${problems}`,
    fix: 'do what the report advises',
    retryAfter: 5,
  },
  NOT_EXAMINED: {
    status: 500,
    what: (why: string) => `this machine could not be examined: ${why}`,
    fix: 'see whether `skerry up` starts a node, and report what it prints',
  },
  ANSWERED: {
    status: 502,
    what: (name: string, status: string) => `${name} answered ${status}`,
    fix: (name: string) => `see \`skerry logs ${name}\``,
    exit: 22,
  },
  BROKE_OFF: {
    status: 502,
    what: (name: string) => `${name} broke off in the middle of its answer`,
    fix: (name: string) => `see \`skerry logs ${name}\``,
    exit: 18,
  },
  OUTPUT_LOST: {
    status: 500,
    what: (why: string) => `the output could not be written: ${why}`,
    fix: 'make room where it goes, or send it elsewhere',
    exit: 74,
  },
  INTERNAL: {
    status: 500,
    what: (why: string) => `skerry failed in a way that it does not know: ${why}`,
    fix: 'run it again with SKERRY_DEBUG=1 and report what it prints',
    exit: 70,
  },
});
