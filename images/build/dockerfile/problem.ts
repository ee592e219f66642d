/** From what the builder said to where in the Dockerfile it went wrong. */
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { buildErrors } from '../errors.ts';

/** Of an instruction, in an error. */
const SHOWN = 200;

/** `file`: the Dockerfile, as its user calls it. `said`: the end of what was written to stderr. */
export function buildProblem(file: string, dockerfile: string, said: string): SkerryError {
  const lines = said.trimEnd().split('\n');
  const error = lines.findLast((line) => /^Error: |^error /i.test(line))?.replace(/^Error: /, '') ?? lines.at(-1) ?? '';
  const parse = /parse error (?:on )?line (\d+): (.*)$/.exec(error);
  if (parse) return buildErrors.DOCKERFILE_INVALID(`${file}:${parse[1]}:1`, parse[2] as string);
  const step = /building at STEP "(.*?)": (.*)$/s.exec(error);
  if (step) {
    const [, instruction = '', why = ''] = step;
    const line = lineOf(dockerfile, instruction);
    const status = /exit status (\d+)/.exec(why)?.[1];
    const reason = status === undefined ? why : `it ended with status ${status}`;
    return buildErrors.IMAGE_BUILD_STEP_FAILED(`${file}:${line}:1`, instruction.slice(0, SHOWN), reason);
  }
  const unknown = /unknown instruction: "?(\w+)/i.exec(error)?.[1];
  if (unknown)
    return buildErrors.DOCKERFILE_INVALID(`${file}:${lineOf(dockerfile, unknown)}:1`, `there is no ${unknown}`);
  return buildErrors.IMAGE_BUILD_FAILED(file, error.slice(0, 500) || 'the builder did not say why');
}

/** Where the instruction begins; 1 when it is not found. */
function lineOf(dockerfile: string, instruction: string): number {
  const words = (text: string) => text.trim().split(/\s+/).slice(0, 2).join(' ').toLowerCase();
  const wanted = words(instruction);
  const lines = dockerfile.split('\n');
  const exact = lines.findIndex((line) => line.trim() !== '' && line.trim() === instruction.trim());
  if (exact >= 0) return exact + 1;
  const alike = lines.findIndex((line) => words(line) === wanted);
  return alike < 0 ? 1 : alike + 1;
}
