import { defineErrors } from '../../errors/skerry-error.ts';

export const builderErrors = defineErrors({
  NO_MAIN: {
    status: 400,
    what: (folder: string, looked: string) => `nothing that can be built was found in ${folder}; looked for ${looked}`,
    fix: 'add one of them, name the file as `main` in skerry.toml, or say how it is built with --builder',
  },
  BUILDER_LACKS: {
    status: 400,
    what: (builder: string, folder: string, wants: string) => `--builder ${builder}: ${folder} has no ${wants}`,
    fix: 'add it, or say another --builder',
  },
  BUILD_SETTING: {
    status: 400,
    what: (builder: string, setting: string, why: string, _takers: readonly string[]) =>
      `${setting}: the builder ${builder} ${why}`,
    fix: (_builder: string, setting: string, _why: string, takers: readonly string[]) =>
      `leave out --${setting} (\`${setting}\` in a file), which is for ${takers.join(', ')}`,
  },
  /** `place` is a file of the project. */
  PROJECT_INVALID: {
    status: 400,
    what: (place: string, problem: string, _hint: string) => `${place}: ${problem}`,
    fix: (_place: string, _problem: string, hint: string) => hint,
  },
  TOOLCHAIN_MISSING: {
    status: 422,
    what: (tool: string, builder: string, _install: string) =>
      `${tool} is not on this machine, and the builder ${builder} needs it`,
    fix: (_tool: string, _builder: string, install: string) => install,
  },
  TOOLCHAIN_FAILED: {
    status: 400,
    what: (command: string, why: string) => `${command} failed: ${why}`,
    fix: 'see what it wrote above, and correct the source',
  },
  BUILD_NETWORK: {
    status: 400,
    what: (command: string) => `the build runs \`${command}\`, which gets packages from the network`,
    fix: 'let it with --network',
  },
  SOURCE_LINK: {
    status: 400,
    what: (path: string) => `${path} is a link that leads out of the folder`,
    fix: 'put the file itself there, or take the link away',
  },
  SOURCE_TOO_LARGE: {
    status: 400,
    what: (folder: string, found: string, limit: string) => `${folder} holds ${found}, more than the ${limit} allowed`,
    fix: 'deploy a smaller folder, or write a Dockerfile that copies what is needed',
  },
});
