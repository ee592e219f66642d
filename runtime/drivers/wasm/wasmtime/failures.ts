/** The codes of native/wasm/src/failure.rs and component.rs as Skerry's errors. */
import type { SkerryError } from '../../../../errors/skerry-error.ts';
import { wasmErrors } from '../errors.ts';
import { formatBytes } from '../format-bytes.ts';
import type { LastWords } from '../last-words.ts';

/** Why a request failed. `memoryBytes` is the limit of the function, `lastWords` what its guest printed. */
export function requestFailure(code: number, detail: string, memoryBytes: number, lastWords: LastWords): SkerryError {
  switch (code) {
    case 1:
      return wasmErrors.FUNCTION_TRAPPED(detail);
    case 2:
      return lastWords.explain(detail, memoryBytes);
    case 3:
      return wasmErrors.FUNCTION_NO_ANSWER();
    case 4:
      return wasmErrors.FUNCTION_BAD_ANSWER(detail);
    case 5:
      return wasmErrors.FUNCTION_ERROR(errorCode(detail));
    case 6:
      return wasmErrors.FUNCTION_MEMORY(formatBytes(memoryBytes));
    case 7:
      return wasmErrors.FUNCTION_DEADLINE();
    case 8:
      return wasmErrors.FUNCTION_STOPPED();
    case 9:
      return wasmErrors.ENGINE_FULL();
    case 11:
      return wasmErrors.FUNCTION_CPU();
    case 12:
      return lastWords.unfinished();
    default:
      return wasmErrors.ENGINE_FAULT(detail);
  }
}

/** `ErrorCode::InternalError(Some("what it said"))`, as Rust prints it, in the words of WASI: `internal-error: what it said`. */
function errorCode(printed: string): string {
  const [, name = printed, text] = /^ErrorCode::(\w+)(?:\(Some\("(.*)"\)\))?/s.exec(printed) ?? [];
  const kebab = name.replace(/(?<!^)([A-Z])/g, '-$1').toLowerCase();
  return (text === undefined ? kebab : `${kebab}: ${unescaped(text).split('\n', 1)[0]}`).slice(0, 512);
}

/** The escapes of a string that Rust prints for debugging. */
function unescaped(text: string): string {
  const plain: Record<string, string> = { n: '\n', r: '\r', t: '\t', 0: '\0' };
  return text.replace(/\\(?:u\{([0-9a-f]{1,6})\}|(.))/g, (_whole, code: string | undefined, char: string) =>
    code === undefined ? (plain[char] ?? char) : String.fromCodePoint(Number.parseInt(code, 16)),
  );
}

/** Why a component cannot be compiled or loaded. `name` is what the user calls it. */
export function componentRefusal(code: number, detail: string, name: string, memoryBytes: number): SkerryError {
  switch (code) {
    case 1:
      return wasmErrors.NOT_WASM(name);
    case 2:
      return wasmErrors.CORE_MODULE(name);
    case 3:
      return wasmErrors.COMPONENT_INVALID(name, detail);
    case 4:
      return wasmErrors.IMPORT_NOT_OFFERED(name, detail);
    case 5:
      return wasmErrors.NO_HTTP_HANDLER(name);
    case 6:
      return wasmErrors.MEMORY_BELOW_INITIAL(name, formatBytes(Number(detail)), formatBytes(memoryBytes));
    case 9:
      return wasmErrors.COMPONENT_TOO_LARGE(name, detail);
    case 7:
      return wasmErrors.COMPONENT_UNREADABLE(name, detail);
    default:
      return wasmErrors.ENGINE_FAULT(detail);
  }
}
