/** Parts of a workload as text, the same in every command. */
import type { RevisionView, WorkloadView } from '../gateway/admin/schemas.ts';
import { printable } from './printable.ts';
import type { Cell } from './table.ts';
import type { Paint, Palette } from './terminal.ts';

type Share = WorkloadView['spec']['traffic'][number];

export function trafficText(traffic: readonly Share[]): string {
  return traffic.map((share) => `${share.revision} ${share.percent}%`).join(', ') || '-';
}

export function phaseCell(phase: WorkloadView['status']['phase'] | RevisionView['phase'], palette: Palette): Cell {
  if (phase === 'failed') return { text: phase, paint: palette.bad };
  if (phase === 'ready' || phase === 'idle') return { text: phase, paint: palette.good };
  if (phase === 'cold' || phase === 'parked') return { text: phase, paint: palette.dim };
  return { text: phase, paint: palette.warn };
}

/** ISO 8601 to the second: `2026-01-31 12:00:00Z`. */
export function timeText(iso: string): string {
  return iso.replace('T', ' ').replace(/\.\d+/, '');
}

/** `0.84ms`, `12ms`; `-` when there is none. */
export function latencyText(ms: number | null): string {
  if (ms === null) return '-';
  return `${ms < 10 ? ms.toFixed(2) : Math.round(ms)}ms`;
}

/** A line for each warning of a workload or of a planned change. */
export function warningLines({ warnings }: Pick<WorkloadView, 'warnings'>, warn: Paint): string[] {
  return warnings.map((warning) => `${warn('warning:')} ${printable(warning)}`);
}
