/** The part of the WebAssembly JavaScript API that is used here: TypeScript has it only in its browser library. */
declare namespace WebAssembly {
  type Imports = Record<string, Record<string, unknown>>;
  interface ModuleName {
    readonly module?: string;
    readonly name: string;
    readonly kind: string;
  }
  class Module {
    constructor(bytes: Uint8Array);
    static imports(module: Module): ModuleName[];
    static exports(module: Module): ModuleName[];
  }
  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Record<string, unknown>;
  }
  class Memory {
    constructor(type: { initial: number; maximum?: number });
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  class Global {
    value: unknown;
  }
  class RuntimeError extends Error {}
  class CompileError extends Error {}
  function compile(bytes: Uint8Array): Promise<Module>;
  function validate(bytes: Uint8Array): boolean;
}
