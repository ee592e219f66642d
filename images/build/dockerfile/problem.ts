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
  const unknown = /unknown instruction: "?(\w+)/i.exec(error)?.[1];
  if (unknown) {
    const place = `${file}:${lineOf(dockerfile, unknown)}:1`;
    return buildErrors.DOCKERFILE_INVALID(place, `there is no instruction ${unknown}`);
  }
  const step = /building at STEP "(.*?)": (.*)$/s.exec(error);
  if (step) {
    const [, instruction = '', why = ''] = step;
    const line = lineOf(dockerfile, instruction);
    const status = /exit status (\d+)/.exec(why)?.[1];
    // Where the builder has its files is nobody's business.
    const told = why.replace(/^checking on sources under "[^"]*": copier: stat: /, '').trim();
    const reason = status === undefined ? told : `it ended with status ${status}`;
    return buildErrors.IMAGE_BUILD_STEP_FAILED(`${file}:${line}:1`, instruction.slice(0, SHOWN), reason);
  }
  return buildErrors.IMAGE_BUILD_FAILED(file, error.slice(0, 500) || 'the builder did not say why');
}

/** Where the instruction begins; 1 when it is not found. */
function lineOf(dockerfile: string, instruction: string): number {
  const words = (text: string) =>
    text
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== '');
  const wanted = words(instruction);
  const lines = dockerfile.split('\n').map(words);
  // The builder writes it with other blanks, and in one line.
  for (let count = wanted.length; count > 0; count--) {
    const start = wanted.slice(0, count).join(' ');
    const at = lines.findIndex((line) => line.slice(0, count).join(' ') === start);
    if (at >= 0) return at + 1;
  }
  return 1;
}
