/** Every command with its flags, help and examples; what a command does is loaded when it is called. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { CONFIG_FLAGS, NodeConfig } from '../daemon/config-schema.ts';
import { projectRoot } from '../errors/project-root.ts';
import { BUILDER_NAMES, BuildSettings } from '../runtime/workload/build-settings.ts';
import type { ConnectionFlags } from './connection.ts';
import type { Context } from './context.ts';
import { PROCESS_FLAGS, SETTING_FLAGS, settingHelp } from './settings-flags.ts';
import type { Terminal } from './terminal.ts';

type Flags = Record<string, unknown>;
type Action = (context: Context, flags: never, ...args: never[]) => Promise<void>;

const repeat = (value: string, before: string[] | undefined) => [...(before ?? []), value];

function version(): string {
  return JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')).version;
}

/** Makes the command tree; nothing runs until it parses. */
export function createProgram(terminal: Terminal): Command {
  const program = new Command('skerry');
  program
    .description('Runs HTTP functions on this machine, each in a sandbox of its own.')
    .version(version(), '-v, --version', 'Print the version.')
    .option('--data <folder>', 'Data folder of the node to talk to (SKERRY_DATA).')
    .option('--node <url>', 'Admin API of a node over TCP, with its token in SKERRY_ADMIN_TOKEN (SKERRY_NODE).')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand('help [command]', 'Print the help of a command.')
    .configureHelp({ showGlobalOptions: true, helpWidth: terminal.stdout.columns ?? 100 })
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      // What is wrong is told in one line by whoever catches the error.
      writeErr: () => {},
      outputError: () => {},
    })
    .exitOverride();
  examples(program, ['skerry up', 'skerry deploy hello.ts', 'skerry ls']);
  defineAll(program, (command, action) => command.action(perform(terminal, command, action)));
  return program;
}

/** Calls a command's function with its context, flags and arguments. */
function perform(terminal: Terminal, command: Command, action: Action): (...args: unknown[]) => Promise<void> {
  return async () => {
    const flags: Flags = command.opts();
    const connection = command.optsWithGlobals() as ConnectionFlags;
    const { connect } = await import('./connection.ts');
    const client = await connect(connection, terminal.env);
    const context: Context = { terminal, json: flags.json === true, connection, client };
    await action(context, flags as never, ...(command.processedArgs as never[]));
  };
}

type Bind = (command: Command, action: Action) => void;

function defineAll(program: Command, bind: Bind): void {
  defineNode(program, bind);
  defineDeploying(program, bind);
  defineBuilding(program, bind);
  defineProcesses(program, bind);
  defineVolumes(program, bind);
  defineLooking(program, bind);
  defineChanging(program, bind);
  defineSecrets(program, bind);
  defineImages(program, bind);
  defineTokens(program, bind);
  defineTrust(program, bind);
  defineShell(program, bind);
}

function examples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`);
}

const json = (command: Command) => command.option('--json', 'Print one JSON document in place of text.');

function defineNode(program: Command, bind: Bind): void {
  const up = program
    .command('up')
    .description('Start a node on this machine; Ctrl-C stops it.')
    .option('--config <file>', 'A TOML file with the same settings.');
  for (const { key, argument, env, fallback } of CONFIG_FLAGS) {
    // `--data` is there for every command.
    if (key === 'data') continue;
    const more = fallback === undefined ? `(${env})` : `(${env}; default: ${fallback})`;
    up.option(`--${key} <${argument}>`, `${NodeConfig.shape[key].description ?? ''} ${more}`);
  }
  examples(up, ['skerry up', 'skerry up --listen 0.0.0.0:80 --data /srv/skerry']);
  bind(up, async () => (await import('./commands/up.ts')).up());

  const doctor = json(
    program.command('doctor').description('Say what this machine can run, how well, and what would help.'),
  );
  examples(doctor, ['skerry doctor', 'skerry doctor --json']);
  bind(doctor, async (context) => (await import('./commands/doctor.ts')).doctor(context));
}

function defineDeploying(program: Command, bind: Bind): void {
  const deploy = program
    .command('deploy')
    .description('Deploy a function and give it a URL.')
    .argument('<path>', 'A .ts or .js file, a .wasm component, a folder that is built by what is in it, or an image.')
    .option('--name <name>', 'Name of the workload. Default: made from the name of the file or folder.');
  const { builder, base, network } = BuildSettings.shape;
  deploy
    .addOption(new Option('--builder <builder>', builder.description).choices(BUILDER_NAMES))
    .option('--base <image>', base.description)
    .option('--network', network.description);
  kernelOption(deploy);
  for (const setting of SETTING_FLAGS) settingOption(deploy, setting);
  json(deploy.option('--watch', 'Deploy again on each save, until Ctrl-C.'));
  examples(deploy, [
    'skerry deploy hello.ts',
    'skerry deploy ./api --name api --memory 128MiB --timeout 5s --env MODE=test',
    'skerry deploy hello.wasm --route example.com/hello/*',
    'skerry deploy ./api --allow api.example.com --secret API_KEY',
    'skerry deploy hello.ts --watch',
    'skerry deploy ./shop --builder node --network',
  ]);
  bind(deploy, async (context, flags, path) => (await import('./commands/deploy.ts')).deploy(context, path, flags));

  const apply = program
    .command('apply')
    .description('Bring the node to what a file of workloads says.')
    .requiredOption('-f, --file <file>', 'YAML, TOML or JSON; - for stdin.')
    .option('--dry-run', 'Only say what would change.');
  examples(json(apply), ['skerry apply -f workloads.yaml --dry-run', 'skerry export | skerry apply -f -']);
  bind(apply, async (context, flags) => (await import('./commands/apply.ts')).apply(context, flags));

  const exported = program
    .command('export')
    .description('Write what is deployed as a file that apply takes (YAML).')
    .argument('[name]', 'Only this workload.');
  examples(json(exported), ['skerry export > workloads.yaml', 'skerry export hello --json']);
  bind(exported, async (context, _flags, name) => {
    await (await import('./commands/export.ts')).exportWorkloads(context, name);
  });
}

function defineBuilding(program: Command, bind: Bind): void {
  const build = program
    .command('build')
    .description('Build an image from a Dockerfile, on the node.')
    .argument('<path>', 'The folder that the Dockerfile may copy from.')
    .requiredOption('-t, --tag <ref>', 'What the image is called: NAME[:TAG], or REGISTRY/NAME[:TAG].')
    .option('-f, --file <file>', 'The Dockerfile. Default: Dockerfile or Containerfile in the folder.')
    .addOption(
      new Option(
        '--build-arg <name=value>',
        'A value for an ARG; NAME alone takes it from here. Can be repeated.',
      ).argParser(repeat),
    )
    .addOption(
      new Option('--secret <id=ID,src=file>', 'What RUN --mount=type=secret may read. Can be repeated.').argParser(
        repeat,
      ),
    )
    .option('--target <stage>', 'The stage to stop at.')
    .option('--no-cache', 'Take no step from an earlier build.')
    .option('--network', "RUN steps get the machine's network, its loopback too. Default: none.");
  examples(json(build), [
    'skerry build -t my_image .',
    'skerry build -t team/app:v2 -f docker/Dockerfile --build-arg V=2 .',
  ]);
  bind(build, async (context, flags, path) => (await import('./commands/build.ts')).build(context, path, flags));
}

function defineProcesses(program: Command, bind: Bind): void {
  const run = program
    .command('run')
    .description('Run an image as a process in a container or a VM; exits with its status.')
    .argument('<ref>', 'An image: of a registry, of the node, oci:DIR[:TAG] or docker-archive:FILE.')
    .argument('[cmd...]', "What to run in place of the image's own command.")
    .option('-d, --detach', 'Print its name and leave it running.')
    .option('--name <name>', 'Name of the process. Default: made from the image.')
    .option('--rm', 'Remove it when it has ended.');
  kernelOption(run);
  for (const setting of PROCESS_FLAGS) settingOption(run, setting);
  examples(json(run), [
    'skerry run busybox echo hello',
    'skerry run -d --name db --memory 256MiB registry.example/postgres:16',
    'skerry run --rm -- oci:./layout sh -c "ls -l"',
  ]);
  bind(run, async (context, flags, ref, cmd) =>
    (await import('./commands/run.ts')).runProcess(context, ref, cmd, flags),
  );

  const ps = json(program.command('ps').description('List the processes that run.')).option(
    '-a, --all',
    'Those that have ended too.',
  );
  examples(ps, ['skerry ps', 'skerry ps -a --json']);
  bind(ps, async (context, flags) => (await import('./commands/ps.ts')).ps(context, flags));

  const stop = program
    .command('stop')
    .description('End processes: by their signal, then for good.')
    .argument('<name...>', 'Processes.')
    .option('-t, --time <duration>', 'How long they may take to end by themselves. Default 10s.');
  examples(stop, ['skerry stop db', 'skerry stop --time 1s db']);
  bind(stop, async (context, flags, names) => (await import('./commands/stop.ts')).stop(context, names, flags));

  const exec = program
    .command('exec')
    .description('Run a command in a container, with this input and output; exits with its status.')
    .argument('<name>', 'A process, or a workload.')
    .argument('<cmd...>', 'The command.');
  examples(exec, ['skerry exec db ps', 'tar c . | skerry exec db tar x -C /tmp']);
  bind(exec, async (context, _flags, name, cmd) => (await import('./commands/exec.ts')).exec(context, name, cmd));
}

function defineVolumes(program: Command, bind: Bind): void {
  const volume = program.command('volume').description('List and remove the folders that outlive containers.');
  examples(volume, ['skerry volume ls', 'skerry volume rm db']);

  const list = json(volume.command('ls').description('List the volumes, and who has them.'));
  examples(list, ['skerry volume ls']);
  bind(list, async (context) => (await import('./commands/volume.ts')).listVolumes(context));

  const rm = volume
    .command('rm')
    .description('Remove volumes with all that is in them; those that nobody has.')
    .argument('<volume...>', 'Names of volumes.');
  examples(rm, ['skerry volume rm db']);
  bind(rm, async (context, _flags, names) => (await import('./commands/volume.ts')).removeVolumes(context, names));
}

function kernelOption(command: Command): void {
  command.option(
    '--kernel <file>',
    "The kernel that a VM boots, an ELF vmlinux or a bzImage. Default: the node's own.",
  );
}

function settingOption(command: Command, setting: (typeof SETTING_FLAGS)[number]): void {
  const option = new Option(`${setting.flag} <${setting.value}>`, settingHelp(setting));
  if (setting.kind === 'pairs' || setting.kind === 'list') option.argParser(repeat);
  command.addOption(option);
}

function defineLooking(program: Command, bind: Bind): void {
  const ls = json(program.command('ls').description('List the workloads.'));
  examples(ls, ['skerry ls', "skerry ls --json | jq '.workloads[].name'"]);
  bind(ls, async (context) => (await import('./commands/ls.ts')).ls(context));

  const inspect = program
    .command('inspect')
    .description('Show how a workload, a process or an image is, beside what was asked of it.')
    .argument('<name>', 'A workload, a process, or an image of the node.');
  examples(json(inspect), [
    'skerry inspect hello',
    'skerry inspect hello --json | jq .status',
    'skerry inspect team/app:v1',
  ]);
  bind(inspect, async (context, _flags, name) => (await import('./commands/inspect.ts')).inspect(context, name));

  const top = program
    .command('top')
    .description('Show what each workload does now, live on a terminal: rate, latency, CPU, memory.')
    .option('--interval <duration>', 'Time that each sample covers. Default 1s.');
  examples(json(top), ['skerry top', 'skerry top --json', 'skerry top --interval 5s']);
  bind(top, async (context, flags) => (await import('./commands/top.ts')).top(context, flags));

  const revisions = program
    .command('revisions')
    .description('List the revisions of a workload, newest first.')
    .argument('<name>', 'A workload.');
  examples(json(revisions), ['skerry revisions hello']);
  bind(revisions, async (context, _flags, name) => (await import('./commands/revisions.ts')).revisions(context, name));

  const decisions = program
    .command('decisions')
    .description('Tell what the scheduler decided of a workload, and from what.')
    .argument('<name>', 'A workload.');
  examples(json(decisions), ['skerry decisions hello']);
  bind(decisions, async (context, _flags, name) => (await import('./commands/decisions.ts')).decisions(context, name));

  const logs = program
    .command('logs')
    .description('Print what a workload or a process wrote to stdout and stderr.')
    .argument('<name>', 'A workload or a process.')
    .option('-f, --follow', 'Go on as more is written, until Ctrl-C.')
    .option('--tail <n>', 'Only the last n lines. Default 100.')
    .option('--json', 'Print one JSON document a line.');
  examples(logs, ['skerry logs hello --tail 20', 'skerry logs hello -f']);
  bind(logs, async (context, flags, name) => (await import('./commands/logs.ts')).logs(context, name, flags));

  const invoke = program
    .command('invoke')
    .description('Send one request to a workload and print its answer.')
    .argument('<name>', 'A workload.')
    .argument('[path]', 'Path and query, as the function sees them.', '/')
    .option('-X, --request <method>', 'Method. Default: GET, with a body POST.')
    .addOption(new Option('-H, --header <line>', "A header as 'Name: value'. Can be repeated.").argParser(repeat))
    .option('-d, --body <text>', 'Body; @- takes it from stdin.')
    .option('--data-file <file>', 'Body from a file; - for stdin.')
    .option('-i, --include', 'Print the head of the answer as well.');
  examples(invoke, ['skerry invoke hello', "skerry invoke api '/items?limit=2' -H 'Accept: application/json' -i"]);
  bind(invoke, async (context, flags, name, path) => {
    await (await import('./commands/invoke.ts')).invoke(context, name, path, flags);
  });
}

function defineChanging(program: Command, bind: Bind): void {
  const rm = program
    .command('rm')
    .description('Remove workloads with all their revisions, and processes.')
    .argument('<name...>', 'Workloads and processes.');
  examples(rm, ['skerry rm hello', 'skerry rm api worker']);
  bind(rm, async (context, _flags, names) => (await import('./commands/change.ts')).rm(context, names));

  const scale = program
    .command('scale')
    .description('Set how many instances of a workload there are.')
    .argument('<name>', 'A workload.')
    .option('--min <n>', 'Instances kept ready.')
    .option('--max <n>', 'Instances at most; 0 parks the workload.');
  examples(json(scale), ['skerry scale hello --min 1 --max 4', 'skerry scale hello --max 0']);
  bind(scale, async (context, flags, name) => (await import('./commands/change.ts')).scale(context, name, flags));

  const rollback = program
    .command('rollback')
    .description('Give all traffic to an earlier revision.')
    .argument('<name>', 'A workload.')
    .argument('[revision]', 'First digits of a revision. Default: the one before.');
  examples(json(rollback), ['skerry rollback hello', 'skerry rollback hello 3f2a']);
  bind(rollback, async (context, _flags, name, revision) => {
    await (await import('./commands/change.ts')).rollback(context, name, revision);
  });

  const traffic = program
    .command('traffic')
    .description('Split the traffic of a workload between its revisions.')
    .argument('<name>', 'A workload.')
    .argument('<rev=percent...>', 'First digits of a revision and its share; the shares add up to 100.');
  examples(json(traffic), ['skerry traffic hello 3f2a=90 81bc=10', 'skerry traffic hello 81bc=100']);
  bind(traffic, async (context, _flags, name, shares) => {
    await (await import('./commands/change.ts')).traffic(context, name, shares);
  });
}

function defineSecrets(program: Command, bind: Bind): void {
  const secret = program.command('secret').description('Set, list and remove the secrets that functions get.');
  examples(secret, ['printf %s "$KEY" | skerry secret set API_KEY', 'skerry secret ls', 'skerry secret rm API_KEY']);

  const set = secret
    .command('set')
    .description('Set a secret, its value on stdin; functions that use it get it at their next request.')
    .argument('<K>', 'Name of the secret.');
  examples(set, ['printf %s "$KEY" | skerry secret set API_KEY', 'skerry secret set TLS_KEY < key.pem']);
  bind(set, async (context, _flags, name) => (await import('./commands/secret.ts')).setSecret(context, name));

  const list = secret.command('ls').description('List the secrets by name, and who uses them.');
  examples(json(list), ['skerry secret ls']);
  bind(list, async (context) => (await import('./commands/secret.ts')).listSecrets(context));

  const rm = secret
    .command('rm')
    .description('Remove secrets that nothing uses.')
    .argument('<K...>', 'Names of secrets.')
    .option('--force', 'Also when a workload uses it; that can then not be started any more.');
  examples(rm, ['skerry secret rm API_KEY']);
  bind(rm, async (context, flags, names) =>
    (await import('./commands/secret.ts')).removeSecrets(context, names, flags),
  );
}

const INSECURE = 'A registry that is spoken to without TLS, or whatever its certificate. Can be repeated.';

function defineImages(program: Command, bind: Bind): void {
  const images = json(program.command('images').description('List the images of the node, and what uses them.')).option(
    '-a, --all',
    'Also signatures, attestations and SBOMs that have a tag of their own.',
  );
  examples(images, ['skerry images', "skerry images --json | jq '.images[].name'"]);
  bind(images, async (context, flags) => (await import('./commands/image.ts')).listImages(context, flags));

  const pull = program
    .command('pull')
    .description('Bring an image or a component from another registry onto the node.')
    .argument('<ref>', 'REGISTRY/REPOSITORY[:TAG], or with @sha256:….')
    .option('--insecure-registry <host>', INSECURE, repeat);
  examples(json(pull), [
    'skerry pull registry.example/team/app:1.0',
    'skerry pull --insecure-registry 10.0.0.5:5000 10.0.0.5:5000/app',
  ]);
  bind(pull, async (context, flags, ref) => (await import('./commands/image.ts')).pullImage(context, ref, flags));

  const push = program
    .command('push')
    .description('Send an image, or what is deployed, to the registry that its name says.')
    .argument('<ref>', 'REGISTRY/REPOSITORY[:TAG]; without a registry: into that of the node.')
    .option('--insecure-registry <host>', INSECURE, repeat);
  examples(json(push), ['skerry push registry.example/team/hello:1.0', 'skerry push team/hello:1.0']);
  bind(push, async (context, flags, ref) => (await import('./commands/image.ts')).pushImage(context, ref, flags));

  const tag = program
    .command('tag')
    .description('Give an image of the node another name.')
    .argument('<ref>', 'An image as `skerry images` names it.')
    .argument('<name>', 'REPOSITORY[:TAG]; with a registry in it: for `skerry push`.');
  examples(json(tag), ['skerry tag my_image team/app:1.0', 'skerry tag my_image registry.example/team/app:1.0']);
  bind(tag, async (context, _flags, ref, name) => (await import('./commands/image.ts')).tagImage(context, ref, name));

  const image = program.command('image').description('Remove images.');
  examples(image, ['skerry image rm team/app:1.0', 'skerry image prune --dry-run']);

  const rm = image
    .command('rm')
    .description('Take names away, and free what nothing else needs; what is deployed stays.')
    .argument('<ref...>', 'Images as `skerry images` names them.');
  examples(json(rm), ['skerry image rm team/app:1.0']);
  bind(rm, async (context, _flags, names) => (await import('./commands/image.ts')).removeImages(context, names));

  const prune = image
    .command('prune')
    .description('Remove what no name leads to: untagged manifests, pushes that were given up, what nothing needs.')
    .option('--dry-run', 'Only say what would be freed.');
  examples(json(prune), ['skerry image prune --dry-run', 'skerry image prune']);
  bind(prune, async (context, flags) => (await import('./commands/image.ts')).pruneImages(context, flags));
}

function defineTokens(program: Command, bind: Bind): void {
  const token = program.command('token').description("Make, list and remove the tokens of the node's registry.");
  examples(token, ['skerry token create --name ci --scope repository:team/*:pull,push', 'skerry token rm ci']);

  const create = token
    .command('create')
    .description('Make a token and print it; clients log in with its name as the user and it as the password.')
    .requiredOption('--name <name>', 'Its name.')
    .addOption(
      new Option(
        '--scope <scope>',
        'repository:PATTERN:ACTIONS; * in PATTERN stands for any characters, ACTIONS are pull, push, delete. Can be repeated.',
      )
        .argParser(repeat)
        .makeOptionMandatory(),
    );
  examples(json(create), [
    'skerry token create --name ci --scope repository:team/*:pull,push > ci.token',
    "skerry token create --name admin --scope 'repository:*:pull,push,delete' | skopeo login -u admin --password-stdin localhost:5050",
  ]);
  bind(create, async (context, flags) => (await import('./commands/token.ts')).createToken(context, flags));

  const list = token.command('ls').description('List the tokens by name, and what each allows.');
  examples(json(list), ['skerry token ls']);
  bind(list, async (context) => (await import('./commands/token.ts')).listTokens(context));

  const rm = token
    .command('rm')
    .description('Remove tokens; what was issued for them is void at once.')
    .argument('<name...>', 'Tokens.');
  examples(rm, ['skerry token rm ci']);
  bind(rm, async (context, _flags, names) => (await import('./commands/token.ts')).removeTokens(context, names));
}

function defineTrust(program: Command, bind: Bind): void {
  const sign = program
    .command('sign')
    .description('Sign an image of the node as cosign does; the private key stays here.')
    .argument('<ref>', "An image in the node's registry.")
    .requiredOption(
      '--key <file>',
      "Private key: cosign's, with its password in COSIGN_PASSWORD, or a plain one of ECDSA P-256.",
    );
  examples(json(sign), ['COSIGN_PASSWORD=… skerry sign team/app:v1 --key cosign.key']);
  bind(sign, async (context, flags, ref) => (await import('./commands/sign.ts')).signImage(context, ref, flags));

  const policy = program.command('policy').description('Say what images must be signed by to run on the node.');
  examples(policy, ["skerry policy set 'team/*' --key cosign.pub", 'skerry policy ls', "skerry policy rm 'team/*'"]);

  const set = policy
    .command('set')
    .description('Require a signature of all images of these repositories; the most specific pattern holds.')
    .argument('<pattern>', 'Repositories; * stands for any characters, slashes too.')
    .addOption(new Option('--key <file>', 'Public key. Can be repeated: one of them is enough.').argParser(repeat))
    .option('--identity <name>', 'Who signed, as the certificate says it: an e-mail address or a URI.')
    .option('--issuer <url>', 'Who vouches for the identity.')
    .option('--trust-root <file>', 'A trusted_root.json: the authorities and logs to believe.');
  examples(json(set), [
    "skerry policy set 'team/*' --key cosign.pub",
    "skerry policy set 'registry.example/*' --identity ci@example.com --issuer https://login.example --trust-root trusted_root.json",
  ]);
  bind(set, async (context, flags, pattern) => {
    await (await import('./commands/policy.ts')).setPolicy(context, pattern, flags);
  });

  const list = policy.command('ls').description('List the policies.');
  examples(json(list), ['skerry policy ls']);
  bind(list, async (context) => (await import('./commands/policy.ts')).listPolicies(context));

  const rm = policy
    .command('rm')
    .description('Remove policies.')
    .argument('<pattern...>', 'Patterns as `skerry policy ls` shows them.');
  examples(rm, ["skerry policy rm 'team/*'"]);
  bind(rm, async (context, _flags, patterns) =>
    (await import('./commands/policy.ts')).removePolicies(context, patterns),
  );
}

function defineShell(program: Command, bind: Bind): void {
  const completion = program
    .command('completion')
    .description('Print a completion script for a shell.')
    .addArgument(program.createArgument('<shell>', 'The shell.').choices(['bash', 'zsh', 'fish']));
  examples(completion, [
    'source <(skerry completion bash)',
    'skerry completion zsh > ~/.zfunc/_skerry',
    'skerry completion fish > ~/.config/fish/completions/skerry.fish',
  ]);
  bind(completion, async (context, _flags, shell) => {
    (await import('./commands/completion.ts')).completion(context, program, shell);
  });

  const names = program.command('complete-names', { hidden: true }).description('For the completion scripts.');
  bind(names, async (context) => (await import('./commands/complete-names.ts')).completeNames(context));
}
