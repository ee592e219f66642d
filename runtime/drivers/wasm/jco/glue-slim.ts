/**
 * Takes out of jco's generated code what only asynchronous components need. For each imported function jco makes a
 * description of its types for stack switching (tens of thousands of small objects at every instantiation, some 15 ms of
 * it) and, at every call, a task and a subtask. A synchronous guest in a thread of its own uses neither.
 *
 * The code is recognised by its exact form. A function that has another one stays as it is: slower, and as right.
 */

/** One imported function: its body, and what wraps it. */
const body = /^ {2}const (_trampoline\d+) = function\(([^)]*)\) \{\n([^]*?)^ {2}\}\n {2}\1\.fnName = /gm;
const wrapper =
  /^ {2}let (trampoline\d+) = (_trampoline\d+)\.manuallyAsync \? new WebAssembly\.Suspending\(_suspendingImport\((\d+), [^]*?^ {2}\)\)\) : _lowerImportBackwardsCompat\.bind\(\n[^]*?^ {2}\);\n/gm;

/** From `const hostProvided` to the task's start: makes the tasks. */
const making =
  /^ {4}const hostProvided = true;\n[^]*?^ {4}taskCreation: \{\n[^]*?^ {4}\}\n\s*^ {4}const started = task\.enterSync\(\);\n/m;
const call =
  /_withGlobalCurrentTaskMeta\(\{\n\s*componentIdx: task\.componentIdx\(\),\n\s*taskID: task\.id\(\),\n\s*fn: \(\) => _trackHostOperation\(\(\) => (.*)\),\n\s*\}\)\n\s*;/;
const logging = /^\s*_debugLog\((?:'[^'\n]*'|"[^"\n]*")(?:, \{[^]*?^\s*\}|, \{.*\})?\);\n/gm;
const keeping = /^\s*task\.(?:setErrored\(err\)|reject\(err\)|exit\(\)|resolve\(\[.*\]\));\n/gm;

/** Calls an imported function as the canonical ABI has it: not while the instance may not be left. */
const direct = `
const _direct = (componentIdx, fn) => (...args) => {
  _checkMayLeave(componentIdx);
  return fn(...args);
};
`;

export interface Slimmed {
  readonly code: string;
  /** Imported functions that were made lean, and those that were not. */
  readonly lean: number;
  readonly left: number;
}

export function slim(code: string): Slimmed {
  const lean = new Set<string>();
  let left = 0;
  let slimmed = code.replace(body, (whole, name: string, parameters: string, text: string) => {
    const shorter = slimBody(text);
    if (shorter === null) return whole;
    lean.add(name);
    return `  const ${name} = function(${parameters}) {\n${shorter}  }\n  ${name}.fnName = `;
  });
  const wrapped = new Set<string>();
  slimmed = slimmed.replace(wrapper, (whole, name: string, of: string, componentIdx: string) => {
    if (!lean.has(of)) {
      left++;
      return whole;
    }
    wrapped.add(of);
    return `  let ${name} = _direct(${componentIdx}, ${of});\n`;
  });
  // A lean body has no task, so each must have got its lean wrapper.
  if (wrapped.size !== lean.size) return { code, lean: 0, left: left + lean.size };
  const start = slimmed.indexOf('\n\nlet gen= (function* _initGenerator');
  if (start === -1) return { code, lean: 0, left: left + lean.size };
  return { code: slimmed.slice(0, start) + direct + slimmed.slice(start), lean: lean.size, left };
}

/** The body without its tasks, or null when it has another form. */
function slimBody(text: string): string | null {
  if (!making.test(text) || !call.test(text)) return null;
  const shorter = text
    .replace(making, '    let ret;\n')
    .replace(/^ {4}let ret;\n\s*^ {4}let ret;\n/m, '    let ret;\n')
    .replace(call, (_whole, expression: string) => `${expression};`)
    .replace(logging, '')
    .replace(keeping, '');
  return /\b(?:task|subtask|parentTask|_debugLog)\b/.test(shorter) ? null : shorter;
}
