/** The flags of `skerry deploy` that say what `WorkloadSettings` says, and how their text becomes it. */
import { ProcessName, ProcessSettings, WorkloadName, WorkloadSettings } from '../runtime/workload/settings.ts';
import { cliErrors } from './errors.ts';
import { issueMessage } from './settings-document.ts';

type SettingKey = keyof WorkloadSettings;

interface SettingFlag {
  readonly key: SettingKey;
  /** As the user writes it. */
  readonly flag: string;
  readonly value: string;
  readonly kind: 'text' | 'number' | 'pairs' | 'list';
}

export const SETTING_FLAGS: readonly SettingFlag[] = [
  { key: 'isolation', flag: '--isolation', value: 'auto|wasm|container|vm', kind: 'text' },
  { key: 'memory', flag: '--memory', value: 'size', kind: 'text' },
  { key: 'cpus', flag: '--cpus', value: 'cores', kind: 'number' },
  { key: 'timeout', flag: '--timeout', value: 'time', kind: 'text' },
  { key: 'cpu-time', flag: '--cpu-time', value: 'time', kind: 'text' },
  { key: 'start-timeout', flag: '--start-timeout', value: 'time', kind: 'text' },
  { key: 'concurrency', flag: '--concurrency', value: 'n', kind: 'number' },
  { key: 'queue', flag: '--queue', value: 'n', kind: 'number' },
  { key: 'max-request', flag: '--max-request', value: 'size', kind: 'text' },
  { key: 'max-response', flag: '--max-response', value: 'size', kind: 'text' },
  { key: 'priority', flag: '--priority', value: '0..9', kind: 'number' },
  { key: 'env', flag: '--env', value: 'K=V', kind: 'pairs' },
  { key: 'secrets', flag: '--secret', value: 'K', kind: 'list' },
  { key: 'allow', flag: '--allow', value: 'host[:port]', kind: 'list' },
  { key: 'port', flag: '--port', value: 'n', kind: 'number' },
  { key: 'writable', flag: '--writable', value: 'size', kind: 'text' },
  { key: 'snapshot', flag: '--snapshot', value: 'none|boot|app', kind: 'text' },
  { key: 'volumes', flag: '--volume', value: 'name:/path[:size]', kind: 'list' },
  { key: 'ready-check', flag: '--ready-check', value: 'check', kind: 'text' },
  { key: 'live-check', flag: '--live-check', value: 'check', kind: 'text' },
  { key: 'live-every', flag: '--live-every', value: 'time', kind: 'text' },
  { key: 'keyvalue-quota', flag: '--keyvalue-quota', value: 'size', kind: 'text' },
  { key: 'routes', flag: '--route', value: '[host]/path', kind: 'list' },
  { key: 'min', flag: '--min', value: 'n', kind: 'number' },
  { key: 'max', flag: '--max', value: 'n', kind: 'number' },
  { key: 'idle', flag: '--idle', value: 'time', kind: 'text' },
  { key: 'reuse', flag: '--reuse', value: 'n', kind: 'number' },
];

/** What the schema says about a setting, as a line of help. */
export function settingHelp({ key, kind }: SettingFlag): string {
  const text = WorkloadSettings.shape[key].description ?? '';
  return kind === 'pairs' || kind === 'list' ? `${text} Can be repeated.` : text;
}

/** How commander names the value of a flag. */
function attribute(flag: string): string {
  return flag.slice(2).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Those of `skerry run`. */
export const PROCESS_FLAGS: readonly SettingFlag[] = SETTING_FLAGS.filter(({ key }) => key in ProcessSettings.shape);

/** The settings that the given flags say; throws BAD_FLAG naming the flag. */
export function settingsFromFlags(
  options: Readonly<Record<string, unknown>>,
  flags: readonly SettingFlag[] = SETTING_FLAGS,
): WorkloadSettings {
  const settings: Record<string, unknown> = {};
  for (const flag of flags) {
    const given = options[attribute(flag.flag)];
    if (given !== undefined) settings[flag.key] = checkFlag(flag, given);
  }
  return settings as WorkloadSettings;
}

/** A workload's name from a flag or an argument; throws BAD_FLAG. */
export function checkName(flag: string, name: string): string {
  const result = WorkloadName.safeParse(name);
  if (!result.success) throw cliErrors.BAD_FLAG(flag, result.error.issues[0]?.message ?? 'is no name');
  return result.data;
}

/** A process's name from a flag; throws BAD_FLAG. */
export function checkProcessName(flag: string, name: string): string {
  const result = ProcessName.safeParse(name);
  if (!result.success) throw cliErrors.BAD_FLAG(flag, result.error.issues[0]?.message ?? 'is no name');
  return result.data;
}

/** One flag's value, checked with the schema of its setting; throws BAD_FLAG. */
export function settingFromFlag(key: SettingKey, given: unknown): unknown {
  return checkFlag(SETTING_FLAGS.find((flag) => flag.key === key) as SettingFlag, given);
}

function checkFlag(flag: SettingFlag, given: unknown): unknown {
  const result = WorkloadSettings.shape[flag.key].safeParse(fromText(flag, given));
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const which = flag.kind === 'list' ? (given as string[])[Number(issue?.path[0])] : issue?.path[0];
  const at = which === undefined ? '' : `${String(which)} `;
  throw cliErrors.BAD_FLAG(flag.flag, `${at}${issue ? issueMessage(issue) : 'is not valid'}`);
}

function fromText(flag: SettingFlag, given: unknown): unknown {
  if (flag.kind === 'number') return /^-?\d+(\.\d+)?$/.test(String(given)) ? Number(given) : given;
  if (flag.kind !== 'pairs') return given;
  const pairs: [string, string][] = (given as string[]).map((pair) => {
    const equals = pair.indexOf('=');
    if (equals < 1) throw cliErrors.BAD_FLAG(flag.flag, `${pair} must be KEY=VALUE`);
    return [pair.slice(0, equals), pair.slice(equals + 1)];
  });
  return Object.fromEntries(pairs);
}
