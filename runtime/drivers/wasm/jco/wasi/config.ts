/** wasi:config/store: the function's own configuration, by name. */

let configuration: ReadonlyMap<string, string> = new Map();

/** What the next instance shall see. */
export function setConfiguration(pairs: readonly (readonly [string, string])[]): void {
  configuration = new Map(pairs);
}

export const config = {
  'wasi:config/store': {
    get: (name: string) => configuration.get(name),
    getAll: () => [...configuration],
  },
};
