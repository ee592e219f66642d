/** `skerry run`: an image as a process, attached to this terminal or left running. */
import type { RunRequest } from '../../gateway/admin/schemas.ts';
import { sendImage, uploadKernel } from '../artifact.ts';
import type { Context } from '../context.ts';
import { cliErrors } from '../errors.ts';
import { printable } from '../printable.ts';
import { ProcessStatus } from '../process-status.ts';
import { showProgress } from '../progress.ts';
import { checkProcessName, PROCESS_FLAGS, settingsFromFlags } from '../settings-flags.ts';
import { nameFromImage } from '../source.ts';
import { writeJson, writeLine } from '../terminal.ts';

export interface RunFlags extends Readonly<Record<string, unknown>> {
  readonly name?: string;
  readonly detach?: boolean;
  readonly rm?: boolean;
  /** A file. */
  readonly kernel?: string;
}

/** Told on to the process. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

export async function runProcess(
  context: Context,
  ref: string,
  command: readonly string[],
  flags: RunFlags,
): Promise<void> {
  const { client, terminal, json } = context;
  const detach = flags.detach === true;
  if (json && !detach) throw cliErrors.USAGE('--json is for a process that is left running', 'give -d too');
  const settings = settingsFromFlags(flags, PROCESS_FLAGS);
  const name = flags.name === undefined ? undefined : checkProcessName('--name', flags.name);
  const progress = showProgress(terminal);
  let request: RunRequest;
  try {
    const artifact = await sendImage(context, ref, progress);
    const kernel = flags.kernel === undefined ? {} : { kernel: await uploadKernel(context, flags.kernel, progress) };
    const basename = nameFromImage(ref).slice(0, 50);
    request = {
      ...(name !== undefined && { name }),
      basename,
      artifact,
      label: ref.slice(-256),
      arguments: [...command],
      settings: { ...settings, ...kernel },
      remove: flags.rm === true,
    };
    if (detach) progress.step(`Starting ${ref}`);
  } catch (error) {
    progress.done();
    throw error;
  }
  if (detach) {
    const view = await client.run(request).finally(() => progress.done());
    if (json) writeJson(terminal.stdout, view);
    else writeLine(terminal.stdout, printable(view.name));
    return;
  }
  progress.done();
  await runHere(context, request);
}

async function runHere({ client, terminal }: Context, request: RunRequest): Promise<void> {
  const { stdin, stdout, stderr } = terminal;
  let running: string | null = null;
  const unheard = new Set<string>();
  const tell = async (signal: string) => {
    if (running === null) return process.exit(130);
    // Who does not listen to one that comes again is ended.
    if (unheard.has(signal)) return void (await client.stopProcess(running, 0));
    if (await client.signalProcess(running, signal)) return;
    unheard.add(signal);
    writeLine(stderr, `${running} does not listen to ${signal}: once more ends it`);
  };
  const listeners = SIGNALS.map((signal) => {
    const listener = () => void tell(signal).catch(() => {});
    process.on(signal, listener);
    return () => process.removeListener(signal, listener);
  });
  try {
    const ended = await client.runAttached(request, { stdin, stdout, stderr }, (name) => {
      running = name;
    });
    if (ended.status !== 0) throw new ProcessStatus(ended.status);
  } finally {
    for (const forget of listeners) forget();
    stdin.destroy();
  }
}
