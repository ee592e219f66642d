/**
 * Takes out of jco's generated code what only asynchronous components need. For each imported function jco makes a
 * description of its types for stack switching (tens of thousands of small objects at every instantiation, some 15 ms of
 * it) and, at every call, a task and a subtask. A synchronous guest in a thread of its own uses neither.
 *
 * The code is recognised by its exact form. A function that has another one stays as it is: slower, and as right.
 */

/** One imported function: its body, and what wraps it. */
const body = /^( *)const (_trampoline\d+) = function\(([^)]*)\) \{\n([\s\S]*?)^\1\}\n\1\2\.fnName = /gm;
const wrapper =
  /^( *)let (trampoline\d+) = (_trampoline\d+)\.manuallyAsync \? new WebAssembly\.Suspending\(_suspendingImport\((\d+), [\s\S]*?^\1\)\)\) : _lowerImportBackwardsCompat\.bind\(\n[\s\S]*?^\1\);\n/gm;

/** From `const hostProvided` to the task's start: makes the tasks. */
const making =
  /^( *)const hostProvided = true;\n[\s\S]*?^\1taskCreation: \{\n[\s\S]*?^\1\}\n\s*^\1const started = task\.enterSync\(\);\n\s*^\1let ret;\n/m;
const call =
  /_withGlobalCurrentTaskMeta\(\{\n\s*componentIdx: task\.componentIdx\(\),\n\s*taskID: task\.id\(\),\n\s*fn: \(\) => _trackHostOperation\(\(\) => (.*)\),\n\s*\}\)\n\s*;/;
const logging = /^\s*_debugLog\((?:'[^'\n]*'|"[^"\n]*")(?:, \{.*\}|, \{\n[\s\S]*?^\s*\})?\);\n/gm;
const keeping = /^\s*task\.(?:setErrored\(err\)|reject\(err\)|exit\(\)|resolve\(\[.*\]\));\n/gm;

/**
 * A call of what this Node.js lacks, and catching that: V8 reads the whole of the code again to word the error, which
 * takes 6 ms at every instantiation.
 */
const promising =
  /^( *)try \{\n\s*(\w+) = WebAssembly\.promising\((.*)\);\n\1\} catch\(err\) \{\n\s*\2 = \3;\n\1\}\n/gm;

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
  let slimmed = code
    .replace(promising, '$1$2 = $3;\n')
    .replace(body, (whole, indent: string, name: string, parameters: string, text: string) => {
      const shorter = slimBody(text);
      if (shorter === null) return whole;
      lean.add(name);
      return `${indent}const ${name} = function(${parameters}) {\n${shorter}${indent}}\n${indent}${name}.fnName = `;
    });
  const wrapped = new Set<string>();
  slimmed = slimmed.replace(wrapper, (whole, indent: string, name: string, of: string, componentIdx: string) => {
    if (!lean.has(of)) {
      left++;
      return whole;
    }
    wrapped.add(of);
    return `${indent}let ${name} = _direct(${componentIdx}, ${of});\n`;
  });
  // A lean body has no task, so each must have got its lean wrapper.
  if (wrapped.size !== lean.size) return { code, lean: 0, left: left + lean.size };
  const start = slimmed.search(/^ *let gen= \(function\* _initGenerator/m);
  if (start === -1) return { code, lean: 0, left: left + lean.size };
  return { code: slimmed.slice(0, start) + direct + slimmed.slice(start), lean: lean.size, left };
}

/** The body without its tasks, or null when it has another form. */
function slimBody(text: string): string | null {
  if (!making.test(text) || !call.test(text)) return null;
  const shorter = text
    .replace(making, '$1let ret;\n')
    .replace(call, (_whole, expression: string) => `${expression};`)
    .replace(logging, '')
    .replace(keeping, '');
  return /\b(?:task|subtask|parentTask|_debugLog)\b/.test(shorter) ? null : shorter;
}
